"""Label slices and masks as run lengths, as they travel between server and page."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray


def label_runs(labels: NDArray[np.unsignedinteger[Any]]) -> list[int]:
    """Return a label slice (h w) as value, length, value, length, ..., row by row."""
    flat = labels.ravel()
    starts = [0, *(np.flatnonzero(flat[1:] != flat[:-1]) + 1).tolist(), flat.size]
    return [number for start, end in pairwise(starts) for number in (int(flat[start]), end - start)]


def mask_from_runs(lengths: Sequence[int], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Return the mask (h w) whose runs have these lengths, row by row; runs outside and inside alternate.

    Args:
        lengths: The first is outside and may be 0.
    Raises:
        ValueError: They are no mask of this shape. Checked before memory is taken, whatever the numbers are.
    """
    if any(length < 0 for length in lengths) or sum(lengths) != shape[0] * shape[1]:
        raise ValueError(f"runs must add up to {shape[0]} x {shape[1]} pixels")
    inside = np.arange(len(lengths)) % 2 == 1
    return np.repeat(inside, lengths).reshape(shape)
