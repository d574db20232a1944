"""Label slices as run lengths, as they travel to the page; its masks are in the code of `inference/prompts/runs.py`."""

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray


def label_runs(labels: NDArray[np.unsignedinteger[Any]]) -> list[int]:
    """Return a label slice (h w) as value, length, value, length, ..., row by row."""
    flat = labels.ravel()
    starts = [0, *(np.flatnonzero(flat[1:] != flat[:-1]) + 1).tolist(), flat.size]
    return [number for start, end in pairwise(starts) for number in (int(flat[start]), end - start)]
