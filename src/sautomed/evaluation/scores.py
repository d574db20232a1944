"""From scores of single structures to means with intervals, and to files.

A row is one class in one case. Means leave out what has no value (see `Status`), and the counts say how often that was,
because a distance that is lacking where an organ was missed would otherwise flatter. Reads no image.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sautomed.evaluation import DISPLAYS, OURS, convention_named
from sautomed.scans.files import csv_text, write_json, write_text

# scored: both masks hold voxels. absent: neither does; not counted. missed, spurious: only the reference, or only the
# prediction does; what that scores is up to the convention. failed: there was no prediction to score.
Status = Literal["scored", "absent", "missed", "spurious", "failed"]

RESAMPLES = 2000


@dataclass(frozen=True)
class Score:
    """One class in one case.

    Args:
        values: By the convention's names of metrics; nan where there is none.
        both, only_predicted, only_reference, neither: Voxels of the whole grid (TP, FP, FN, TN).
        voxel_ml: Volume of a voxel.
    """

    case: str
    class_id: int
    class_name: str
    status: Status
    values: Mapping[str, float]
    tolerance_mm: float
    both: int = 0
    only_predicted: int = 0
    only_reference: int = 0
    neither: int = 0
    voxel_ml: float = math.nan

    @property
    def volume_pred_ml(self) -> float:
        """Volume of the prediction."""
        return (self.both + self.only_predicted) * self.voxel_ml

    @property
    def volume_ref_ml(self) -> float:
        """Volume of the reference."""
        return (self.both + self.only_reference) * self.voxel_ml


@dataclass(frozen=True)
class Interval:
    """A mean over cases with its 95 % bootstrap interval; bounds are nan for fewer than two cases."""

    mean: float
    low: float
    high: float
    cases: int


@dataclass(frozen=True)
class Summary:
    """An evaluation.

    Args:
        scores: All rows.
        names: Name of each class.
        classes: Per class and metric, over cases.
        overall: Per metric, the mean over classes of their means.
        counts: Per class, how often each status came up.
        failed: Why, by case id.
        files: (prediction, reference) by case id.
        unmatched: Predictions that no reference belongs to; they are not scored.
        unpredicted: References that no prediction belongs to; they are not scored either.
        convention: How the scores were counted, a key of `CONVENTIONS`.
    """

    scores: tuple[Score, ...]
    names: Mapping[int, str]
    classes: Mapping[int, Mapping[str, Interval]]
    overall: Mapping[str, Interval]
    counts: Mapping[int, Mapping[str, int]]
    failed: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, tuple[Path, Path]] = field(default_factory=dict)
    unmatched: tuple[str, ...] = ()
    unpredicted: tuple[str, ...] = ()
    convention: str = OURS

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the convention's metrics."""
        return tuple(convention_named(self.convention).metrics)


def summarise(
    scores: Iterable[Score],
    *,
    seed: int = 0,
    failed: Mapping[str, str] | None = None,
    files: Mapping[str, tuple[Path, Path]] | None = None,
    unmatched: Sequence[str] = (),
    unpredicted: Sequence[str] = (),
    convention: str = OURS,
) -> Summary:
    """Means, intervals and counts of a list of scores; raises UsageError for a convention that there is not."""
    rows = tuple(scores)
    names = {row.class_id: row.class_name for row in sorted(rows, key=lambda row: row.class_id)}
    classes: dict[int, dict[str, Interval]] = {k: {} for k in names}
    overall: dict[str, Interval] = {}
    for metric in convention_named(convention).metrics:
        per_class, together = bootstrap_means(_table(rows, metric, list(names)), seed=seed)
        overall[metric] = together
        for k, interval in zip(names, per_class, strict=True):
            classes[k][metric] = interval
    counts: dict[int, dict[str, int]] = {
        k: dict(Counter(str(row.status) for row in rows if row.class_id == k)) for k in names
    }
    return Summary(
        rows,
        names,
        classes,
        overall,
        counts,
        failed or {},
        files or {},
        tuple(unmatched),
        tuple(unpredicted),
        convention,
    )


def bootstrap_means(
    table: NDArray[np.float64], *, seed: int = 0, resamples: int = RESAMPLES
) -> tuple[list[Interval], Interval]:
    """Means over cases per class, and the mean over classes of those, with 95 % percentile intervals.

    Whole cases are drawn with replacement, so that organs of one patient stay together.

    Args:
        table: (cases classes); nan is left out.
        seed: Of the draws.
    """
    cases, columns = table.shape
    if cases == 0:  # no label anywhere, or every case failed
        nothing = Interval(math.nan, math.nan, math.nan, 0)
        return [nothing] * columns, nothing
    present = np.isfinite(table)
    values = np.where(present, table, 0.0)
    draws = np.random.default_rng(seed).multinomial(cases, np.full(cases, 1 / cases), resamples)
    weights = np.vstack([np.ones((1, cases)), draws])
    with np.errstate(invalid="ignore"):
        means = (weights @ values) / (weights @ present)  # (1 + resamples classes), row 0 being the sample itself
        seen = np.isfinite(means)
        together = np.where(seen, means, 0.0).sum(axis=1) / seen.sum(axis=1)
    per_class = [_interval(means[:, k], int(present[:, k].sum())) for k in range(columns)]
    return per_class, _interval(together, int(present.any(axis=1).sum()))


