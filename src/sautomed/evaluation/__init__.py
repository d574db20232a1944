"""Score predicted label maps against reference label maps.

- `measure`: compare two masks; each score is a pure function of the comparison.
- `by_monai`, `transunet`: scores as MONAI and TransUNet compute them.
- `metrics`: the table METRICS, with the display of each metric and its function in each convention.
- `conventions`: the table CONVENTIONS, that is which metrics there are and what empty masks score.
- `scores`: means with intervals over many cases; scores.csv and summary.json.
- `pairs`: which prediction belongs to which reference, and the names of the labels.
- `evaluate`: the verb over two folders.
"""

from sautomed.evaluation.conventions import CONVENTIONS, Convention, convention_named
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
from sautomed.evaluation.metrics import METRICS, OURS, Metric

__all__ = [
    "CONVENTIONS",
    "DEFAULT_TOLERANCE_MM",
    "METRICS",
    "OURS",
    "Comparison",
    "Convention",
    "Metric",
    "SurfaceDistances",
    "compare",
    "compare_labels",
    "convention_named",
    "dice",
    "hausdorff_mm",
    "measure_surfaces",
    "nsd",
]
