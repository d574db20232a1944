"""Find the scans below a URL by the names of their files: to look into each of them would take too long."""

from __future__ import annotations

import logging
import re
from pathlib import Path

from sautomed.errors import NoCases
from sautomed.errors.text import listed
from sautomed.inference.batch.label_maps import (
    HEADER_BYTES,
    NIFTI_ENDINGS,
    earlier_results,
    is_marked_label_map,
    is_named_label_map,
)
from sautomed.inference.batch.places import Place, Url
from sautomed.inference.batch.remote import look_at, read_starts
from sautomed.inference.batch.scan_list import Entry
from sautomed.inference.batch.scans import DICOM_ENDINGS, INDEX, START_BYTES, case_of_file, scans_by_folder
from sautomed.scans.contents import is_dicom
from sautomed.scans.formats import FILE_ENDINGS

log = logging.getLogger(__name__)

_MAYBE_DICOM = re.compile(r"[^.]+|.*\.[0-9]+", re.ASCII)  # IM0001, or a UID


def find_remote_scans(source: Url, output: Place) -> tuple[list[Entry], bool]:
    """Return the scans at a URL, and whether it is a folder of scans rather than a scan itself.

    As `find_scans` does with a local folder, but by names: files with the ending of a format are scans, and a folder
    with DICOM files is one, too, whatever studies they are of. Only where the files of a folder have no ending, the
    first of them is looked into. What is a label map is known as of local files, by the first bytes of NIfTI files too.

    Args:
        output: Where results go: a folder of earlier results below `source` is no input.
    Raises:
        MissingFile, AccessRefused, Unreachable, PackageMissing: Of the URL.
        NoCases: A folder holds no scan.
    """
    found = look_at(source)
    if not found.is_folder:
        return [_entry(case_of_file(Path(source.name)), source)], False
    seen = [Path(name) for name in sorted(found.files) if _is_seen(source, name, output)]
    results = earlier_results(source, seen)
    files = [path for path in seen if path not in results]
    dicom = _dicom_folders(source, files)
    top = [path for path in files if len(path.parts) == 1 and path.name.lower().endswith((*FILE_ENDINGS, ".zip"))]
    if Path() in dicom:
        return [_entry(source.name, source), *(_entry(case_of_file(path), source / path) for path in top)], bool(top)
    below = [path for path in files if len(path.parts) > 1 and path.name.lower().endswith(FILE_ENDINGS)]
    left_out = results | _label_maps(source, below)
    if left_out:
        log.info("%s: %d label maps are not segmented: %s.", source, len(left_out), listed(sorted(left_out)))
    cases = [(case_of_file(path), path) for path in top]
    cases += [(name, Path(name)) for name in sorted({folder.parts[0] for folder in dicom})]
    scans = [path for path in below if path not in left_out]
    cases += [(scan.case, scan.path) for scan in scans_by_folder(scans, Path(), {case for case, _ in cases})]
    if not cases:
        raise NoCases(
            f"holds no scan: no name of a file ends in {', '.join((*FILE_ENDINGS, *DICOM_ENDINGS))}.",
            where=str(source),
            cure="Put scans there, or give another URL with -i.",
        )
    return [_entry(case, source / path) for case, path in sorted(cases)], True


def _entry(case: str, scan: Url) -> Entry:
    return Entry(case, scan, case)


def _is_seen(source: Url, name: str, output: Place) -> bool:
    """Return whether a file may be part of a scan: neither hidden nor a result of an earlier run."""
    in_output = isinstance(output, Url) and source.holds(output) and output.holds(source / name)
    return not in_output and not any(part.startswith(".") for part in Path(name).parts)


def _dicom_folders(source: Url, files: list[Path]) -> set[Path]:
    """Return the folders that hold DICOM files."""
    certain = {path.parent for path in files if path.name.lower().endswith(DICOM_ENDINGS)}
    first: dict[Path, Path] = {}
    for path in files:
        if path.parent not in certain and _MAYBE_DICOM.fullmatch(path.name) and path.name != INDEX:
            first.setdefault(path.parent, path)
    starts = read_starts([source / path for path in first.values()], START_BYTES)
    return certain | {folder for folder, start in zip(first, starts, strict=True) if is_dicom(start)}


def _label_maps(source: Url, files: list[Path]) -> set[Path]:
    named = {path for path in files if is_named_label_map(path)}
    nifti = [path for path in files if path not in named and path.name.lower().endswith(NIFTI_ENDINGS)]
    starts = read_starts([source / path for path in nifti], HEADER_BYTES)
    return named | {path for path, start in zip(nifti, starts, strict=True) if is_marked_label_map(start)}
