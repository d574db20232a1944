"""Means of scores over cases, with intervals; scores.csv and summary.json.

A row is one class in one case. Means leave out missing values (see `Status`). The counts report how many there are,
since a missed organ has no distance, and leaving it out flatters the mean. Reads no image.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sautomed.errors import DataError
from sautomed.evaluation import METRICS, OURS, convention_named
from sautomed.scans.files import csv_text, write_json, write_text
from sautomed.scans.paths import read_json

# scored: both masks have voxels. absent: neither has. missed, spurious: only the reference, or only the prediction has.
# failed: the case could not be scored. The convention defines the scores of all but "scored".
Status = Literal["scored", "absent", "missed", "spurious", "failed"]

RESAMPLES = 2000


@dataclass(frozen=True)
class Score:
    """One class in one case.

    Args:
        values: By name of metric; nan where there is none.
        both, only_predicted, only_reference, neither: Numbers of voxels in the whole grid (TP, FP, FN, TN).
        voxel_ml: Volume of one voxel.
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
        """Volume of the class in the prediction."""
        return (self.both + self.only_predicted) * self.voxel_ml

    @property
    def volume_ref_ml(self) -> float:
        """Volume of the class in the reference."""
        return (self.both + self.only_reference) * self.voxel_ml


@dataclass(frozen=True)
class Interval:
    """A mean over cases with its 95 % bootstrap interval; the bounds are nan for fewer than two cases."""

    mean: float
    low: float
    high: float
    cases: int


@dataclass(frozen=True)
class Summary:
    """Result of an evaluation.

    Args:
        scores: One row per case and class.
        names: Name of each class.
        classes: Mean over cases, by class and metric.
        overall: Mean over classes of these means, by metric.
        counts: How often each status occurs, by class.
        failed: Reason for each case that failed, by case id.
        files: (prediction, reference) by case id.
        unmatched: Predictions without a reference; not scored.
        unpredicted: References without a prediction; not scored.
        convention: Convention of the scores, a key of `CONVENTIONS`.
    """

    scores: tuple[Score, ...]
    names: Mapping[int, str]
    classes: Mapping[int, Mapping[str, Interval]]
    overall: Mapping[str, Interval]
    counts: Mapping[int, Mapping[Status, int]]
    failed: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, tuple[Path, Path]] = field(default_factory=dict)
    unmatched: tuple[str, ...] = ()
    unpredicted: tuple[str, ...] = ()
    convention: str = OURS

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the convention's metrics."""
        return convention_named(self.convention).metrics


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
    """Compute means, intervals and counts; raises UsageError if there is no such convention."""
    rows = tuple(scores)
    names = {row.class_id: row.class_name for row in sorted(rows, key=lambda row: row.class_id)}
    classes: dict[int, dict[str, Interval]] = {k: {} for k in names}
    overall: dict[str, Interval] = {}
    for metric in convention_named(convention).metrics:
        per_class, together = bootstrap_means(_table(rows, metric, list(names)), seed=seed)
        overall[metric] = together
        for k, interval in zip(names, per_class, strict=True):
            classes[k][metric] = interval
    return Summary(
        scores=rows,
        names=names,
        classes=classes,
        overall=overall,
        counts={k: Counter(row.status for row in rows if row.class_id == k) for k in names},
        failed=failed or {},
        files=files or {},
        unmatched=tuple(unmatched),
        unpredicted=tuple(unpredicted),
        convention=convention,
    )


