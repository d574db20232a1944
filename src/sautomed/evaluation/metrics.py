"""Table of the metrics: how each is displayed, and how each convention computes it.

A metric is a pure function of one comparison (in `measure`) and an entry in METRICS.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from sautomed.evaluation.by_monai import monai_dice, monai_hausdorff_mm, monai_nsd
from sautomed.evaluation.measure import Comparison, dice, hausdorff_mm, nsd
from sautomed.evaluation.transunet import transunet_dice, transunet_hd95_voxels

OURS, TRANSUNET, MONAI = "ours", "transunet", "monai"  # names of the conventions

ScoreFunction = Callable[[Comparison, float], float]


@dataclass(frozen=True)
class Metric:
    """One metric.

    Args:
        heading: Short name in tables, such as HD95.
        unit: Unit of a distance; empty for others.
        digits: Decimals in tables.
        summary_key: Name in summary.json; nnU-Net's name if nnU-Net has the metric.
        higher_is_better: True for overlaps, where 1 is perfect; False for distances, where 0 is.
        scores: For each convention, the function (comparison, tolerance in mm) -> score, which may be nan.
        has_tolerance: Whether the score depends on the tolerance.
    """

    heading: str
    unit: str
    digits: int
    summary_key: str
    higher_is_better: bool
    scores: Mapping[str, ScoreFunction]
    has_tolerance: bool = False

    def label(self, tolerance_mm: float | None = None) -> str:
        """Return `HD95 (mm)` or `DSC`; `NSD at 2 mm` if a tolerance is given and matters."""
        if self.has_tolerance and tolerance_mm is not None:
            return f"{self.heading} at {tolerance_mm:g} mm"
        return f"{self.heading} ({self.unit})" if self.unit else self.heading


# In the order of columns in tables and scores.csv. The DSC comes first; every convention has it.
METRICS: Mapping[str, Metric] = MappingProxyType({
    "dsc": Metric("DSC", "", 3, "Dice", True, {
        OURS: lambda pair, _: dice(pair.prediction, pair.reference), TRANSUNET: transunet_dice, MONAI: monai_dice}),
    "hd95_mm": Metric("HD95", "mm", 1, "HD95", False, {
        OURS: lambda pair, _: hausdorff_mm(pair.distances, 95), MONAI: lambda pair, _: monai_hausdorff_mm(pair, 95)}),
    "hd95_voxels": Metric("HD95", "voxels", 1, "HD95_voxels", False, {TRANSUNET: transunet_hd95_voxels}),
    "hd_mm": Metric("HD", "mm", 1, "HD", False, {
        OURS: lambda pair, _: hausdorff_mm(pair.distances), MONAI: lambda pair, _: monai_hausdorff_mm(pair, 100)}),
    "nsd": Metric("NSD", "", 3, "NSD", True, {
        OURS: lambda pair, tolerance_mm: nsd(pair.distances, tolerance_mm), MONAI: monai_nsd}, has_tolerance=True),
})  # fmt: skip
