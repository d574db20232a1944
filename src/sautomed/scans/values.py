"""Convert stored numbers to intensities or labels, and refuse those that cannot be trusted.

Knows nothing of file formats.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sautomed.errors import ConstantImage, NonFiniteVoxels, NotIntegerLabels, UnsupportedVoxels
from sautomed.scans.stored import Stored

NON_FINITE_LIMIT = 0.001  # ours: a few broken voxels are repaired, a broken image is not
LABEL_TOLERANCE = 1e-3  # ours: resampling and scaling in other tools leave errors far below
MAX_LABEL = 65535


def require_numbers(dtype: np.dtype[Any], path: Path) -> None:
    """Raise UnsupportedVoxels unless a voxel of that type is one real number."""
    if dtype.kind in "iuf":
        return
    kind = {"V": "colours", "c": "complex numbers"}.get(dtype.kind, f"values of type {dtype}")
    raise UnsupportedVoxels(
        f"stores {kind}, but a scan or label map needs one number per voxel.",
        where=path,
        cure="Convert it to one channel, for example to magnitude or grey values.",
    )


def intensities(stored: Stored) -> tuple[NDArray[np.float32], tuple[str, ...]]:
    """Return the scaled voxels of a scan, in the file's axis order, and warnings.

    NaN and infinite voxels below `NON_FINITE_LIMIT` become the smallest finite value, with a warning.

    Raises:
        NonFiniteVoxels, ConstantImage.
    """
    path = stored.geometry.path
    scaled, repairs = _repair(_scale(stored), path)
    if scaled.min() == scaled.max():
        raise ConstantImage(
            f"is a constant image: all {scaled.size} voxels are {scaled.flat[0]:g}, so there is nothing to segment.",
            where=path,
            cure="Export the scan again from its source, with its intensities.",
        )
    return scaled, repairs


def whole_numbers(stored: Stored) -> NDArray[np.unsignedinteger[Any]]:
    """Return labels in the smallest unsigned type; floats are accepted if whole within `LABEL_TOLERANCE`.

    Raises:
        NonFiniteVoxels, NotIntegerLabels.
    """
    path = stored.geometry.path
    values: NDArray[Any] = stored.voxels
    if values.dtype.kind == "f" or (stored.slope, stored.intercept) != (1.0, 0.0):
        with np.errstate(over="ignore", invalid="ignore"):  # overflow is refused by _rounded
            values = _rounded(values.astype(np.float64) * stored.slope + stored.intercept, path)
    low, high = values.min(), values.max()
    if low < 0 or high > MAX_LABEL:
        raise NotIntegerLabels(
            f"holds values from {low:g} to {high:g}, but labels are whole numbers from 0 to {MAX_LABEL}.",
            where=path,
            cure="If this is a scan, give its label map in its place.",
        )
    return values.astype(np.uint8 if high <= 255 else np.uint16)


def _scale(stored: Stored) -> NDArray[np.float32]:
    """Return intensities as float32; values beyond its range become infinite, and are then treated as such."""
    voxels, slope, intercept = stored.voxels, stored.slope, stored.intercept
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        if (slope, intercept) == (1.0, 0.0):
            return voxels.astype(np.float32)
        # float32 holds products of 16-bit integers well enough; wider types would lose digits before the scaling.
        if voxels.dtype.itemsize <= 2:
            return voxels.astype(np.float32) * np.float32(slope) + np.float32(intercept)
        return (voxels.astype(np.float64) * slope + intercept).astype(np.float32)


def _repair(scaled: NDArray[np.float32], path: Path) -> tuple[NDArray[np.float32], tuple[str, ...]]:
    """Replace voxels that are not finite by the smallest finite value; refuse too many of them."""
    broken = ~np.isfinite(scaled)
    count = int(np.count_nonzero(broken))
    if count == 0:
        return scaled, ()
    first = tuple(int(axis[0]) for axis in np.nonzero(broken))
    share = count / scaled.size
    finding = f"{count} of {scaled.size} voxels ({share:.2%}) are NaN or infinite, the first at index {first}"
    if share >= NON_FINITE_LIMIT:
        raise NonFiniteVoxels(
            f"{finding}; above {NON_FINITE_LIMIT:.1%} the image cannot be trusted.",
            where=path,
            cure="Export the scan again, or replace them by the background value.",
        )
    scaled[broken] = scaled[~broken].min()
    return scaled, (f"{path}: {finding}; they were set to the image's minimum.",)


def _rounded(values: NDArray[np.float64], path: Path) -> NDArray[np.float64]:
    finite = np.isfinite(values)
    if not finite.all():
        first = tuple(int(axis[0]) for axis in np.nonzero(~finite))
        raise NonFiniteVoxels(
            f"{np.count_nonzero(~finite)} labels are NaN or infinite, the first at index {first}.",
            where=path,
            cure="Export the label map again.",
        )
    whole = np.rint(values)
    off = np.abs(values - whole) > LABEL_TOLERANCE
    if off.any():
        first = tuple(int(axis[0]) for axis in np.nonzero(off))
        raise NotIntegerLabels(
            f"holds {np.count_nonzero(off)} values that are no whole numbers, the first {values[first]:g} at {first}.",
            where=path,
            cure="If this is a scan or a probability map, give the label map in its place; if it is a label map that "
            "was resampled, resample it again by nearest neighbour.",
        )
    return whole
