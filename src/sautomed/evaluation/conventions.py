"""Conventions of scoring, chosen by name: ours, TransUNet's and MONAI's.

The same masks score differently in each, most of all where an organ is missed or spurious, so a table never mixes
conventions. In every convention, means are taken over cases for each class, leaving out missing values, and then over
classes (MONAI's own reduction would start with the classes of each case).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from sautomed.errors import UsageError
from sautomed.evaluation.measure import Comparison
from sautomed.evaluation.metrics import METRICS, MONAI, OURS, TRANSUNET


@dataclass(frozen=True)
class Convention:
    """One way of scoring.

    Args:
        name: Its key in `CONVENTIONS`.
        title: Description, printed above a table.
        notes: Scores of empty masks, in one sentence, printed below a table.
    """

    name: str
    title: str
    notes: str

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of its metrics, in the order of `METRICS`."""
        return tuple(name for name, metric in METRICS.items() if self.name in metric.scores)

    def scores(self, pair: Comparison, tolerance_mm: float) -> dict[str, float]:
        """Return the score by each metric; nan where there is none."""
        return {name: METRICS[name].scores[self.name](pair, tolerance_mm) for name in self.metrics}


_ALL = (
    Convention(
        OURS,
        "ours: distances in mm, the larger of the two directed percentiles",
        "An organ that is neither in the reference nor in the prediction is not counted; a missed or spurious organ "
        "has DSC and NSD 0 and no distance.",
    ),
    Convention(
        TRANSUNET,
        "TransUNet's, as in SAMed and Swin-Unet: distances in voxels, the percentile of both directions together",
        "A spurious organ has DSC 1 and HD95 0; a missed organ, and one that is neither in the reference nor in the "
        "prediction, has DSC 0 and HD95 0; all of these count in the means.",
    ),
    Convention(
        MONAI,
        "MONAI's: distances in mm, the larger of the two directed percentiles",
        "An organ that is not in the reference has no DSC, and no NSD if it is not in the prediction either; a missed "
        "organ has DSC and NSD 0, a spurious one NSD 0, and neither a distance; what has no value counts in no mean.",
    ),
)
CONVENTIONS: Mapping[str, Convention] = MappingProxyType({convention.name: convention for convention in _ALL})


def convention_named(name: str) -> Convention:
    """Return the convention with a name.

    Raises:
        UsageError: There is none with this name.
    """
    if name not in CONVENTIONS:
        raise UsageError(
            f"there is no metric convention '{name}'.", where="convention", cure=f"Use one of {', '.join(CONVENTIONS)}."
        )
    return CONVENTIONS[name]
