"""Resample a stack with a tilted gantry or uneven gaps onto a regular grid.

The grid keeps the directions of the slices: a tilt is corrected by shifting within slices, and missing or uneven slices
by interpolating between the two neighbours; both linearly.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from sautomed.errors import DataError, GantryTilt, MemoryShortage, UnevenGaps
from sautomed.scans.dicom.geometry import Stack, Vectors

SPLIT_SERIES = "Split the series into parts whose slices belong together."
GROWTH_LIMIT = 8  # ours: of a grid with more times the voxels, most would be invented


@dataclass(frozen=True, eq=False)
class RegularGrid:
    """The grid of the resampled voxels, and how to interpolate them from the stack's n slices.

    Args:
        shape: Columns, rows, slices.
        affine: 4x4, index in that order to RAS mm.
        below: (slices), index of the stack's slice at or before each slice of the grid.
        weights: (slices), weight of the stack's next slice, 0 to 1.
        shifts: (n 2), position of the first pixel of each of the stack's slices on the grid, in columns and rows.
    """

    shape: tuple[int, int, int]
    affine: Vectors
    below: NDArray[np.intp]
    weights: Vectors
    shifts: Vectors


def regular_grid(stack: Stack, where: Path, *, tilted: bool) -> RegularGrid:
    """Return a grid that contains the whole stack, with its spacing.

    Args:
        tilted: Whether slices are shifted against each other; if not, shifts are taken as rounding errors.
    Raises:
        UnevenGaps, GantryTilt: The grid would have more than `GROWTH_LIMIT` times the voxels.
    """
    columns, rows, count = stack.shape
    length_mm = float(stack.offsets_mm[-1])
    shifts, low, high = _shifts(stack, tilted=tilted)
    growth = grid_growth(stack, tilted=tilted)
    if growth > GROWTH_LIMIT:
        fault: type[DataError] = GantryTilt if tilted else UnevenGaps
        raise fault(
            f"has slices so far apart that a regular grid would have {growth:.0f} times the voxels, most of them "
            "invented.",
            where=where,
            cure=SPLIT_SERIES,
        )
    slices = round(length_mm / stack.slice_spacing_mm) + 1
    offsets_mm = np.linspace(0, length_mm, slices)
    below = np.clip(np.searchsorted(stack.offsets_mm, offsets_mm, side="right") - 1, 0, count - 2)
    weights = (offsets_mm - stack.offsets_mm[below]) / stack.gaps_mm[below]
    shift_mm = low * stack.spacing_mm
    return RegularGrid(
        shape=(int(columns + high[0] - low[0]), int(rows + high[1] - low[1]), slices),
        affine=stack.grid_affine(length_mm / (slices - 1), (float(shift_mm[0]), float(shift_mm[1]))),
        below=below,
        weights=np.clip(weights, 0, 1),
        shifts=shifts - low,
    )


def grid_growth(stack: Stack, *, tilted: bool) -> float:
    """Return how many times the voxels of a stack its regular grid has; arguments as `regular_grid`."""
    columns, rows, count = stack.shape
    _, low, high = _shifts(stack, tilted=tilted)
    wide, tall = columns + high[0] - low[0], rows + high[1] - low[1]
    slices = float(stack.offsets_mm[-1]) / stack.slice_spacing_mm + 1
    return float(wide * tall * slices / (columns * rows * count))


def _shifts(stack: Stack, *, tilted: bool) -> tuple[Vectors, Vectors, Vectors]:
    """Return the shifts (n 2) of the slices in columns and rows, and their whole-numbered bounds (2,)."""
    shifts = stack.in_plane_mm / stack.spacing_mm if tilted else np.zeros((stack.shape[2], 2))
    return shifts, np.floor(shifts.min(axis=0) + 1e-6), np.ceil(shifts.max(axis=0) - 1e-6)


def resample(voxels: NDArray[Any], grid: RegularGrid, where: Path) -> NDArray[Any]:
    """Resample the voxels of a stack onto its regular grid, with the smallest intensity outside of the slices.

    Args:
        voxels: (n rows columns), any integer type or float32.
    Returns:
        (slices rows columns) of `grid`, of the same type; integers are rounded.
    Raises:
        MemoryShortage: The grid does not fit into memory.
    """
    columns, rows, slices = grid.shape
    try:
        result = np.empty((slices, rows, columns), voxels.dtype)
    except MemoryError as error:
        raise MemoryShortage(
            "needs more memory for the regular grid than there is.", where=where, cure="Use a larger machine."
        ) from error
    outside = float(voxels.min())
    shifted: dict[int, NDArray[np.float32]] = {}
    for index, (below, weight) in enumerate(zip(grid.below.tolist(), grid.weights.tolist(), strict=True)):
        for near in (below, below + 1):
            if near not in shifted:
                shifted[near] = _shifted(voxels[near], grid.shifts[near], (rows, columns), outside)
        shifted = {near: plane for near, plane in shifted.items() if near >= below}
        plane = shifted[below] * np.float32(1 - weight) + shifted[below + 1] * np.float32(weight)
        result[index] = np.rint(plane) if voxels.dtype.kind in "iu" else plane
    return result


def _shifted(plane: NDArray[Any], shift: Vectors, shape: tuple[int, int], outside: float) -> NDArray[np.float32]:
    """Return a slice (rows columns) of `shape` with the first pixel of `plane` at `shift` (columns, rows)."""
    return ndimage.affine_transform(
        plane.astype(np.float32),
        np.ones(2),
        offset=(-shift[1], -shift[0]),
        output_shape=shape,
        order=1,
        mode="constant",
        cval=outside,
    )
