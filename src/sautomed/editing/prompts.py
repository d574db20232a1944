"""What prompted the organs of a slice, as a session shows it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool

from sautomed.editing.edits import Absent, Box, Mask

NativeBox = tuple[float, float, float, float]


@dataclass(frozen=True)
class Prompt:
    """What prompted an organ on a slice. Boxes are x0 y0 x1 y1 in native pixels, half-open.

    Attributes:
        source: Whether it was given, or comes from the walk.
        box: Of the prompt: a given box, that around a given mask, or that of the previous slice; None if there is none.
        mask_box: Around the mask that is shown; None if it is empty.
        presence: Probability of the organ's being there, if the model gives one.
        confidence: None as yet.
    """

    source: Literal["auto", "given"]
    box: NativeBox | None
    mask_box: NativeBox | None
    presence: float | None = None
    confidence: float | None = None

    @staticmethod
    def of(given: object, automatic: NativeBox | None, shown: Bool[np.ndarray, "h w"]) -> Prompt:
        """Return the prompt from what is given, or else the automatic box, and the mask that is shown."""
        mask_box = box_of(shown)
        if isinstance(given, Box):
            return Prompt("given", given.box, mask_box)
        if isinstance(given, Mask):
            return Prompt("given", box_of(given.pixels), mask_box)
        if isinstance(given, Absent):
            return Prompt("given", None, mask_box)
        return Prompt("auto", automatic, mask_box)


class Prompts:
    """The prompts of all slices: by index, then by organ."""

    def __init__(self, depth: int, prompt_of: Callable[[int, str], Prompt], organs: tuple[str, ...]):
        self._depth, self._prompt_of, self._organs = depth, prompt_of, organs

    def __len__(self) -> int:
        return self._depth

    def __getitem__(self, t: int) -> Mapping[str, Prompt]:
        return {organ: self._prompt_of(t, organ) for organ in self._organs}


def box_of(mask: Bool[np.ndarray, "h w"]) -> NativeBox | None:
    """Return the box around a mask; None if it is empty."""
    if not mask.any():
        return None
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)
