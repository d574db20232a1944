"""Scores of an evaluation, read from summary.json and scores.csv. Knows nothing of HTML."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from sautomed.errors import BadTable
from sautomed.evaluation import CONVENTIONS, METRICS, OURS, Convention
from sautomed.evaluation.scores import Interval
from sautomed.report.table import Column
from sautomed.scans.palette import colour_of, display_name
from sautomed.scans.paths import read_json, require_file

CURE = "Name the scores.csv and summary.json that sautomed evaluate wrote."
_VOLUMES = ("volume_pred_ml", "volume_ref_ml")
_CASE_COLUMNS = ("case", "class_id", "class", "status")
# All other columns of scores.csv are metrics, whatever the convention calls them.
_NO_METRIC = frozenset({*_CASE_COLUMNS, *_VOLUMES, "tolerance_mm"})


@dataclass(frozen=True)
class CaseScore:
    """One class in one case.

    Args:
        values: By metric, named as in the convention; nan if there is none.
        status: scored, absent, missed, spurious or failed, as `sautomed.evaluation.scores.Status`.
        volume_pred_ml, volume_ref_ml: Volumes of prediction and reference; nan if not given.
    """

    case: str
    class_id: int
    class_name: str
    values: Mapping[str, float]
    status: str
    volume_pred_ml: float = math.nan
    volume_ref_ml: float = math.nan

    @property
    def name(self) -> str:
        """The class in words."""
        return display_name(self.class_name)

    @property
    def colour(self) -> str:
        """The colour of the class."""
        return colour_of(self.class_id)


@dataclass(frozen=True)
class CaseScores:
    """All classes of one case."""

    case: str
    scores: tuple[CaseScore, ...]

    @property
    def mean_dsc(self) -> float:
        """Mean DSC of the classes that have one; nan if none has."""
        known = [score.values["dsc"] for score in self.scores if not math.isnan(score.values["dsc"])]
        return fmean(known) if known else math.nan


@dataclass(frozen=True)
class OrganScores:
    """One organ over all cases, or the mean over all organs.

    Args:
        colour: Empty for the mean.
        means: By metric, named as in the convention.
        present: Number of cases with the organ in the reference.
        missed: Of those, cases where nothing of it was found.
        spurious: Cases where it was found but is not in the reference.
    """

    name: str
    colour: str
    means: Mapping[str, Interval]
    present: int
    missed: int
    spurious: int

    @property
    def dsc(self) -> Interval:
        """Mean DSC, which every convention has."""
        return self.means["dsc"]

    @property
    def dsc_bar(self) -> tuple[float, float, float] | None:
        """Mean, start and length of the interval in per cent of a bar from 0 to 1; None without a mean."""
        mean, low, high = self.dsc.mean, self.dsc.low, self.dsc.high
        if not math.isfinite(mean):
            return None
        if not math.isfinite(low):
            low = high = mean
        return 100 * mean, 100 * low, 100 * (high - low)


@dataclass(frozen=True)
class EvaluationScores:
    """All organs, their mean, and how they were scored.

    Args:
        tolerance_mm: Of the NSD.
        failed: Reason by case, for cases that could not be scored.
    """

    organs: tuple[OrganScores, ...]
    mean: OrganScores
    tolerance_mm: float
    failed: Mapping[str, str]
    convention: Convention

    @property
    def rows(self) -> tuple[OrganScores, ...]:
        """Organs, then their mean."""
        return (*self.organs, self.mean)

    @property
    def other_columns(self) -> tuple[Column, ...]:
        """One per metric but the DSC, which is shown with a bar."""
        return tuple(
            Column(metric, METRICS[metric].label(self.tolerance_mm), digits=METRICS[metric].digits)
            for metric in self.convention.metrics
            if metric != "dsc"
        )


def read_evaluation(summary_json: Path) -> EvaluationScores:
    """Read the means from summary.json.

    Raises:
        MissingFile: There is no such file.
        BadTable: It was not written by `evaluate`, or with an unknown convention.
    """
    found = read_json(summary_json, BadTable)
    try:
        convention = _convention(found.get("convention", OURS), summary_json)  # older files name none: it was ours
        intervals, counts = found["intervals_95"], found["counts"]
        organs = tuple(
            OrganScores(
                display_name(name),
                colour_of(int(key)),
                _means(intervals["classes"][key], convention),
                **_counts(counts.get(key, {})),
            )
            for key, name in sorted(found["labels"].items(), key=lambda item: int(item[0]))
        )
        overall = _means(intervals["foreground"], convention)
        tolerance_mm = float(found.get("tolerance_mm", math.nan))
        failed = dict(found.get("failed", {}))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadTable(f"lacks {error}, or it has another form.", where=summary_json, cure=CURE) from error
    mean = OrganScores(
        f"mean of {len(organs)} organs",
        "",
        overall,
        present=sum(organ.present for organ in organs),
        missed=sum(organ.missed for organ in organs),
        spurious=sum(organ.spurious for organ in organs),
    )
    return EvaluationScores(organs, mean, tolerance_mm, failed, convention)


def read_cases(scores_csv: Path, convention: Convention = CONVENTIONS[OURS]) -> list[CaseScores]:
    """Read scores.csv, grouped by case, in the order of the file.

    Args:
        scores_csv: The file that `evaluate` wrote.
        convention: The one that it was scored by, from `read_evaluation`.
    Raises:
        MissingFile: There is no such file.
        BadTable: A column of the convention is missing, or a field is not a number.
    """
    cases: dict[str, list[CaseScore]] = {}
    for score in read_case_scores(scores_csv, CURE, needed=(*convention.metrics, *_VOLUMES)):
        cases.setdefault(score.case, []).append(score)
    return [CaseScores(case, tuple(scores)) for case, scores in cases.items()]


def read_case_scores(scores_csv: Path, cure: str, needed: Sequence[str] = ()) -> list[CaseScore]:
    """Read the rows of a scores.csv of any convention, in the order of the file.

    Args:
        cure: What to do if the file is not one.
        needed: Columns that must be there besides case, class and status.
    Raises:
        MissingFile: There is no such file.
        BadTable: A column is missing, or a field is not a number.
    """
    require_file(scores_csv)
    with scores_csv.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        rows = list(reader)
    columns = list(reader.fieldnames or [])
    missing = [name for name in (*_CASE_COLUMNS, *needed) if name not in columns]
    if missing:
        raise BadTable(f"has no column {', '.join(missing)}.", where=scores_csv, cure=cure)
    metrics = [name for name in columns if name not in _NO_METRIC]
    try:
        return [_case_score(row, metrics) for row in rows]
    except (ValueError, TypeError) as error:
        raise BadTable(f"holds a field that is not a number: {error}.", where=scores_csv, cure=cure) from error


def _case_score(row: Mapping[str, str], metrics: Sequence[str]) -> CaseScore:
    return CaseScore(
        case=row["case"],
        class_id=int(row["class_id"]),
        class_name=row["class"],
        values={metric: _number(row[metric]) for metric in metrics},
        status=row["status"],
        volume_pred_ml=_number(row.get("volume_pred_ml")),
        volume_ref_ml=_number(row.get("volume_ref_ml")),
    )


def _number(field: str | None) -> float:
    return float(field) if field else math.nan


def _convention(name: Any, where: Path) -> Convention:
    if not isinstance(name, str) or name not in CONVENTIONS:
        raise BadTable(
            f"was scored by the metric convention '{name}', which is not known here.",
            where=where,
            cure=f"Evaluate again by one of {', '.join(CONVENTIONS)}.",
        )
    return CONVENTIONS[name]


def _counts(counts: Mapping[str, int]) -> dict[str, int]:
    missed = counts.get("missed", 0)
    return {"present": counts.get("scored", 0) + missed, "missed": missed, "spurious": counts.get("spurious", 0)}


def _means(entries: Mapping[str, Any], convention: Convention) -> dict[str, Interval]:
    return {metric: _interval(entries[METRICS[metric].summary_key]) for metric in convention.metrics}


def _interval(entry: Mapping[str, float | None]) -> Interval:
    mean, low, high = (math.nan if (end := entry.get(key)) is None else float(end) for key in ("mean", "low", "high"))
    return Interval(mean, low, high, int(entry.get("cases") or 0))
