"""Find the scans at a path: a file, a DICOM series, or a folder of scans in any formats."""

from __future__ import annotations

import logging
import os
import stat
from collections import Counter
from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path

import pydicom
from pydicom.errors import InvalidDicomError

from sautomed.datasets import case_name
from sautomed.errors import DataError, NoCases
from sautomed.errors.text import listed
from sautomed.inference.batch.label_maps import (
    HEADER_BYTES,
    NIFTI_ENDINGS,
    earlier_results,
    is_marked_label_map,
    is_named_label_map,
)
from sautomed.scans.contents import is_dicom
from sautomed.scans.formats import FILE_ENDINGS, FORMATS, format_of
from sautomed.scans.paths import mode_of, refuse_missing, resolved_path, unreadable

log = logging.getLogger(__name__)

START_BYTES = 132  # a DICOM file has its signature after a preamble of 128 bytes
_ZIP = b"PK\x03\x04"
INDEX = "DICOMDIR"  # a DICOM file too, but a list of names
DICOM_ENDINGS = (".dcm", ".ima")
_OF_THE_DISK = "lost+found"  # closed to all but root, at the root of a disk of Linux


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
    file that is a scan is a case, and so is each subfolder that holds DICOM files, and each scan file in the folders
    below, named by folder. A folder below that may not be read counts as one with DICOM files, so that reading it says
    why. Left out are results of `segment` that are listed in a CASE.json, and label maps in the folders below, with a
    line in the log (`label_maps.py`).

    Args:
        output: Where results go: a folder of earlier results within `source` is no input.
    Raises:
        MissingFile, DataError: `source` does not exist, or cannot be read.
        NoCases: A folder holds no scan.
    """
    refuse_missing(source)
    if not source.is_dir():
        return Scans((Scan(name_of(source), source),), several=False)
    found, closed = _look_below(source, _within(output, source))
    results = {source / path for path in earlier_results(source, [path.relative_to(source) for path in found])}
    files = [path for path in _visible_files(source) if path not in results and is_volume_file(path)]
    dicom, below = _search_below(source, found, results)
    if any(path.parent == source for path in dicom):
        if below:
            log.warning(
                "%s: holds DICOM files, so it is one scan; scans in the folders below it are left out (%d): %s. "
                "To segment them, give their folder with -i.", source, len(below), _listed_below(below, source)
            )  # fmt: skip
        return Scans((Scan(name_of(source), source), *_scans_of(files)), several=bool(files))
    if (dicom or closed) and not files and not below and _are_of_one_study(dicom):
        return Scans((Scan(name_of(source), source),), several=False)
    folders = sorted({source / path.relative_to(source).parts[0] for path in (*dicom, *closed)})
    scans = [*_scans_of(files), *(Scan(folder.name, folder) for folder in folders)]
    scans += scans_by_folder(below, source, {scan.case for scan in scans})
    if not scans:
        raise NoCases(
            f"holds no scan. Looked for were {', '.join(kind.name for kind in FORMATS.values())} files, recognised by "
            f"content, and names ending in {', '.join(FILE_ENDINGS)}, in it and in the folders below it.",
            where=source,
            cure="Put scans there, or give another folder with -i.",
        )
    return Scans(tuple(sorted(scans, key=lambda scan: scan.case)), several=True)


def name_of(path: Path) -> str:
    """Return the case of a scan: a file's name without ending and nnU-Net's channel number, or a folder's name."""
    path = path if path.name not in ("", "..") else path.resolve()
    return path.name if path.is_dir() else case_of_file(path)


def case_of_file(path: Path) -> str:
    """Return the case of a scan that is a file, by its name alone."""
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
    return not file_format.folders or not _is_dicom(_start_of(path))  # a zip of DICOM files is a scan


def scan_files(scan: Path, outputs: frozenset[Path] = frozenset()) -> list[Path]:
    """Return the files of a scan, as far as is known without reading it.

    Args:
        outputs: Files and folders in a DICOM folder that are results and no part of the scan.
    Raises:
        MissingFile, DataError: It cannot be read.
    """
    if scan.is_dir():
        found, _ = _look_below(scan, outputs)
        return [path for path in found if path.name != INDEX and stat.S_ISREG(mode_of(path))]
    return [scan, *_voxel_files(scan)]


def _voxel_files(header: Path) -> list[Path]:
    named = voxel_file(header)
    return [named] if named is not None and named.is_file() else []


def voxel_file(header: Path) -> Path | None:
    """Return the file of voxels that the text header of a MetaImage or NRRD names, whether it exists or not."""
    if not header.name.lower().endswith((".mhd", ".nhdr")):
        return None
    for line in header.read_bytes()[:65536].decode("latin-1").splitlines():
        key, _, value = line.replace(":", "=", 1).partition("=")
        if key.strip().lower() in ("elementdatafile", "data file", "datafile"):
            return header.parent / value.strip()
    return None


