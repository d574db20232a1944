"""The files that a volume was read from, slice by slice, so that DICOM objects derived from it can refer to them."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset

from sautomed.scans.grid import ScanSource


@dataclass(frozen=True)
class DicomSource(ScanSource):
    """A DICOM series as it was read; the `NativeGrid.source` of its volume.

    Args:
        path: The folder, the zip or the single file.
        members: Per slice, in the order of the array's third axis: its file, relative to `path` (in a zip: the
            name of the member). A multi-frame file is repeated for each of its slices.
        frames: Per slice: index of its frame in the file, from 0; None for a file of one slice.
        series_uid: SeriesInstanceUID.
        regular: Whether the slices of the array are those of the files; False if it was resampled.
        ambiguity: Why objects cannot refer to each of the files, as a clause; empty if they can.
    """

    path: Path
    members: tuple[str, ...]
    frames: tuple[int | None, ...]
    series_uid: str
    regular: bool = True
    ambiguity: str = ""

    def headers(self) -> Iterator[Dataset]:
        """Yield the header of each file once, in the order of its first slice."""
        names = list(dict.fromkeys(self.members))
        if self.path.is_file() and zipfile.is_zipfile(self.path):
            with zipfile.ZipFile(self.path) as archive:
                for name in names:
                    with archive.open(name) as stream:
                        yield pydicom.dcmread(stream, stop_before_pixels=True, force=True)
            return
        for name in names:
            path = self.path if self.path.is_file() else self.path / name
            yield pydicom.dcmread(path, stop_before_pixels=True, force=True)


def why_not_referable(source: ScanSource | None) -> str:
    """Return as a clause why no DICOM object can refer to a scan; empty if one can.

    Args:
        source: Of the scan's `NativeGrid`.
    """
    if not isinstance(source, DicomSource):
        return "a DICOM object refers to the slices of a DICOM series, but the scan came from none"
    if not source.regular:
        return "the scan was resampled, so its voxels are no longer on the slices of the series"
    return source.ambiguity
