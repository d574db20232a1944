"""Predict the DSC of an organ: its expected Dice by the model's probabilities, mended by what cases have taught.

Few cases teach a shift, ten and more also a slope. More signals predicted no better out of fold (docs/confidence.md).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict, Field
from scipy.special import expit, logit

FEWEST_CASES = 10  # ours: fitted on fewer, predictions count as uncalibrated
CLOSEST = 0.02  # ours: nearest that a Dice comes to 0 and 1 before its logit is taken
SLOPES = 0.5, 2.0  # ours: organs of one quality teach no slope, and a flat one would call bad organs good
Signals = Mapping[str, float]


class DscPredictor(BaseModel):
    """Predicts the DSC of an organ from its signals.

    Attributes:
        cases: That it was fitted on.
        slope: Of the logit of the DSC over that of the expected Dice.
        offset: Mean logit of the DSC less what the slope explains.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    cases: int = Field(ge=1)
    slope: float = Field(gt=0)
    offset: float

    @property
    def is_calibrated(self) -> bool:
        """Whether it was fitted on enough cases that its predictions can be taken at their word."""
        return self.cases >= FEWEST_CASES

    @property
    def basis(self) -> str:
        """The number of cases, and whether they are too few."""
        few = "" if self.is_calibrated else f": uncalibrated, as these are fewer than {FEWEST_CASES}"
        return f"{self.cases} {'case' if self.cases == 1 else 'cases'}{few}"

    def predict(self, signals: Signals) -> float | None:
        """Return the predicted DSC; None without an expected Dice."""
        soft_dice = signals.get("soft_dice", math.nan)
        return None if math.isnan(soft_dice) else float(expit(self.slope * clipped_logit(soft_dice) + self.offset))


def fit_predictor(signals: Sequence[Signals], dsc: Sequence[float], cases: int) -> DscPredictor | None:
    """Fit a predictor; None without a row that has an expected Dice.

    Args:
        signals: Of an organ of a case that was not trained on, in each row.
        dsc: Its true DSC.
        cases: Number of cases that the rows are of.
    """
    pairs = [(row["soft_dice"], true) for row, true in zip(signals, dsc, strict=True) if "soft_dice" in row]
    if not pairs:
        return None
    expected, true = clipped_logit(np.array(pairs).T)
    slope = _slope(expected, true) if cases >= FEWEST_CASES else 1.0
    return DscPredictor(cases=cases, slope=slope, offset=float((true - slope * expected).mean()))


def _slope(x: np.ndarray, y: np.ndarray) -> float:
    """Return the slope of a least squares line, within `SLOPES`; 1 where all x are one."""
    spread = ((x - x.mean()) ** 2).sum()
    found = ((x - x.mean()) * (y - y.mean())).sum() / spread if spread > 1e-6 else 1.0
    return float(np.clip(found, *SLOPES))


def clipped_logit(share: float | np.ndarray) -> np.ndarray:
    """Return the logit of numbers between 0 and 1, finite for 0 and 1 too."""
    return np.asarray(logit(np.clip(share, CLOSEST, 1 - CLOSEST)))