def bootstrap_means(
    table: NDArray[np.float64], *, seed: int = 0, resamples: int = RESAMPLES
) -> tuple[list[Interval], Interval]:
    """Return the mean over cases of each class, and the mean over classes of these, with 95 % percentile intervals.

    Whole cases are drawn with replacement, so that the organs of one patient stay together.

    Args:
        table: (cases classes); nan is left out.
        seed: Seed of the draws.
        resamples: Number of draws.
    """
    cases, columns = table.shape
    if cases == 0:  # no label anywhere, or every case failed
        missing = Interval(math.nan, math.nan, math.nan, 0)
        return [missing] * columns, missing
    present = np.isfinite(table)
    values = np.where(present, table, 0.0)
    draws = np.random.default_rng(seed).multinomial(cases, np.full(cases, 1 / cases), resamples)
    weights = np.vstack([np.ones((1, cases)), draws])
    with np.errstate(invalid="ignore"):
        means = (weights @ values) / (weights @ present)  # (1 + resamples classes); row 0 is the sample itself
        known = np.isfinite(means)
        overall = np.where(known, means, 0.0).sum(axis=1) / known.sum(axis=1)
    per_class = [_interval(means[:, k], int(present[:, k].sum())) for k in range(columns)]
    return per_class, _interval(overall, int(present.any(axis=1).sum()))


def write_scores(summary: Summary, path: Path) -> None:
    """Write one line per case and class as CSV, with the convention's metrics; missing values are empty."""
    columns = ["case", "class_id", "class", *summary.metrics, "tolerance_mm", "volume_pred_ml", "volume_ref_ml"]
    lines: list[list[object]] = [[*columns, "status"]]
    for row in summary.scores:
        measured = [_csv_number(row.values.get(metric, math.nan)) for metric in summary.metrics]
        volumes = [_csv_number(row.volume_pred_ml), _csv_number(row.volume_ref_ml)]
        tolerance = f"{row.tolerance_mm:g}"
        lines.append([row.case, row.class_id, row.class_name, *measured, tolerance, *volumes, row.status])
    write_text(path, csv_text(lines))


def write_summary(summary: Summary, path: Path, *, tolerance_mm: float, seed: int) -> None:
    """Write nnU-Net's summary.json (foreground_mean, mean, metric_per_case) with intervals, counts and the convention.

    Args:
        tolerance_mm: Tolerance of the NSD.
        seed: Seed of the bootstrap.
    """
    metrics = {
        case: {str(row.class_id): _metric_entries(row, summary.metrics) for row in summary.scores if row.case == case}
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
        "tolerance_mm": tolerance_mm,
        "bootstrap": {"resamples": RESAMPLES, "seed": seed},
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


def is_score_summary(path: Path) -> bool:
    """Return whether a file is a summary.json from `write_summary`; nnU-Net's own lacks the intervals."""
    try:
        found = read_json(path)
    except (DataError, OSError):  # damaged, a folder, or nothing that may be read
        return False
    return isinstance(found, dict) and {"intervals_95", "metric_per_case"} <= found.keys()


def _table(rows: Sequence[Score], metric: str, classes: Sequence[int]) -> NDArray[np.float64]:
    """Return one metric as (cases classes)."""
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


def _metric_entries(row: Score, metrics: Iterable[str]) -> dict[str, float | int | None]:
    union = row.both + row.only_predicted + row.only_reference
    return {
        **{METRICS[metric].summary_key: _json_number(row.values.get(metric, math.nan)) for metric in metrics},
        "IoU": row.both / union if union else None,
        "TP": row.both,
        "FP": row.only_predicted,
        "FN": row.only_reference,
        "TN": row.neither,
        "n_pred": row.both + row.only_predicted,
        "n_ref": row.both + row.only_reference,
    }


def _mean_entries(entries: Iterable[Mapping[str, float | int | None] | None]) -> dict[str, float | None]:
    """Return the mean of each entry, leaving out missing values."""
    gathered: dict[str, list[float]] = {}
    for entry in entries:
        for key, value in (entry or {}).items():
            gathered.setdefault(key, []).extend([] if value is None else [float(value)])
    return {key: math.fsum(known) / len(known) if known else None for key, known in gathered.items()}


def _interval_entries(metrics: Mapping[str, Interval]) -> dict[str, dict[str, float | int | None]]:
    return {
        METRICS[metric].summary_key: {
            "mean": _json_number(interval.mean),
            "low": _json_number(interval.low),
            "high": _json_number(interval.high),
            "cases": interval.cases,
        }
        for metric, interval in metrics.items()
    }


def _json_number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _csv_number(value: float) -> str:
    return f"{value:.6g}" if math.isfinite(value) else ""
