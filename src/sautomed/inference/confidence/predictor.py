"""Predict the DSC of an organ from its pooled signals: a ridge regression of a handful of coefficients."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict, Field
from scipy.special import expit, logit

from sautomed.inference.confidence.features import FEATURES, Feature, Signals

FEWEST_CASES = 10  # ours: fitted on fewer, predictions count as uncalibrated
LARGEST_DSC = 0.98  # ours: beyond it and its mirror image, the logit says more than the DSC does
RIDGE = 1.0  # ours: in standardised features, so that a coefficient costs as much as one row


class Coefficient(BaseModel):
    """How a feature counts: standardised, then times the coefficient."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    mean: float
    sd: float = Field(gt=0)
    coefficient: float


class DscPredictor(BaseModel):
    """Predicts the DSC of an organ.

    Attributes:
        cases: That it was fitted on.
        intercept: Logit of the DSC of an organ with average features.
        features: By name.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    cases: int = Field(ge=1)
    intercept: float
    features: dict[str, Coefficient]

    def unknown_features(self) -> set[str]:
        """Return the names of features that this version does not have."""
        return self.features.keys() - FEATURES.keys()

    @property
    def is_calibrated(self) -> bool:
        """Whether it was fitted on enough cases that its predictions can be taken at their word."""
        return self.cases >= FEWEST_CASES

    @property
    def basis(self) -> str:
        """The number of cases, and whether they are too few."""
        few = "" if self.is_calibrated else f": uncalibrated, as these are fewer than {FEWEST_CASES}"
        return f"{self.cases} {'case' if self.cases == 1 else 'cases'}{few}"

    def predict(self, signals: Signals, features: Mapping[str, Feature] = FEATURES) -> float:
        """Return the predicted DSC; a feature that is missing or nan counts as average.

        Args:
            features: That it was fitted with.
        """
        total = self.intercept
        for name, feature in self.features.items():
            value = features[name](signals)
            if math.isfinite(value):
                total += feature.coefficient * (value - feature.mean) / feature.sd
        return float(expit(total))


def fit_predictor(
    signals: Sequence[Signals], dsc: Sequence[float], cases: int, features: Mapping[str, Feature] = FEATURES
) -> DscPredictor | None:
    """Fit a predictor; None without a row.

    Args:
        signals: Of an organ of a case that was not trained on, in each row.
        dsc: Its true DSC.
        cases: Number of cases that the rows are of.
        features: By name.
    """
    if not signals:
        return None
    table = np.array([[feature(row) for feature in features.values()] for row in signals], float)
    known = np.isfinite(table)
    counts = known.sum(0).clip(min=1)
    means = np.where(known, table, 0).sum(0) / counts
    centred = np.where(known, table - means, 0)
    spreads = np.sqrt((centred**2).sum(0) / counts)
    spreads[spreads < 1e-6] = 1.0  # constant, or never known: its coefficient is 0
    standard = centred / spreads
    target = logit(np.clip(dsc, 1 - LARGEST_DSC, LARGEST_DSC))
    gram = standard.T @ standard + RIDGE * np.eye(len(features))
    weights = np.linalg.solve(gram, standard.T @ (target - target.mean()))
    rows = zip(features, means, spreads, weights, strict=True)
    return DscPredictor(
        cases=cases,
        intercept=float(target.mean()),
        features={name: Coefficient(mean=float(m), sd=float(s), coefficient=float(w)) for name, m, s, w in rows},
    )
