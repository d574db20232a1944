"""What prompted the organs of a slice, as a session shows it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float

from sautomed.editing.edits import Box, Mask
from sautomed.model.corrections import Correction

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


class Prompts:
    """The prompts of all slices: by index, then by organ."""

    def __init__(self, organs: tuple[str, ...], prompt: Callable[[int, int], Prompt]):
        self._organs, self._prompt = organs, prompt

    def __getitem__(self, t: int) -> Mapping[str, Prompt]:
        return {organ: self._prompt(t, k) for k, organ in enumerate(self._organs)}


def prompt_of(
    correction: Correction | None, boxes: Float[np.ndarray, "k 4"] | None, k: int, shown: Bool[np.ndarray, "h w"]
) -> Prompt:
    """Return the prompt of class k: what is given, or else the automatic box.

    Args:
        boxes: That prompted the slice in the automatic walk; nan where a class had none.
        shown: The mask as it is now.
    """
    if correction is None:
        automatic = None if boxes is None or np.isnan(boxes[k]).any() else _native_box(boxes[k])
        return Prompt("auto", automatic, box_of(shown))
    given = correction.given
    box = given.box if isinstance(given, Box) else box_of(given.pixels) if isinstance(given, Mask) else None
    return Prompt("given", box, box_of(shown))


def box_of(mask: Bool[np.ndarray, "h w"]) -> NativeBox | None:
    """Return the box around a mask; None if it is empty."""
    if not mask.any():
        return None
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    return _native_box(np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], np.float32))


def _native_box(box: Float[np.ndarray, " 4"]) -> NativeBox:
    x0, y0, x1, y1 = box.tolist()
    return x0, y0, x1, y1
