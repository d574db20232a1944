"""A stack with a tilted gantry or uneven gaps, brought onto a regular grid.

The grid keeps the directions of the slices, so that a tilt only shifts within them, and interpolates between the two
neighbours where slices are missing or uneven; linearly both times.
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

GROWTH_LIMIT = 8  # ours: a grid of so many times the voxels would be invented for the most part


@dataclass(frozen=True, eq=False)
class RegularGrid:
    """Where the resampled voxels lie.

    Args:
        shape: Columns, rows, slices.
        affine: 4x4, index in that order to RAS mm.
        below: (slices), index of the stack's slice at or before each.
        weights: (slices), how much of the next one each takes.
        shifts: (n 2), where the first pixel of each of the stack's slices lies on the grid, in columns and rows.
    """

    shape: tuple[int, int, int]
    affine: Vectors
    below: NDArray[np.intp]
    weights: Vectors
    shifts: Vectors


def regular_grid(stack: Stack, where: Path, *, tilted: bool) -> RegularGrid:
    """The grid that holds a whole stack at its own resolution.

    Args:
        tilted: Whether slices are shifted against each other; otherwise their sideways places are rounding.
    Raises:
        UnevenGaps, GantryTilt: The grid would have more than `GROWTH_LIMIT` times the voxels.
    """
    columns, rows, count = stack.shape
    length_mm = float(stack.places_mm[-1])
    aside = stack.aside_mm / stack.spacing_mm if tilted else np.zeros((count, 2))
    low, high = np.floor(aside.min(axis=0) + 1e-6), np.ceil(aside.max(axis=0) - 1e-6)
    wanted = (columns + high[0] - low[0]) * (rows + high[1] - low[1]) * (length_mm / stack.step_mm + 1)
    if wanted > GROWTH_LIMIT * columns * rows * count:
        fault: type[DataError] = GantryTilt if tilted else UnevenGaps
        raise fault(
            f"has slices so far apart that a regular grid would have {wanted / (columns * rows * count):.0f} times the "
            "voxels, most of them invented.",
            where=where,
            cure="Split the series where its slices belong together.",
        )
    slices = round(length_mm / stack.step_mm) + 1
    places = np.linspace(0, length_mm, slices)
    below = np.clip(np.searchsorted(stack.places_mm, places, side="right") - 1, 0, count - 2)
    weights = (places - stack.places_mm[below]) / stack.gaps_mm[below]
    moved = low * stack.spacing_mm
    return RegularGrid(
        shape=(int(columns + high[0] - low[0]), int(rows + high[1] - low[1]), slices),
        affine=stack.affine_of(length_mm / (slices - 1), (float(moved[0]), float(moved[1]))),
        below=below,
        weights=np.clip(weights, 0, 1),
        shifts=aside - low,
    )


def resampled(voxels: NDArray[Any], grid: RegularGrid, where: Path) -> NDArray[Any]:
    """The voxels of a stack on its regular grid; outside of the slices, the smallest intensity.

    Args:
        voxels: (n rows columns), any integer type or float32.
    Returns:
        (slices rows columns) of `grid`, of the same type; whole numbers are rounded.
    Raises:
        MemoryShortage
    """
    columns, rows, slices = grid.shape
    try:
        result = np.empty((slices, rows, columns), voxels.dtype)
    except MemoryError as error:
        raise MemoryShortage(
            "needs more memory for the regular grid than there is.", where=where, cure="Use a larger machine."
        ) from error
    outside = float(voxels.min())
    moved: dict[int, NDArray[np.float32]] = {}
    for index, (below, weight) in enumerate(zip(grid.below.tolist(), grid.weights.tolist(), strict=True)):
        for near in (below, below + 1):
            if near not in moved:
                moved[near] = _shifted(voxels[near], grid.shifts[near], (rows, columns), outside)
        moved = {near: plane for near, plane in moved.items() if near >= below}
        plane = moved[below] * np.float32(1 - weight) + moved[below + 1] * np.float32(weight)
        result[index] = np.rint(plane) if voxels.dtype.kind in "iu" else plane
    return result


def _shifted(plane: NDArray[Any], shift: Vectors, shape: tuple[int, int], outside: float) -> NDArray[np.float32]:
    """A slice (rows columns) with its first pixel at `shift` (columns, rows) of a larger one."""
    return ndimage.affine_transform(
        plane.astype(np.float32),
        np.ones(2),
        offset=(-shift[1], -shift[0]),
        output_shape=shape,
        order=1,
        mode="constant",
        cval=outside,
    )
