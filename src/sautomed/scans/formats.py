"""The formats that are read, and which one a path is in: told by its content, never by its name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from sautomed.errors import NotAScan
from sautomed.scans import dicom, metaimage, nifti, nrrd
from sautomed.scans.contents import START_BYTES, is_dicom, is_metaimage, is_nifti, is_nrrd, kind_of
from sautomed.scans.paths import require_file
from sautomed.scans.payload import first_bytes
from sautomed.scans.stored import Geometry, ReadOptions, Stored

_HEADER_ENDINGS = (".mhd", ".nhdr", ".hdr")


@dataclass(frozen=True)
class Format:
    """A format that scans and label maps come in.

    Args:
        name: What people call it.
        recognises: Whether a file with these first bytes is in this format.
        read_geometry: The header alone.
        read_stored: Header and voxels.
        packed: Whether gzip may lie around the whole file.
        folders: Whether a folder is one scan of this format.
    """

    name: str
    recognises: Callable[[bytes], bool]
    read_geometry: Callable[[Path, ReadOptions], Geometry]
    read_stored: Callable[[Path, ReadOptions], Stored]
    packed: bool = False
    folders: bool = False


# The order is that of asking: the surest signs come first.
FORMATS: Mapping[str, Format] = MappingProxyType(
    {
        "nifti": Format("NIfTI", is_nifti, nifti.read_geometry, nifti.read_stored, packed=True),
        "nrrd": Format("NRRD", is_nrrd, nrrd.read_geometry, nrrd.read_stored),
        "metaimage": Format("MetaImage", is_metaimage, metaimage.read_geometry, metaimage.read_stored),
        "dicom": Format("DICOM", is_dicom, dicom.read_geometry, dicom.read_stored, folders=True),
    }
)


def format_of(path: Path) -> Format:
    """The format of a path by its first bytes; a folder or a zip is DICOM.

    Raises:
        MissingFile: There is nothing at `path`.
        NotAScan: It is in no format that is read.
        TruncatedFile: It is compressed, and breaks off before its format can be told.
    """
    if path.is_dir():
        found = next((entry for entry in FORMATS.values() if entry.folders), None)
        if found is not None:
            return found
        require_file(path)
    start, packed = first_bytes(path, START_BYTES)
    for entry in FORMATS.values():
        if entry.recognises(start) and (entry.packed or not packed):
            return entry
    raise NotAScan(f"is no scan that can be read: it is {_kind(start, packed)}.", where=path, cure=_cure(path))


def _kind(start: bytes, packed: bool) -> str:
    within = next((f"{entry.name} in gzip" for entry in FORMATS.values() if packed and entry.recognises(start)), None)
    return within or kind_of(start) + (" in gzip" if packed and start else "")


def _cure(path: Path) -> str:
    """What to give instead: the header that lies beside a file of bare voxels, if there is one."""
    stem = path.name.split(".")[0]
    for ending in _HEADER_ENDINGS:
        if (path.parent / f"{stem}{ending}").is_file():
            return f"Give its header {stem}{ending}."
    names = [entry.name for entry in FORMATS.values()]
    return f"Read are {', '.join(names[:-1])} and {names[-1]}, told by their content."
