"""Grid of the voxels by a NIfTI header.

The precedence is nibabel's: the sform if its code is set, otherwise the qform if its code is set. With neither, left
and right are a guess: refused, unless the user accepts it with --assume-spacing. Lengths in metres and micrometres are
converted to mm, as ITK does. Odd headers are read with a warning; impossible ones are refused.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from sautomed.scans.affine import check_affine, check_spacing, spacing_notes, unknown_orientation
from sautomed.scans.grid import NativeGrid
from sautomed.scans.nifti_file import LengthUnit, NiftiHeader, NiftiSource, length_unit
from sautomed.scans.stored import ReadOptions

_FORM_ANGLE_WARNING_DEG = 0.5  # ours: this turns a corner of an abdomen by about 2 mm
_SPACING_WARNING = 0.01  # ours, relative


def native_grid(found: NiftiHeader, path: Path, options: ReadOptions) -> tuple[NativeGrid, tuple[str, ...]]:
    """Return the grid of the first three axes in mm, and warnings.

    Raises:
        BadGeometry: A spacing is zero, negative, not finite or absurd, or the affine is singular.
        UnknownSpacing: Neither sform nor qform is set.
    """
    stored = (*found.stored_shape[:3], 1, 1)
    shape = (stored[0], stored[1], stored[2])
    unit = length_unit(found.header)
    converted = f" converted from {unit.name}" if unit.mm != 1 else ""
    pixdim_mm = found.header["pixdim"][1:4].astype(np.float64) * unit.mm
    check_spacing(pixdim_mm, path, f"spacing (pixdim{converted})")
    with np.errstate(all="ignore"):  # check_affine refuses what overflowed
        affine, notes = _affine_of(found.header, unit, path, options)
    check_affine(affine, path, f"affine{converted}")
    grid = NativeGrid(shape, affine, source=NiftiSource(found.header))
    return grid, (
        *notes,
        *spacing_notes(shape, grid.spacing_mm, path),
        *_pixdim_notes(pixdim_mm, grid.spacing_mm, path),
        *_unit_notes(unit, path),
    )


def _affine_of(
    header: nibabel.Nifti1Header, unit: LengthUnit, path: Path, options: ReadOptions
) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """Return the affine in mm by precedence, with a warning if the header contradicts itself or lacks orientation."""
    to_mm = np.diag([unit.mm, unit.mm, unit.mm, 1.0])
    sform = to_mm @ header.get_sform() if int(header["sform_code"]) > 0 else None
    stored_qform = _qform(header) if int(header["qform_code"]) > 0 else None
    qform = None if stored_qform is None else to_mm @ stored_qform
    if sform is not None:
        return sform, _disagreement(sform, qform, path)
    if qform is not None:
        return qform, ()
    unset = "sform and qform unset" if int(header["qform_code"]) <= 0 else "sform unset, and the qform is no rotation"
    if not options.assume_spacing:
        raise unknown_orientation(path, unset)
    note = f"{path}: the header gives no orientation ({unset}); its spacings and nibabel's guess (LAS) are taken."
    return to_mm @ header.get_base_affine(), (note,)


def _qform(header: nibabel.Nifti1Header) -> NDArray[np.float64] | None:
    """Return the qform in the header's unit, or None if its quaternion is no rotation."""
    try:
        return header.get_qform()
    except (HeaderDataError, ValueError):
        return None


def _disagreement(sform: NDArray[Any], qform: NDArray[Any] | None, path: Path) -> tuple[str, ...]:
    """Return a warning if sform and qform differ in rotation or position."""
    if qform is None:
        return ()
    directions = [form[:3, :3] / np.maximum(np.linalg.norm(form[:3, :3], axis=0), 1e-12) for form in (sform, qform)]
    cosines = np.clip((directions[0] * directions[1]).sum(axis=0), -1, 1)
    angle = float(np.degrees(np.arccos(cosines)).max())
    shift_mm = float(np.linalg.norm(sform[:3, 3] - qform[:3, 3]))
    if angle <= _FORM_ANGLE_WARNING_DEG and shift_mm <= 1:
        return ()
    return (f"{path}: sform and qform differ by {angle:.1f} degrees and {shift_mm:.1f} mm; the sform is taken.",)


def _pixdim_notes(
    pixdim_mm: NDArray[np.float64], spacing_mm: tuple[float, float, float], path: Path
) -> tuple[str, ...]:
    """Return a warning if the affine has other spacings than the header's pixdim."""
    if np.allclose(pixdim_mm, spacing_mm, rtol=_SPACING_WARNING):
        return ()
    used, other = (" x ".join(f"{length:.4g}" for length in lengths) for lengths in (spacing_mm, pixdim_mm))
    return (f"{path}: the affine has spacings of {used} mm, pixdim says {other}; the affine is taken.",)


def _unit_notes(unit: LengthUnit, path: Path) -> tuple[str, ...]:
    if not unit.known:
        return (f"{path}: the header gives lengths in {unit.name}; they are taken as mm, as other readers do.",)
    if unit.mm != 1:
        return (f"{path}: the header gives lengths in {unit.name}; they are converted to mm.",)
    return ()
