"""Grid of the voxels by a NIfTI header.

The precedence is nibabel's: the sform if its code is set, otherwise the qform if its code is set. With neither, left
and right are a guess: refused, unless the user accepts it with --assume-spacing. Odd headers are read with a warning;
impossible ones are refused.
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
from sautomed.scans.nifti_file import NiftiHeader, NiftiSource
from sautomed.scans.stored import ReadOptions

_FORM_ANGLE_WARNING_DEG = 0.5  # ours: this turns a corner of an abdomen by about 2 mm
_SPACING_WARNING = 0.01  # ours, relative


def native_grid(found: NiftiHeader, path: Path, options: ReadOptions) -> tuple[NativeGrid, tuple[str, ...]]:
    """Return the grid of the first three axes, and warnings.

    Raises:
        BadGeometry: A spacing is zero, negative, not finite or absurd, or the affine is singular.
        UnknownSpacing: Neither sform nor qform is set.
    """
    stored = (*found.stored_shape[:3], 1, 1)
    shape = (stored[0], stored[1], stored[2])
    check_spacing(found.header["pixdim"][1:4], path, "spacing (pixdim)")
    with np.errstate(all="ignore"):  # check_affine refuses what overflowed
        affine, notes = _affine_of(found.header, path, options)
    check_affine(affine, path)
    grid = NativeGrid(shape, affine, source=NiftiSource(found.header))
    return grid, (
        *notes,
        *spacing_notes(shape, grid.spacing_mm, path),
        *_pixdim_notes(found.header, grid.spacing_mm, path),
        *_unit_notes(found.header, path),
    )


def _affine_of(
    header: nibabel.Nifti1Header, path: Path, options: ReadOptions
) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """Return the affine by precedence, with a warning if the header contradicts itself or gives no orientation."""
    sform = header.get_sform() if int(header["sform_code"]) > 0 else None
    qform = _qform(header) if int(header["qform_code"]) > 0 else None
    if sform is not None:
        return sform.astype(np.float64), _disagreement(sform, qform, path)
    if qform is not None:
        return qform.astype(np.float64), ()
    unset = "sform and qform unset" if int(header["qform_code"]) <= 0 else "sform unset, and the qform is no rotation"
    if not options.assume_spacing:
        raise unknown_orientation(path, unset)
    note = f"{path}: the header gives no orientation ({unset}); its spacings and nibabel's guess (LAS) are taken."
    return header.get_base_affine().astype(np.float64), (note,)


def _qform(header: nibabel.Nifti1Header) -> NDArray[np.float64] | None:
    """Return the qform, or None if its quaternion is no rotation."""
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


def _pixdim_notes(header: nibabel.Nifti1Header, spacing_mm: tuple[float, float, float], path: Path) -> tuple[str, ...]:
    """Return a warning if the affine has other spacings than the header's pixdim."""
    pixdim = tuple(float(length) for length in header["pixdim"][1:4])
    if np.allclose(pixdim, spacing_mm, rtol=_SPACING_WARNING):
        return ()
    used, other = (" x ".join(f"{length:.4g}" for length in lengths) for lengths in (spacing_mm, pixdim))
    return (f"{path}: the affine has spacings of {used} mm, pixdim says {other}; the affine is taken.",)


def _unit_notes(header: nibabel.Nifti1Header, path: Path) -> tuple[str, ...]:
    unit = int(header["xyzt_units"]) & 7
    if unit in (0, 2):  # unknown or mm
        return ()
    name = {1: "metres", 3: "micrometres"}.get(unit, f"unit code {unit}")
    return (f"{path}: the header gives lengths in {name}; they are taken as mm, as other readers do.",)