def _scans_of(files: list[Path]) -> list[Scan]:
    return [Scan(case_of_file(path), path) for path in files]


def scans_by_folder(paths: list[Path], source: Path, taken: Container[str]) -> list[Scan]:
    """Name scans below `source` by folder: p1 for p1/ct.nii.gz if no other scan is p1, else p1_ct.

    Args:
        taken: Names of other cases.
    """
    places = [path.relative_to(source).parts for path in paths]
    in_folder = Counter(place[0] for place in places)
    scans = []
    for path, place in zip(paths, places, strict=True):
        alone = in_folder[place[0]] == 1 and place[0] not in taken
        scans.append(Scan(place[0] if alone else "_".join((*place[:-1], case_of_file(path))), path))
    return scans


def _listed_below(paths: list[Path], source: Path) -> str:
    return listed(path.relative_to(source) for path in paths)


def _within(output: Path | None, source: Path) -> frozenset[Path]:
    if output is None or output.resolve() == source.resolve():
        return frozenset()
    return frozenset({output.resolve()})


def _visible_files(folder: Path) -> list[Path]:
    files = (path for path in folder.iterdir() if not path.name.startswith("."))
    return sorted(filter(_is_file, files))


def _look_below(folder: Path, excluded: frozenset[Path]) -> tuple[list[Path], list[Path]]:
    """Return all files below a folder in a stable order, and the folders below that may not be read.

    Hidden and excluded ones are left out.

    Raises:
        MissingFile, DataError: The folder itself cannot be read.
    """
    files: list[Path] = []
    closed: list[Path] = []

    def note(error: OSError) -> None:
        if Path(error.filename) == folder:
            raise unreadable(folder, error) from error
        if not isinstance(error, FileNotFoundError):  # removed meanwhile
            closed.append(Path(error.filename))

    for place, folders, names in os.walk(folder, onerror=note):
        here = Path(place)
        visible = sorted(name for name in folders if not name.startswith(".") and name != _OF_THE_DISK)
        folders[:] = [name for name in visible if resolved_path(here / name) not in excluded]
        paths = (here / name for name in sorted(names) if not name.startswith("."))
        files += [path for path in paths if _is_file(path) and resolved_path(path) not in excluded]
    return files, closed


def _is_file(path: Path) -> bool:
    """Return whether a name in a folder is that of a file, or leads nowhere or where nothing may be read.

    Reading it says why, so it must not be left out.
    """
    try:
        mode = mode_of(path)
    except DataError:
        return True
    return mode == 0 or stat.S_ISREG(mode)


def _search_below(folder: Path, files: list[Path], results: set[Path]) -> tuple[list[Path], list[Path]]:
    """Return the DICOM files in a folder and below it, and the scan files of other formats below it.

    Args:
        files: In the folder and below it.
        results: Those of them that are results of `segment`.
    """
    dicom: list[Path] = []
    scans: list[Path] = []
    label_maps: list[Path] = []
    unread: list[Path] = []
    for path in files:
        if path.name == INDEX:
            continue
        start = _start_of(path)
        if path in results:
            label_maps.append(path)
        elif start is None and not path.name.lower().endswith(FILE_ENDINGS):
            unread.append(path)
        elif _is_dicom(start):
            dicom.append(path)
        elif path.parent != folder and is_volume_file(path) and not _is_zip(start):  # many other files are zips too
            (label_maps if _is_label_map(path) else scans).append(path)
    if label_maps:
        log.info("%s: %d label maps are not segmented: %s.", folder, len(label_maps), _listed_below(label_maps, folder))
    return (dicom + _maybe_dicom(unread, files) if unread else dicom), scans


def _maybe_dicom(unread: list[Path], files: list[Path]) -> list[Path]:
    """Return those of the files that may not be read which count as DICOM, so that reading their folder says why.

    By their names, or as no file in their folder and below may be read.
    """
    known = {folder for path in set(files).difference(unread) for folder in path.parents}
    return [path for path in unread if path.name.lower().endswith(DICOM_ENDINGS) or path.parent not in known]


def _is_label_map(path: Path) -> bool:
    if is_named_label_map(path):
        return True
    start = _start_of(path, HEADER_BYTES) if path.name.lower().endswith(NIFTI_ENDINGS) else None
    return start is not None and is_marked_label_map(start)


def _is_zip(start: bytes | None) -> bool:
    return start is not None and start.startswith(_ZIP)


def _is_dicom(start: bytes | None) -> bool:
    return start is not None and is_dicom(start) and not _is_zip(start)


def _start_of(path: Path, length: int = START_BYTES) -> bytes | None:
    """Return the first bytes of a file; none if there is no file, None if it cannot be read."""
    try:
        with path.open("rb") as stream:
            return stream.read(length)
    except FileNotFoundError:  # a broken link
        return b""
    except OSError:
        return None


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
