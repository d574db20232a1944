"""How well two masks of one structure agree: what is measured (`measure`), and how that is counted (`conventions`)."""

from sautomed.evaluation.conventions import CONVENTIONS, DISPLAYS, OURS, Convention, Display, convention_named
from sautomed.evaluation.measure import (
    DEFAULT_TOLERANCE_MM,
    Comparison,
    SurfaceDistances,
    compare,
    compare_labels,
    dice,
    hausdorff_mm,
    measure_surfaces,
    nsd,
)

METRICS = CONVENTIONS[OURS].metrics

__all__ = [
    "CONVENTIONS",
    "DEFAULT_TOLERANCE_MM",
    "DISPLAYS",
    "METRICS",
    "OURS",
    "Comparison",
    "Convention",
    "Display",
    "SurfaceDistances",
    "compare",
    "compare_labels",
    "convention_named",
    "dice",
    "hausdorff_mm",
    "measure_surfaces",
    "nsd",
]
