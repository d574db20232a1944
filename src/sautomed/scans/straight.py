"""Grids whose axes are not quite at right angles: left, corrected, refused or resampled, by how far corners move.

All slices are computed with as if they were rectangles, so an affine must say so. Rounding in headers is left alone;
up to `MOST_CORRECTED_MM` the affine is corrected and the file's own one kept for writing; above, the voxels themselves
must be brought onto a regular grid, which only the user may ask for.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from sautomed.errors import ShearedGrid
from sautomed.scans.affine import check_affine
from sautomed.scans.grid import NativeGrid, corner_gap_mm, corners_mm, orthonormalised
from sautomed.scans.stored import Geometry, ReadOptions, Stored

LEFT_ALONE_MM = 1e-3  # ours: NIfTI's 32-bit floats move corners by less
MOST_CORRECTED_MM = 1.0  # from the issue: about a voxel
_GROWTH_LIMIT = 4  # ours: a box around a sheared volume that is larger than this holds mostly nothing
_ALWAYS_FITS = 1 << 20  # voxels; tiny volumes grow by more


@dataclass(frozen=True, eq=False)
class _Verdict:
    """A geometry with axes at right angles; `resampled` if the voxels do not lie on it yet."""

    geometry: Geometry
    resampled: bool


def straight_geometry(geometry: Geometry, options: ReadOptions) -> Geometry:
    """A geometry whose axes are at right angles, with a warning if that changed it.

    Raises:
        BadGeometry: The affine is singular, not finite or absurd.
        ShearedGrid: The correction would move a corner by more than `MOST_CORRECTED_MM`, and `options.resample` is
            not set, or the regular grid would be mostly empty.
    """
    return _judge(geometry, options).geometry


def straight_stored(stored: Stored, options: ReadOptions, *, nearest: bool = False) -> Stored:
    """Voxels on a grid whose axes are at right angles; as `straight_geometry`.

    Args:
        nearest: If resampling is needed, take the nearest voxel instead of interpolating: for label maps.
    """
    verdict = _judge(stored.geometry, options)
    if not verdict.resampled:
        return replace(stored, geometry=verdict.geometry)
    source, target = stored.geometry.native, verdict.geometry.native
    return replace(stored, geometry=verdict.geometry, voxels=_resampled(stored, source, target, nearest))


def _judge(geometry: Geometry, options: ReadOptions) -> _Verdict:
    native, path = geometry.native, geometry.path
    check_affine(native.affine, path)
    straight = orthonormalised(native.affine)
    shift_mm = corner_gap_mm(native.affine, straight, native.shape)
    if shift_mm < LEFT_ALONE_MM:
        return _Verdict(geometry, resampled=False)
    told = f"the axes are not at right angles; straightening them moves a corner by {shift_mm:.3g} mm"
    if shift_mm <= MOST_CORRECTED_MM:
        stored_affine = native.affine if native.stored_affine is None else native.stored_affine
        corrected = replace(native, affine=straight, stored_affine=stored_affine)
        note = f"{path}: {told}; the directions are corrected, and the file's own are written again."
        return _Verdict(_with(geometry, corrected, note), resampled=False)
    if not options.resample:
        raise ShearedGrid(
            f"is sheared: {told}, more than the {MOST_CORRECTED_MM:g} mm that may be corrected, so organs would be "
            "segmented out of shape.",
            where=path,
            cure="Write it again from its source, or bring its voxels onto a regular grid with --resample.",
        )
    grid = _grid_around(native, straight)
    if prod(grid.shape) > max(_GROWTH_LIMIT * prod(native.shape), _ALWAYS_FITS):
        raise ShearedGrid(
            f"is sheared so far ({told}) that a regular grid around it is mostly empty.",
            where=path,
            cure="Write it again from its source.",
        )
    note = f"{path}: {told}; its voxels were resampled, and what is made of them lies on the regular grid."
    return _Verdict(_with(geometry, grid, note), resampled=True)


def _with(geometry: Geometry, native: NativeGrid, note: str) -> Geometry:
    return replace(geometry, native=native, warnings=(*geometry.warnings, note))


def _grid_around(native: NativeGrid, straight: NDArray[np.float64]) -> NativeGrid:
    """The grid with the directions of `straight` that holds every voxel of `native`."""
    corners = corners_mm(native.affine, native.shape)
    inside = (np.column_stack([corners, np.ones(8)]) @ np.linalg.inv(straight).T)[:, :3]
    low = np.floor(inside.min(axis=0) + 1e-6)
    high = np.ceil(inside.max(axis=0) - 1e-6)
    a, b, c = (int(length) for length in high - low + 1)
    affine = straight.copy()
    affine[:3, 3] += straight[:3, :3] @ low
    return NativeGrid((a, b, c), affine)


def _resampled(stored: Stored, source: NativeGrid, target: NativeGrid, nearest: bool) -> NDArray[np.generic]:
    """The voxels on another grid, in their own type; what lies outside takes the smallest value."""
    voxels = stored.voxels
    to_source = np.linalg.inv(source.affine) @ target.affine
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
