"""What a program gives to a session, checked: whatever is not there raises ValueError, and nothing is edited."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool

from sautomed.inference.prompts.document import GivenBox


class Arguments:
    """Slices, organs, boxes and masks as they fit a scan and a model.

    Args:
        shape: Slices, rows and columns of the scan.
        organs: In the order of their label values.
    """

    def __init__(self, shape: tuple[int, int, int], organs: Sequence[str]):
        self._depth, *self._slice_shape = shape
        self._organs = tuple(organs)

    def slice(self, t: int) -> int:
        """Return the index of a slice."""
        if not 0 <= t < self._depth:
            raise ValueError(f"no slice {t}: there are {self._depth}, counted from 0")
        return t

    def organ(self, name: str) -> int:
        """Return the class of an organ."""
        if name not in self._organs:
            raise ValueError(f"no organ {name!r}; there are {', '.join(self._organs)}")
        return self._organs.index(name)

    def box(self, box: tuple[float, float, float, float]) -> GivenBox:
        """Return the part of a box that is within a slice."""
        rows, columns = self._slice_shape
        x0, y0, x1, y1 = np.clip(np.array(box, float), 0, (columns, rows, columns, rows)).tolist()
        if not (x0 < x1 and y0 < y1):
            raise ValueError("a box has no area within the slice: it is x0 y0 x1 y1 with x0 < x1 and y0 < y1")
        return GivenBox(box=(x0, y0, x1, y1))

    def mask(self, mask: Bool[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
        """Return a mask of a slice."""
        mask = np.asarray(mask)
        if mask.dtype != bool or mask.shape != tuple(self._slice_shape):
            raise ValueError(f"a mask has type bool and the shape of a slice, {tuple(self._slice_shape)}")
        return mask
