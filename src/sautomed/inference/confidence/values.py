"""Numbers that say how sure a prediction is. Knows no torch."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float


@dataclass(frozen=True)
class SliceSignals:
    """Signals of each class on a slice. Sums are over the slice's pixels at the logits' resolution.

    Attributes:
        pixels: Pixels of the mask: those where the class has the largest logit.
        probability: Sum of the softmax probability.
        overlap: Sum of the softmax probability inside of the mask.
        margin: Sum of the difference between the best and the second best probability inside of the mask.
        box_iou: Intersection over union of the mask's box with the predicted one, or with the prompt where a model
            predicts none; nan without either.
        jump_mm: How far the side of the mask's box that moved most is from that of the box before, in the slice's
            plane; nan without either.
    """

    pixels: Float[np.ndarray, " k"]
    probability: Float[np.ndarray, " k"]
    overlap: Float[np.ndarray, " k"]
    margin: Float[np.ndarray, " k"]
    box_iou: Float[np.ndarray, " k"]
    jump_mm: Float[np.ndarray, " k"]

    @property
    def soft_dice(self) -> Float[np.ndarray, " k"]:
        """Expected Dice of the mask if the probabilities are right; nan where the mask is empty."""
        total = self.probability + self.pixels
        dice = 2 * self.overlap / np.maximum(total, 1e-9)
        return np.where(self.pixels > 0, np.minimum(dice, 1), np.nan)  # sums are rounded

    @property
    def confidence(self) -> Float[np.ndarray, " k"]:
        """How sure the mask is, 0 to 1; nan where it is empty."""
        return self.soft_dice

    def confidence_of(self, k: int) -> float | None:
        """Return how sure the mask of class k is, 0 to 1; None where it is empty."""
        return float(self.confidence[k]) if self.pixels[k] else None

    @property
    def mean_margin(self) -> Float[np.ndarray, " k"]:
        """Mean margin inside of the mask; nan where it is empty."""
        return np.where(self.pixels > 0, self.margin / np.maximum(self.pixels, 1), np.nan)
