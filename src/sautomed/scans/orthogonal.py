"""Handle axes that are not quite orthogonal: accept, correct, refuse or resample, by how far a corner moves.

Everything downstream treats slices as rectangles, so the axes must be orthogonal. Rounding in headers is accepted; up
to `MAX_CORRECTION_MM` the affine is corrected and the file's own kept for writing; beyond that the voxels must be
resampled onto a regular grid, which only the user may ask for.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from sautomed.errors import ShearedGrid
from sautomed.scans.affine import check_affine
from sautomed.scans.grid import NativeGrid, corner_gap_mm, corners_mm, with_orthogonal_axes
from sautomed.scans.stored import Geometry, ReadOptions, Stored

ROUNDING_MM = 1e-3  # ours: NIfTI's 32-bit floats move corners by less
MAX_CORRECTION_MM = 1.0  # ours: about a voxel
_GROWTH_LIMIT = 4  # ours: a box around a sheared volume that is larger than this is mostly empty
_ALWAYS_ALLOWED = 1 << 20  # ours: voxels; tiny volumes may grow by more


@dataclass(frozen=True, eq=False)
class _Straightened:
    """A geometry with orthogonal axes, and whether the voxels must be resampled onto it."""

    geometry: Geometry
    resample: bool


def orthogonal_geometry(geometry: Geometry, options: ReadOptions) -> Geometry:
    """Return a geometry with orthogonal axes, with a warning if it was changed.

    Raises:
        BadGeometry: The affine is singular, not finite or absurd.
        ShearedGrid: The correction would move a corner by more than `MAX_CORRECTION_MM`, and `options.resample` is
            not set, or the regular grid would be mostly empty.
    """
    return _straighten(geometry, options).geometry


def orthogonal_stored(stored: Stored, options: ReadOptions, *, nearest: bool = False) -> Stored:
    """Return voxels on a grid with orthogonal axes, as `orthogonal_geometry`.

    Args:
        nearest: If resampling is needed, take the nearest voxel instead of interpolating: for label maps.
    """
    straightened = _straighten(stored.geometry, options)
    geometry = straightened.geometry
    if not straightened.resample:
        return replace(stored, geometry=geometry)
    return replace(stored, geometry=geometry, voxels=_resampled(stored, geometry.native, nearest))


def _straighten(geometry: Geometry, options: ReadOptions) -> _Straightened:
    native, path = geometry.native, geometry.path
    check_affine(native.affine, path)
    straight = with_orthogonal_axes(native.affine)
    shift_mm = corner_gap_mm(native.affine, straight, native.shape)
    if shift_mm < ROUNDING_MM:
        return _Straightened(geometry, resample=False)
    shear = f"the axes are not at right angles; straightening them moves a corner by {shift_mm:.3g} mm"
    if shift_mm <= MAX_CORRECTION_MM:
        corrected = replace(native, affine=straight, stored_affine=native.affine_to_write)
        note = f"{path}: {shear}; the directions are corrected, and the file's own are written again."
        return _Straightened(_with(geometry, corrected, note), resample=False)
    if not options.resample:
        raise ShearedGrid(
            f"is sheared: {shear}, more than the {MAX_CORRECTION_MM:g} mm that may be corrected, so organs would be "
            "segmented out of shape.",
            where=path,
            cure="Write it again from its source, or resample it to a regular grid with --resample.",
        )
    grid = _grid_around(native, straight)
    if prod(grid.shape) > max(_GROWTH_LIMIT * prod(native.shape), _ALWAYS_ALLOWED):
        raise ShearedGrid(
            f"is sheared so far ({shear}) that a regular grid around it is mostly empty.",
            where=path,
            cure="Write it again from its source.",
        )
    note = f"{path}: {shear}; its voxels were resampled, and everything derived from them is on the regular grid."
    return _Straightened(_with(geometry, grid, note), resample=True)


def _with(geometry: Geometry, native: NativeGrid, note: str) -> Geometry:
    return replace(geometry, native=native, warnings=(*geometry.warnings, note))


def _grid_around(native: NativeGrid, straight: NDArray[np.float64]) -> NativeGrid:
    """Return the grid with the directions of `straight` that holds every voxel of `native`."""
    corners = corners_mm(native.affine, native.shape)
    inside = (np.column_stack([corners, np.ones(8)]) @ np.linalg.inv(straight).T)[:, :3]
    low = np.floor(inside.min(axis=0) + 1e-6)
    high = np.ceil(inside.max(axis=0) - 1e-6)
    a, b, c = (int(length) for length in high - low + 1)
    affine = straight.copy()
    affine[:3, 3] += straight[:3, :3] @ low
    return NativeGrid((a, b, c), affine)


def _resampled(stored: Stored, target: NativeGrid, nearest: bool) -> NDArray[np.generic]:
    """Return the voxels on another grid, in their own type; new voxels outside get the smallest value."""
    voxels = stored.voxels
    to_source = np.linalg.inv(stored.geometry.affine) @ target.affine
    wide = voxels.astype(np.float32 if voxels.dtype.itemsize <= 2 else np.float64)
    finite = wide[np.isfinite(wide)]
    result = ndimage.affine_transform(
        wide,
        to_source[:3, :3],
        to_source[:3, 3],
        target.shape,
        order=0 if nearest else 1,
        mode="constant",
        cval=float(finite.min()) if finite.size else 0.0,
    )
    if voxels.dtype.kind in "iu":
        limits = np.iinfo(voxels.dtype)
        result = np.clip(np.rint(result), limits.min, limits.max)
    return result.astype(voxels.dtype.newbyteorder("="))
