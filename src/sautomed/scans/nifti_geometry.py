"""Where a NIfTI header says that its voxels lie.

Precedence is nibabel's: the sform if its code is set, otherwise the qform if its code is set. With neither, left and
right are a guess: refused, unless the user says to take the spacings. Odd headers are read with a warning; impossible
ones are refused.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from sautomed.scans.affine import check_affine, check_spacing, refuse_unknown_orientation, spacing_notes
from sautomed.scans.grid import NativeGrid
from sautomed.scans.nifti_file import NiftiHeader
from sautomed.scans.stored import ReadOptions

_FORM_ANGLE_WARNING_DEG = 0.5  # ours: this turns a corner of an abdomen by about 2 mm
_SPACING_WARNING = 0.01  # ours, relative


def native_grid(found: NiftiHeader, path: Path, options: ReadOptions) -> tuple[NativeGrid, tuple[str, ...]]:
    """The grid of a header whose further axes are chosen from, and warnings.

    Raises:
        BadGeometry: A spacing is zero, negative, not finite or absurd, or the affine is singular.
        UnknownSpacing: Neither sform nor qform is set.
    """
    stored = (*found.stored_shape[:3], 1, 1)
    shape = (stored[0], stored[1], stored[2])
    check_spacing(found.header["pixdim"][1:4], path, "spacing (pixdim)")
    with np.errstate(all="ignore"):  # what overflows is judged next
        affine, notes = _affine_of(found.header, path, options)
    check_affine(affine, path)
    grid = NativeGrid(shape, affine, found.header)
    return grid, (
        *notes,
        *spacing_notes(shape, grid.spacing_mm, path),
        *_pixdim_notes(grid, path),
        *_unit_notes(found.header, path),
    )


def _affine_of(header: Any, path: Path, options: ReadOptions) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """The affine by precedence, with a warning where the header contradicts itself or is silent."""
    sform = header.get_sform() if int(header["sform_code"]) > 0 else None
    qform = _qform(header) if int(header["qform_code"]) > 0 else None
    if sform is not None:
        return sform.astype(np.float64), _disagreement(sform, qform, path)
    if qform is not None:
        return qform.astype(np.float64), ()
    unset = "sform and qform unset" if int(header["qform_code"]) <= 0 else "sform unset, and the qform is no rotation"
    if not options.assume_spacing:
        raise refuse_unknown_orientation(path, unset)
    note = f"{path}: the header gives no orientation ({unset}); its spacings and nibabel's guess (LAS) are taken."
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


def _pixdim_notes(grid: NativeGrid, path: Path) -> tuple[str, ...]:
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
