"""Where a NIfTI header says that its voxels lie.

Precedence is nibabel's: the sform if its code is set, otherwise the qform if its code is set, otherwise the spacings
alone. Odd headers are read with a warning; impossible ones are refused.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from sautomed.errors import BadGeometry, NotThreeD
from sautomed.grid import NativeGrid
from sautomed.io.nifti_file import NiftiHeader

SPACING_RANGE_MM = (0.01, 100.0)  # ours: finer than any CT or MR of a patient, coarser than any localiser
_FORM_ANGLE_WARNING_DEG = 0.5  # ours: this turns a corner of an abdomen by about 2 mm
_SPACING_WARNING = 0.01  # ours, relative
_REWRITE = "Write the file again from its source, or correct the header, for example with nibabel."


def native_grid(found: NiftiHeader, path: Path) -> tuple[NativeGrid, tuple[str, ...]]:
    """The grid of a header, and warnings.

    Raises:
        NotThreeD: More than three axes are longer than 1.
        BadGeometry: A spacing is zero, negative, not finite or outside `SPACING_RANGE_MM`, or the affine is singular.
    """
    shape, warnings = _three_axes(found.stored_shape, path)
    _check_spacing([float(length) for length in found.header["pixdim"][1:4]], path, "spacing (pixdim)")
    affine, notes = _affine_of(found.header, path)
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < SPACING_RANGE_MM[0] ** 3:
        raise BadGeometry(
            "has a singular or not finite affine, so its voxels fill no volume.", where=path, cure=_REWRITE
        )
    grid = NativeGrid(shape, affine, found.header)
    _check_spacing(list(grid.spacing_mm), path, "spacing (affine)")
    return grid, (*warnings, *notes, *_spacing_notes(grid, path), *_unit_notes(found.header, path))


def _three_axes(stored: tuple[int, ...], path: Path) -> tuple[tuple[int, int, int], tuple[str, ...]]:
    longer = stored[3:]
    if any(length > 1 for length in longer):
        raise NotThreeD(
            f"has {len(stored)} axes of lengths {' x '.join(map(str, stored))}, but one 3D volume is needed.",
            where=path,
            cure="Split the series and give one volume, for example with nibabel.four_to_three or fslsplit.",
        )
    if len(stored) >= 3:
        return (stored[0], stored[1], stored[2]), ()
    padded = (*stored, 1, 1)
    note = f"{path}: is a {len(stored)}D image; it is taken for one slice, with the thickness that the header gives."
    return (padded[0], padded[1], padded[2]), (note,)


def _check_spacing(spacing_mm: list[float], path: Path, name: str) -> None:
    low, high = SPACING_RANGE_MM
    if all(np.isfinite(length) and low <= length <= high for length in spacing_mm):
        return
    listed = " x ".join(f"{length:g}" for length in spacing_mm)
    raise BadGeometry(
        f"has a {name} of {listed} mm; zero, negative or absurd spacing (outside {low:g} to {high:g} mm) would make "
        "every length and volume wrong.",
        where=path,
        cure=_REWRITE,
    )


def _affine_of(header: Any, path: Path) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """The affine by precedence, with a warning where the header contradicts itself or is silent."""
    sform = header.get_sform() if int(header["sform_code"]) > 0 else None
    qform = _qform(header) if int(header["qform_code"]) > 0 else None
    if sform is not None:
        return sform.astype(np.float64), _disagreement(sform, qform, path)
    if qform is not None:
        return qform.astype(np.float64), ()
    note = f"{path}: the header gives no orientation (sform and qform unset); nibabel's guess (LAS) is taken."
    return header.get_base_affine().astype(np.float64), (note,)


def _qform(header: Any) -> NDArray[np.float64] | None:
    """The qform, or None if its quaternion is no rotation."""
    try:
        return header.get_qform()
    except (HeaderDataError, ValueError):
        return None


def _disagreement(sform: NDArray[Any], qform: NDArray[Any] | None, path: Path) -> tuple[str, ...]:
    """A warning if sform and qform turn or shift the scan differently."""
    if qform is None:
        return ()
    directions = [form[:3, :3] / np.maximum(np.linalg.norm(form[:3, :3], axis=0), 1e-12) for form in (sform, qform)]
    cosines = np.clip((directions[0] * directions[1]).sum(axis=0), -1, 1)
    angle = float(np.degrees(np.arccos(cosines)).max())
    shift_mm = float(np.linalg.norm(sform[:3, 3] - qform[:3, 3]))
    if angle <= _FORM_ANGLE_WARNING_DEG and shift_mm <= 1:
        return ()
    return (f"{path}: sform and qform differ by {angle:.1f} degrees and {shift_mm:.1f} mm; the sform is taken.",)


def _spacing_notes(grid: NativeGrid, path: Path) -> tuple[str, ...]:
    """A warning if the affine has other spacings than the header's own field; the affine holds."""
    written = np.array([float(length) for length in grid.header["pixdim"][1:4]])
    if np.allclose(written, grid.spacing_mm, rtol=_SPACING_WARNING):
        return ()
    listed = [" x ".join(f"{length:.4g}" for length in lengths) for lengths in (grid.spacing_mm, written)]
    return (f"{path}: the affine has spacings of {listed[0]} mm, pixdim says {listed[1]}; the affine is taken.",)


def _unit_notes(header: Any, path: Path) -> tuple[str, ...]:
    unit = int(header["xyzt_units"]) & 7
    if unit in (0, 2):  # unknown or mm
        return ()
    name = {1: "metres", 3: "micrometres"}.get(unit, f"unit code {unit}")
    return (f"{path}: the header gives lengths in {name}; they are taken as mm, as other readers do.",)
