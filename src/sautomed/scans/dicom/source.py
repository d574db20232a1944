"""Which files a volume came from, slice by slice, so that what is derived from it can refer to them."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset


@dataclass(frozen=True)
class DicomSource:
    """A series as it was read; `NativeGrid.source` of its volume.

    Args:
        place: The folder that was searched, the zip, or the single file.
        members: Per slice, in the order of the array's third axis: the file, relative to `place` (in a zip: the
            member's name). A multi-frame file stands once per slice.
        frames: Per slice: None for a file of one slice, else the number of its frame, from 0.
        series_uid: SeriesInstanceUID.
        regular: Whether the array lies on the files' own slices; False once it was resampled.
    """

    place: Path
    members: tuple[str, ...]
    frames: tuple[int | None, ...]
    series_uid: str
    regular: bool = True

    def headers(self) -> Iterator[Dataset]:
        """Each different file without its pixels, in the order of its first slice."""
        names = list(dict.fromkeys(self.members))
        if self.place.is_file() and zipfile.is_zipfile(self.place):
            with zipfile.ZipFile(self.place) as archive:
                for name in names:
                    with archive.open(name) as stream:
                        yield pydicom.dcmread(stream, stop_before_pixels=True, force=True)
            return
        for name in names:
            path = self.place if self.place.is_file() else self.place / name
            yield pydicom.dcmread(path, stop_before_pixels=True, force=True)
