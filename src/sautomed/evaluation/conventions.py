"""How scores are counted: ours, TransUNet's and MONAI's way, chosen by name.

The same masks score differently by each, most of all where an organ is missed or invented, so figures of two
conventions never share a table. Whatever the convention, means are taken over cases for each class, leaving out what
has no value, and then over classes (MONAI's own reduction would start with the classes of each case).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from sautomed.errors import UsageError
from sautomed.evaluation.by_monai import monai_dice, monai_hausdorff_mm, monai_nsd
from sautomed.evaluation.measure import Comparison, dice, hausdorff_mm, nsd
from sautomed.evaluation.transunet import legacy_dice, legacy_hd95_voxels

OURS = "ours"

ScoreFunction = Callable[[Comparison, float], float]


@dataclass(frozen=True)
class Convention:
    """One way of counting.

    Args:
        name: Its key in `CONVENTIONS`.
        title: What it is, to be printed above a table.
        metrics: Score of a comparison and a tolerance in mm, by name; nan where there is none.
        unit: Of its distances.
        notes: What a mask without voxels scores, in one sentence to be printed below a table.
    """

    name: str
    title: str
    metrics: Mapping[str, ScoreFunction]
    unit: Literal["mm", "voxels"]
    notes: str


@dataclass(frozen=True)
class Display:
    """How a metric is shown.

    Args:
        heading: Its short name, such as HD95.
        unit: Of a distance, otherwise "".
        digits: After the point.
        key: Its name in summary.json, which is nnU-Net's where nnU-Net has one.
        higher_is_better: Whether a system wants more of it.
    """

    heading: str
    unit: str
    digits: int
    key: str
    higher_is_better: bool

    def label(self, tolerance_mm: float | None = None) -> str:
        """`HD95 (mm)`, `DSC`; `NSD at 2 mm` where a tolerance is given."""
        if self.heading == "NSD" and tolerance_mm is not None:
            return f"{self.heading} at {tolerance_mm:g} mm"
        return f"{self.heading} ({self.unit})" if self.unit else self.heading


DISPLAYS: Mapping[str, Display] = MappingProxyType(  # every metric of every convention
    {
        "dsc": Display("DSC", "", 3, "Dice", True),
        "hd95_mm": Display("HD95", "mm", 1, "HD95", False),
        "hd95_voxels": Display("HD95", "voxels", 1, "HD95_voxels", False),
        "hd_mm": Display("HD", "mm", 1, "HD", False),
        "nsd": Display("NSD", "", 3, "NSD", True),
    }
)

_ALL = (
    Convention(
        OURS,
        "ours: distances in mm, the larger of the two directed percentiles",
        MappingProxyType(
            {
                "dsc": lambda measured, _: dice(measured.prediction, measured.reference),
                "hd95_mm": lambda measured, _: hausdorff_mm(measured.distances, 95),
                "hd_mm": lambda measured, _: hausdorff_mm(measured.distances),
                "nsd": lambda measured, tolerance_mm: nsd(measured.distances, tolerance_mm),
            }
        ),
        "mm",
        "An organ that is neither in the reference nor in the prediction is not counted; a missed or spurious organ "
        "has DSC and NSD 0 and no distance.",
    ),
    Convention(
        "transunet",
        "TransUNet's, as in SAMed and Swin-Unet: distances in voxels, the percentile of both directions together",
        MappingProxyType({"dsc": legacy_dice, "hd95_voxels": legacy_hd95_voxels}),
        "voxels",
        "A spurious organ has DSC 1 and HD95 0; a missed organ, and one that is neither in the reference nor in the "
        "prediction, has DSC 0 and HD95 0; all of these count in the means.",
    ),
    Convention(
        "monai",
        "MONAI's: distances in mm, the larger of the two directed percentiles",
        MappingProxyType(
            {
                "dsc": monai_dice,
                "hd95_mm": lambda measured, _: monai_hausdorff_mm(measured, 95),
                "hd_mm": lambda measured, _: monai_hausdorff_mm(measured, 100),
                "nsd": monai_nsd,
            }
        ),
        "mm",
        "An organ that is not in the reference has no DSC, and no NSD if it is not in the prediction either; a missed "
        "organ has DSC and NSD 0, a spurious one NSD 0, and neither a distance; what has no value counts in no mean.",
    ),
)
CONVENTIONS: Mapping[str, Convention] = MappingProxyType({convention.name: convention for convention in _ALL})


def convention_named(name: str) -> Convention:
    """The convention of a name.

    Raises:
        UsageError: There is none of that name.
    """
    if name not in CONVENTIONS:
        raise UsageError(
            f"there is no metric convention '{name}'.", where="convention", cure=f"Use one of {', '.join(CONVENTIONS)}."
        )
    return CONVENTIONS[name]