def write_scores(summary: Summary, path: Path) -> None:
    """Write one line per case and class as CSV, with the convention's metrics; what has no value is left empty."""
    columns = ["case", "class_id", "class", *summary.metrics, "tolerance_mm", "volume_pred_ml", "volume_ref_ml"]
    lines: list[list[object]] = [[*columns, "status"]]
    for row in summary.scores:
        measured = [_plain(row.values.get(metric, math.nan)) for metric in summary.metrics]
        volumes = [_plain(row.volume_pred_ml), _plain(row.volume_ref_ml)]
        tolerance = f"{row.tolerance_mm:g}"
        lines.append([row.case, row.class_id, row.class_name, *measured, tolerance, *volumes, row.status])
    write_text(path, csv_text(lines))


def write_summary(summary: Summary, path: Path, **notes: Any) -> None:
    """Write nnU-Net's summary.json (foreground_mean, mean, metric_per_case) with intervals, counts and the convention.

    Args:
        notes: Further top-level entries, such as the tolerance.
    """
    metrics = {
        case: {str(row.class_id): _nnunet_metrics(row, summary.metrics) for row in summary.scores if row.case == case}
        for case in summary.files
        if case not in summary.failed
    }
    mean = {str(k): _mean_entries(of_case.get(str(k)) for of_case in metrics.values()) for k in summary.names}
    document = {
        "convention": summary.convention,
        "foreground_mean": _mean_entries(mean.values()),
        "mean": mean,
        "intervals_95": {
            "foreground": _interval_entries(summary.overall),
            "classes": {str(k): _interval_entries(metrics) for k, metrics in summary.classes.items()},
        },
        "counts": {str(k): dict(statuses) for k, statuses in summary.counts.items()},
        "labels": {str(k): name for k, name in summary.names.items()},
        "failed": dict(summary.failed),
        "predictions_without_reference": list(summary.unmatched),
        "references_without_prediction": list(summary.unpredicted),
        **notes,
        "metric_per_case": [
            {
                "case": case,
                "prediction_file": str(summary.files[case][0]),
                "reference_file": str(summary.files[case][1]),
                "metrics": of_case,
            }
            for case, of_case in metrics.items()
        ],
    }
    write_json(path, document)


def _table(rows: Sequence[Score], metric: str, classes: Sequence[int]) -> NDArray[np.float64]:
    """One metric as (cases classes)."""
    cases = {case: i for i, case in enumerate(dict.fromkeys(row.case for row in rows))}
    columns = {k: i for i, k in enumerate(classes)}
    table = np.full((len(cases), len(columns)), np.nan)
    for row in rows:
        table[cases[row.case], columns[row.class_id]] = row.values.get(metric, math.nan)
    return table


def _interval(means: NDArray[np.float64], cases: int) -> Interval:
    drawn = means[1:][np.isfinite(means[1:])]
    if cases < 2 or len(drawn) == 0:
        return Interval(float(means[0]), math.nan, math.nan, cases)
    low, high = np.percentile(drawn, [2.5, 97.5])
    return Interval(float(means[0]), float(low), float(high), cases)


def _nnunet_metrics(row: Score, metrics: Iterable[str]) -> dict[str, float | int | None]:
    union = row.both + row.only_predicted + row.only_reference
    return {
        **{DISPLAYS[metric].key: _null(row.values.get(metric, math.nan)) for metric in metrics},
        "IoU": row.both / union if union else None,
        "TP": row.both,
        "FP": row.only_predicted,
        "FN": row.only_reference,
        "TN": row.neither,
        "n_pred": row.both + row.only_predicted,
        "n_ref": row.both + row.only_reference,
    }


def _mean_entries(entries: Iterable[Mapping[str, float | int | None] | None]) -> dict[str, float | None]:
    """Entry by entry, the mean of what has a value."""
    gathered: dict[str, list[float]] = {}
    for entry in entries:
        for key, value in (entry or {}).items():
            gathered.setdefault(key, []).extend([] if value is None else [float(value)])
    return {key: math.fsum(known) / len(known) if known else None for key, known in gathered.items()}


def _interval_entries(metrics: Mapping[str, Interval]) -> dict[str, dict[str, float | int | None]]:
    return {
        DISPLAYS[metric].key: {
            "mean": _null(interval.mean),
            "low": _null(interval.low),
            "high": _null(interval.high),
            "cases": interval.cases,
        }
        for metric, interval in metrics.items()
    }


def _null(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _plain(value: float) -> str:
    return f"{value:.6g}" if math.isfinite(value) else ""
