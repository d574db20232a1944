"""What the predictor sees of an organ's signals; docs/confidence.md says what else was tried and left out."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

Signals = Mapping[str, float]
Feature = Callable[[Signals], float]

CLOSEST = 0.005  # ours: nearest that a share comes to 0 and 1 before its logit is taken


def logit_of(name: str) -> Feature:
    """Return the feature that is the logit of a signal between 0 and 1; nan where there is none."""

    def feature(signals: Signals) -> float:
        share = signals.get(name, math.nan)
        if math.isnan(share):
            return math.nan
        share = min(max(share, CLOSEST), 1 - CLOSEST)
        return math.log(share / (1 - share))

    return feature


FEATURES: dict[str, Feature] = {"soft_dice": logit_of("soft_dice")}
