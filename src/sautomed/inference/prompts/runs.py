"""Run-length code and box of a mask.

The code is the lengths of runs of pixels outside and inside in turn, row by row, outside first. So (5, 3, 4) is a slice
of 12 pixels whose sixth to eighth belong to the mask. The first run alone may be 0.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool


def runs_of(mask: Bool[np.ndarray, "h w"]) -> tuple[int, ...]:
    """Return the code of a mask."""
    pixels = np.concatenate([[False], mask.ravel()])
    edges = np.flatnonzero(pixels[1:] != pixels[:-1])
    return tuple(np.diff(np.concatenate([[0], edges, [mask.size]])).tolist())


def mask_of(runs: Sequence[int], shape: tuple[int, int]) -> Bool[np.ndarray, "h w"]:
    """Return the mask of a code.

    Raises:
        ValueError: They are no mask of this shape. Checked before memory is taken, whatever the numbers are.
    """
    if any(length < 0 for length in runs) or sum(runs) != shape[0] * shape[1]:
        raise ValueError(f"the runs are no mask of {shape[0]} x {shape[1]} pixels")
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(shape)


def box_of_mask(mask: Bool[np.ndarray, "h w"]) -> tuple[float, float, float, float] | None:
    """Return the box around a mask, x0 y0 x1 y1 in pixels, half-open; None if it is empty."""
    if not mask.any():
        return None
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)
