"""Tables of the file formats: FORMATS for reading, chosen by content, and WRITERS, chosen by the ending of the name.

A format is one or two modules beside this one and a line in each table that concerns it. Modules are given by name and
imported when they are used: those of DICOM alone take more than a second. Tests run over both tables.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol, cast

from numpy.typing import NDArray

from sautomed.errors import NotAScan, UnknownFormat
from sautomed.scans.contents import START_BYTES, describe_start, is_dicom, is_metaimage, is_nifti, starts_with
from sautomed.scans.grid import NativeGrid
from sautomed.scans.paths import is_folder, require_file
from sautomed.scans.payload import first_bytes
from sautomed.scans.stored import Geometry, ReadOptions, Stored

LabelWriter = Callable[..., None]  # (LabelMap, Path); the formats know of volumes, which know of this module
ImageWriter = Callable[[NDArray[Any], NativeGrid, Path], None]
_HEADER_ENDINGS = (".mhd", ".nhdr", ".hdr")


class FormatReader(Protocol):
    """Functions of a module that reads a format."""

    def read_geometry(self, path: Path, options: ReadOptions) -> Geometry:
        """Read the header alone."""

    def read_stored(self, path: Path, options: ReadOptions) -> Stored:
        """Read header and voxels."""


@dataclass(frozen=True)
class Format:
    """File format of scans and label maps.

    Args:
        name: As messages print it.
        recognises: Whether a file with these first bytes is in this format.
        module: Module with the functions of `FormatReader`.
        endings: Usual endings of its files, by which folders are searched.
        may_be_gzip: Whether gzip may wrap the whole file.
        folders: Whether a folder is one scan of this format.
        label_module: Module that reads its label maps, if they may be something else than a scan.
        label_endings: Endings of such label maps.
    """

    name: str
    recognises: Callable[[bytes], bool]
    module: str
    endings: tuple[str, ...] = ()
    may_be_gzip: bool = False
    folders: bool = False
    label_module: str = ""
    label_endings: tuple[str, ...] = ()

    @property
    def reader(self) -> FormatReader:
        """The imported module for scans."""
        return cast(FormatReader, import_module(self.module))

    @property
    def label_reader(self) -> FormatReader:
        """The imported module for label maps."""
        return cast(FormatReader, import_module(self.label_module or self.module))


@dataclass(frozen=True)
class Writer:
    """Functions that write files of one ending, as "module:function"; each writes atomically.

    Args:
        labels: A `LabelWriter`.
        image: An `ImageWriter`; None if scans are not written with this ending.
    """

    labels: str
    image: str | None = None


_SCANS = "sautomed.scans"
_NIFTI = Writer(f"{_SCANS}.nifti_write:save_nifti_labels", f"{_SCANS}.nifti_write:save_nifti")
_NRRD = Writer(f"{_SCANS}.nrrd_write:save_nrrd_labels", f"{_SCANS}.nrrd_write:save_nrrd")
_METAIMAGE = Writer(f"{_SCANS}.metaimage_write:save_metaimage_labels", f"{_SCANS}.metaimage_write:save_metaimage")

# Tried in this order: the most certain signs come first.
FORMATS: Mapping[str, Format] = MappingProxyType(
    {
        "nifti": Format("NIfTI", is_nifti, f"{_SCANS}.nifti", (".nii.gz", ".nii"), may_be_gzip=True),
        "nrrd": Format("NRRD", starts_with(b"NRRD000"), f"{_SCANS}.nrrd", (".seg.nrrd", ".nrrd", ".nhdr")),
        "metaimage": Format("MetaImage", is_metaimage, f"{_SCANS}.metaimage", (".mha", ".mhd")),
        "dicom": Format(
            "DICOM",
            is_dicom,
            f"{_SCANS}.dicom",
            folders=True,
            label_module=f"{_SCANS}.dicom.segmentation",
            label_endings=(".seg.dcm", ".labelmap.dcm", ".dcm"),
        ),
    }
)
WRITERS: Mapping[str, Writer] = MappingProxyType(
    {
        ".nii.gz": _NIFTI,
        ".nii": _NIFTI,
        ".seg.nrrd": Writer(_NRRD.labels),
        ".nrrd": _NRRD,
        ".mha": _METAIMAGE,
        ".seg.dcm": Writer(f"{_SCANS}.dicom.derived.seg:write_seg"),
        ".labelmap.dcm": Writer(f"{_SCANS}.dicom.derived.seg:write_labelmap_seg"),
        ".rtstruct.dcm": Writer(f"{_SCANS}.dicom.derived.rtstruct:write_rtstruct"),
    }
)

# The longer of two endings that fit comes first. Headers with the voxels in a second file (.nhdr, .mhd) are included.
FILE_ENDINGS = tuple(ending for entry in FORMATS.values() for ending in entry.endings)
LABEL_FILE_ENDINGS = FILE_ENDINGS + tuple(ending for entry in FORMATS.values() for ending in entry.label_endings)
LABEL_ENDINGS = tuple(WRITERS)
IMAGE_ENDINGS = tuple(ending for ending, writer in WRITERS.items() if writer.image is not None)


def format_of(path: Path) -> Format:
    """Return the format of a file by its first bytes; a folder or a zip is DICOM.

    Raises:
        MissingFile, DataError: There is nothing at `path`, or nothing that can be read.
        NotAScan: It is in no format that is read.
        TruncatedFile: It is compressed, and breaks off before its format can be recognised.
    """
    if is_folder(path):
        found = next((entry for entry in FORMATS.values() if entry.folders), None)
        if found is not None:
            return found
        require_file(path)
    start, is_gzip = first_bytes(path, START_BYTES)
    for entry in FORMATS.values():
        if entry.recognises(start) and (entry.may_be_gzip or not is_gzip):
            return entry
    content = describe_start(start)
    if is_gzip and start:
        names = (entry.name for entry in FORMATS.values() if entry.recognises(start))
        content = f"{next(names, content)} in gzip"
    raise NotAScan(f"is no scan that can be read: it is {content}.", where=path, cure=_cure(path))


def label_writer(path: str | Path) -> LabelWriter:
    """Return the function that writes a label map with the ending of `path`; raises UnknownFormat."""
    return cast(LabelWriter, _function(WRITERS[ending_of(path, LABEL_ENDINGS, "label maps")].labels))


def image_writer(path: str | Path) -> ImageWriter:
    """Return the function that writes voxels with the ending of `path`; raises UnknownFormat."""
    return cast(ImageWriter, _function(WRITERS[ending_of(path, IMAGE_ENDINGS, "scans")].image or ""))


def ending_of(path: str | Path, endings: Iterable[str], content: str) -> str:
    """Return the longest of `endings` that a file name has, ignoring case.

    Args:
        content: What is to be written, for the message: "label maps" or "scans".
    Raises:
        UnknownFormat: It has none of them.
    """
    name = Path(path).name.lower()
    found = max((ending for ending in endings if name.endswith(ending)), key=len, default=None)
    if found is not None:
        return found
    raise UnknownFormat(
        f"names no format in which {content} are written: the name must end in {_alternatives(endings, 'or')}.",
        where=path,
        cure=f"Call it {Path(path).name}.nii.gz, for example.",
    )


def _function(name: str) -> Any:
    module, _, function = name.partition(":")
    return getattr(import_module(module), function)


def _cure(path: Path) -> str:
    """Return what to give instead: the header beside a file of bare voxels, or else a file of a known format."""
    stem = path.name.split(".")[0]
    for ending in _HEADER_ENDINGS:
        if (path.parent / f"{stem}{ending}").is_file():
            return f"Give its header {stem}{ending}."
    names = _alternatives((entry.name for entry in FORMATS.values()), "or")
    return f"Give a file of {names}: the content decides, not the name."


def _alternatives(items: Iterable[str], word: str) -> str:
    *first, last = items
    return f"{', '.join(first)} {word} {last}"
