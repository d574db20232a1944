"""Which scans a path means: a file, a DICOM series, or a folder of scans of any formats."""

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
from sautomed.scans.formats import FORMATS, format_of
from sautomed.scans.paths import is_dangling

# A file called like a scan counts as one whatever it holds, so that a damaged scan is reported and not passed over.
SCAN_ENDINGS = (".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd")
_START_BYTES = 132  # a DICOM file says what it is behind a preamble of 128 bytes
_ZIP = b"PK\x03\x04"
_INDEX = "DICOMDIR"  # itself a DICOM file, but of names


@dataclass(frozen=True)
class Scan:
    """One scan and the name of its case."""

    case: str
    path: Path


@dataclass(frozen=True)
class Scans:
    """What a path means.

    Args:
        several: Whether the path is a folder of scans, be it of one, rather than a scan itself.
    """

    scans: tuple[Scan, ...]
    several: bool


def find_scans(source: Path, output: Path | None = None) -> Scans:
    """The scans that `source` means.

    A file is one scan. A folder whose DICOM files are all of one study, and that holds no other scan, is one scan too;
    of any other folder, each file that is a scan is a case, and each folder in it that holds DICOM files.

    Args:
        output: Where results go: a folder of earlier results within `source` is no input.
    Raises:
        MissingFile: There is nothing at `source`.
        NoCases: A folder holds no scan.
    """
    if not source.exists():
        raise MissingFile("does not exist.", where=source, cure="Check the path given with -i.")
    if not source.is_dir():
        return Scans((Scan(name_of(source), source),), several=False)
    left_out = _within(output, source)
    files = [path for path in _visible_files(source) if is_volume_file(path)]
    dicom = list(_dicom_below(source, left_out))
    if dicom and (any(path.parent == source for path in dicom) or (not files and _are_of_one_study(dicom))):
        return Scans((Scan(name_of(source), source), *_scans_of(files)), several=bool(files))
    folders = sorted({source / path.relative_to(source).parts[0] for path in dicom})
    scans = sorted((*_scans_of(files), *_scans_of(folders)), key=lambda scan: scan.path.name)
    if not scans:
        raise NoCases(
            f"holds no scan. Looked for were {', '.join(kind.name for kind in FORMATS.values())} files, told by their "
            f"content, names ending in {', '.join(SCAN_ENDINGS)}, and DICOM files in it and in the folders below it.",
            where=source,
            cure="Check the folder given with -i.",
        )
    return Scans(tuple(scans), several=True)


def name_of(path: Path) -> str:
    """The name of a scan's case: of a file without ending and nnU-Net's channel number, of a folder as it is."""
    path = path if path.name not in ("", "..") else path.resolve()
    if path.is_dir():
        return path.name
    name = case_name(path)
    for ending in (".zip", ".dcm", ".gz"):
        name = name.removesuffix(ending)
    return name


def is_volume_file(path: Path) -> bool:
    """Whether a file is a scan by itself, by its content or by its name; single DICOM slices are not."""
    try:
        found = format_of(path)
    except DataError:
        return path.name.lower().endswith(SCAN_ENDINGS)
    return not found.folders or not _is_dicom_file(path)  # of DICOM, a zip is one


def scan_files(scan: Path, outputs: frozenset[Path] = frozenset()) -> list[Path]:
    """The files that a scan consists of, as far as can be told without reading it.

    Args:
        outputs: Files and folders in a DICOM folder that are results and no part of the scan.
    """
    if scan.is_dir():
        return [path for path in _files_below(scan, outputs) if path.name != _INDEX]
    return [scan, *_voxel_files(scan)]


def _voxel_files(header: Path) -> list[Path]:
    """The file of voxels that the text header of a MetaImage or an NRRD names, if it is there."""
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
    return sorted(path for path in files if path.is_file() or is_dangling(path))


def _files_below(folder: Path, left_out: frozenset[Path]) -> Iterator[Path]:
    """All files below a folder in a stable order, without hidden ones and without what is left out."""
    for place, folders, names in os.walk(folder):
        here = Path(place)
        folders[:] = sorted(f for f in folders if not f.startswith(".") and (here / f).resolve() not in left_out)
        for name in sorted(names):
            path = here / name
            if not name.startswith(".") and path.is_file() and path.resolve() not in left_out:
                yield path


def _dicom_below(folder: Path, left_out: frozenset[Path]) -> Iterator[Path]:
    for path in _files_below(folder, left_out):
        if path.name != _INDEX and _is_dicom_file(path):
            yield path


def _is_dicom_file(path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            start = stream.read(_START_BYTES)
    except OSError:  # what may not be read is told when it is read
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
        return None  # damaged; the reader says how
