"""Write one corrected case in nnU-Net's raw layout."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

import nibabel
import numpy as np

from sautomed.datasets.dataset import Case
from sautomed.datasets.doctor.facts import CaseFacts
from sautomed.datasets.names import CHANNEL_SUFFIX
from sautomed.scans.files import atomic_write
from sautomed.scans.grid import NativeGrid
from sautomed.scans.volume import LabelMap, Volume

ENDING = ".nii.gz"
_GZIP = b"\x1f\x8b"


@dataclass(frozen=True, eq=False)
class CorrectedCase:
    """One case in memory, ready to be written.

    Args:
        case: The original.
        before: Facts of the original.
        facts: Facts of what is written.
        volume: The scan.
        labels: The corrected label map.
        label_changes: Corrections of the label map, as text.
    """

    case: Case
    before: CaseFacts
    facts: CaseFacts
    volume: Volume
    labels: LabelMap
    label_changes: tuple[str, ...]


def write_case(item: CorrectedCase, name: str, folder: Path, *, may_copy: bool) -> tuple[str, ...]:
    """Write scan and label map, or copy the original files if nothing was corrected.

    Args:
        name: The case id in the copy.
        folder: The root of the copy.
        may_copy: Whether the layout keeps a scan and its label map as files that can be copied unchanged.
    Returns:
        The differences from the original, as text.
    """
    grid = NativeGrid(item.volume.native.shape, item.volume.native.affine)
    renamed = () if name == item.case.id else (f"called {name}",)
    scan_changes = _write_scan(item, grid, folder / "imagesTr" / f"{name}{CHANNEL_SUFFIX}{ENDING}", may_copy)
    label_changes = _write_labels(item, grid, folder / "labelsTr" / f"{name}{ENDING}", may_copy)
    return (*renamed, *scan_changes, *label_changes)


def _write_scan(item: CorrectedCase, grid: NativeGrid, path: Path, may_copy: bool) -> tuple[str, ...]:
    if may_copy and _is_sound_file(item.case.image, item.volume.warnings):
        _copy(item.case.image, path)
        return ()
    _save_scan(item.volume, grid, path)
    return item.volume.warnings or ("scan written as plain NIfTI",)


def _write_labels(item: CorrectedCase, grid: NativeGrid, path: Path, may_copy: bool) -> tuple[str, ...]:
    warnings = tuple(text for text in item.before.warnings if text not in item.volume.warnings)
    integers = item.before.label_dtype.startswith(("int", "uint"))
    unchanged = not item.label_changes and integers and item.before.gap_mm == 0
    if may_copy and unchanged and item.case.label and _is_sound_file(item.case.label, warnings):
        _copy(item.case.label, path)
        return ()
    replace(item.labels, native=grid).save(path)
    dtype = item.before.label_dtype
    stored = (f"labels stored as integers instead of {dtype}",) if dtype and not integers else ()
    return (*stored, *warnings, *item.label_changes)


def _is_sound_file(path: Path, warnings: tuple[str, ...]) -> bool:
    """Return whether a file can be copied as it is: no warnings about it, and gzipped NIfTI as its name says."""
    if warnings or not path.name.endswith(ENDING) or not path.is_file():
        return False
    with path.open("rb") as stream:
        return stream.read(2) == _GZIP


def _copy(source: Path, target: Path) -> None:
    with atomic_write(target) as temporary:
        shutil.copyfile(source, temporary)


def _save_scan(volume: Volume, grid: NativeGrid, path: Path) -> None:
    """Write intensities with equal qform and sform, as int16 if they are whole numbers that fit."""
    as_labels = LabelMap(volume.array, volume.affine, grid, volume.plane)  # type: ignore[arg-type]  # works for floats too
    array = as_labels.to_native()
    fits_int16 = np.abs(array).max() < 2**15 and np.array_equal(array, np.rint(array))
    image = nibabel.Nifti1Image(array.astype(np.int16 if fits_int16 else np.float32), grid.affine)
    image.header.set_xyzt_units("mm")
    image.header.set_qform(grid.affine, code=1)
    image.header.set_sform(grid.affine, code=1)
    with atomic_write(path) as temporary:
        nibabel.save(image, temporary)


def file_names(case_ids: Sequence[str]) -> dict[str, str]:
    """Return a file name for each case id: letters, digits and _-. only, all different and none hidden."""
    names: dict[str, str] = {}
    for case_id in case_ids:
        plain = re.sub(r"[^\w.\-]+|^\.", "_", case_id)
        taken = {name.casefold() for name in names.values()}
        candidates = (plain if number == 1 else f"{plain}_{number}" for number in count(1))
        names[case_id] = next(name for name in candidates if name.casefold() not in taken)
    return names
