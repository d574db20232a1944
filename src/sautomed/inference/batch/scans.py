"""Find the scans at a path: a file, a DICOM series, or a folder of scans in any formats."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pydicom
from pydicom.errors import InvalidDicomError

from sautomed.datasets import case_name
from sautomed.errors import DataError, MissingFile, NoCases
from sautomed.scans.contents import is_dicom
from sautomed.scans.formats import FILE_ENDINGS, FORMATS, format_of
from sautomed.scans.paths import is_broken_link

_START_BYTES = 132  # a DICOM file has its signature after a preamble of 128 bytes
_ZIP = b"PK\x03\x04"
_INDEX = "DICOMDIR"  # a DICOM file too, but a list of names


@dataclass(frozen=True)
class Scan:
    """One scan and the name of its case."""

    case: str
    path: Path


@dataclass(frozen=True)
class Scans:
    """The scans at a path.

    Args:
        several: Whether the path is a folder of scans, even of one, rather than a scan itself.
    """

    scans: tuple[Scan, ...]
    several: bool


def find_scans(source: Path, output: Path | None = None) -> Scans:
    """Find the scans at `source`.

    A file is one scan. So is a folder that holds DICOM files of one study and no other scan. In any other folder, each
    file that is a scan is a case, and so is each subfolder that holds DICOM files.

    Args:
        output: Where results go: a folder of earlier results within `source` is no input.
    Raises:
        MissingFile: `source` does not exist.
        NoCases: A folder holds no scan.
    """
    if not source.exists():
        raise MissingFile("does not exist.", where=source, cure="Check the path given with -i.")
    if not source.is_dir():
        return Scans((Scan(name_of(source), source),), several=False)
    excluded = _within(output, source)
    files = [path for path in _visible_files(source) if is_volume_file(path)]
    dicom = list(_dicom_below(source, excluded))
    if dicom and (any(path.parent == source for path in dicom) or (not files and _are_of_one_study(dicom))):
        return Scans((Scan(name_of(source), source), *_scans_of(files)), several=bool(files))
    folders = sorted({source / path.relative_to(source).parts[0] for path in dicom})
    scans = sorted((*_scans_of(files), *_scans_of(folders)), key=lambda scan: scan.path.name)
    if not scans:
        raise NoCases(
            f"holds no scan. Looked for were {', '.join(kind.name for kind in FORMATS.values())} files, recognised by "
            f"content, names ending in {', '.join(FILE_ENDINGS)}, and DICOM files in it and in the folders below it.",
            where=source,
            cure="Check the folder given with -i.",
        )
    return Scans(tuple(scans), several=True)


def name_of(path: Path) -> str:
    """Return the case of a scan: a file's name without ending and nnU-Net's channel number, or a folder's name."""
    path = path if path.name not in ("", "..") else path.resolve()
    if path.is_dir():
        return path.name
    name = case_name(path)
    for ending in (".zip", ".dcm", ".gz"):
        name = name.removesuffix(ending)
    return name


def is_volume_file(path: Path) -> bool:
    """Return whether a file is a scan by its content or its name; single DICOM slices are not."""
    try:
        file_format = format_of(path)
    except DataError:
        return path.name.lower().endswith(FILE_ENDINGS)  # so that a damaged scan is reported, not ignored
    return not file_format.folders or not _is_dicom_file(path)  # a zip of DICOM files is a scan


def scan_files(scan: Path, outputs: frozenset[Path] = frozenset()) -> list[Path]:
    """Return the files of a scan, as far as is known without reading it.

    Args:
        outputs: Files and folders in a DICOM folder that are results and no part of the scan.
    """
    if scan.is_dir():
        return [path for path in _files_below(scan, outputs) if path.name != _INDEX]
    return [scan, *_voxel_files(scan)]


def _voxel_files(header: Path) -> list[Path]:
    """Return the file of voxels that the text header of a MetaImage or NRRD names, if it exists."""
    if not header.name.lower().endswith((".mhd", ".nhdr")):
        return []
    for line in header.read_bytes()[:65536].decode("latin-1").splitlines():
        key, _, value = line.replace(":", "=", 1).partition("=")
        if key.strip().lower() in ("elementdatafile", "data file", "datafile"):
            named = header.parent / value.strip()
            return [named] if named.is_file() else []
    return []


def _scans_of(paths: list[Path]) -> list[Scan]:
    return [Scan(name_of(path), path) for path in paths]


def _within(output: Path | None, source: Path) -> frozenset[Path]:
    if output is None or output.resolve() == source.resolve():
        return frozenset()
    return frozenset({output.resolve()})


def _visible_files(folder: Path) -> list[Path]:
    files = (path for path in folder.iterdir() if not path.name.startswith("."))
    return sorted(path for path in files if path.is_file() or is_broken_link(path))


def _files_below(folder: Path, excluded: frozenset[Path]) -> Iterator[Path]:
    """Yield all files below a folder in a stable order, except hidden and excluded ones."""
    for place, folders, names in os.walk(folder):
        here = Path(place)
        folders[:] = sorted(f for f in folders if not f.startswith(".") and (here / f).resolve() not in excluded)
        for name in sorted(names):
            path = here / name
            if not name.startswith(".") and path.is_file() and path.resolve() not in excluded:
                yield path


def _dicom_below(folder: Path, excluded: frozenset[Path]) -> Iterator[Path]:
    for path in _files_below(folder, excluded):
        if path.name != _INDEX and _is_dicom_file(path):
            yield path


def _is_dicom_file(path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            start = stream.read(_START_BYTES)
    except OSError:  # reading the scan reports it
        return False
    return is_dicom(start) and not start.startswith(_ZIP)


def _are_of_one_study(paths: list[Path]) -> bool:
    studies = set()
    for path in paths:
        studies.add(_study_of(path))
        if len(studies - {None}) > 1:
            return False
    return True


def _study_of(path: Path) -> str | None:
    try:
        header = pydicom.dcmread(path, stop_before_pixels=True, force=True, specific_tags=["StudyInstanceUID"])
        return str(header.StudyInstanceUID)
    except (InvalidDicomError, AttributeError, ValueError, KeyError, EOFError, OSError, NotImplementedError):
        return None  # damaged; reading the scan reports it
