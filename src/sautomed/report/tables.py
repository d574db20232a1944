"""The numbers of a report as they are shown, from summary.json and scores.csv. Knows nothing of HTML."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sautomed.errors import BadTable
from sautomed.evaluation import CONVENTIONS, DISPLAYS, OURS, Convention
from sautomed.scans.palette import colour_of, display_name
from sautomed.scans.paths import read_json, require_file

NOTHING = "–"
CURE = "Name the folder that sautomed evaluate wrote."


@dataclass(frozen=True)
class Measure:
    """A mean with its 95 % interval; nan where there is none."""

    mean: float = math.nan
    low: float = math.nan
    high: float = math.nan

    @classmethod
    def of(cls, entry: Mapping[str, float | None]) -> Measure:
        """From an entry of `intervals_95` in summary.json."""
        mean, low, high = (entry.get(key) for key in ("mean", "low", "high"))
        return cls(*(math.nan if value is None else float(value) for value in (mean, low, high)))

    def text(self, digits: int) -> str:
        """`0.84`, or a dash."""
        return _fixed(self.mean, digits)

    def interval(self, digits: int) -> str:
        """`0.80 to 0.88`, or nothing."""
        return f"{self.low:.{digits}f} to {self.high:.{digits}f}" if math.isfinite(self.low) else ""

    def bar(self) -> tuple[float, float, float] | None:
        """Per cent of a bar from 0 to 1: mean, start and length of the interval; None without a mean."""
        if not math.isfinite(self.mean):
            return None
        low, high = (self.low, self.high) if math.isfinite(self.low) else (self.mean, self.mean)
        return 100 * self.mean, 100 * low, 100 * (high - low)


@dataclass(frozen=True)
class OrganRow:
    """One organ, or the mean over all of them."""

    name: str
    colour: str
    measures: Mapping[str, Measure]  # by the convention's names of metrics
    present: int  # cases whose reference has it
    missed: int  # of those, cases where nothing of it was found
    spurious: int  # cases where it was found but is not in the reference

    @property
    def dsc(self) -> Measure:
        """What every convention has."""
        return self.measures["dsc"]


@dataclass(frozen=True)
class Column:
    """A metric in a table: its name, what stands above it, and digits after the point."""

    metric: str
    label: str
    digits: int


@dataclass(frozen=True)
class ScoreTable:
    """All organs, their mean, how they were counted, and the tolerance of the NSD."""

    organs: tuple[OrganRow, ...]
    mean: OrganRow
    tolerance_mm: float
    failed: Mapping[str, str]
    convention: Convention

    @property
    def rows(self) -> tuple[OrganRow, ...]:
        """Organs, then their mean."""
        return (*self.organs, self.mean)

    @property
    def others(self) -> tuple[Column, ...]:
        """Every metric but the DSC, which has a bar of its own."""
        return tuple(
            Column(metric, DISPLAYS[metric].label(self.tolerance_mm), DISPLAYS[metric].digits)
            for metric in self.convention.metrics
            if metric != "dsc"
        )


@dataclass(frozen=True)
class CaseCell:
    """One organ in one case, as text."""

    organ: str
    colour: str
    scores: Mapping[str, str]  # by the convention's names of metrics
    volume_pred_ml: str
    volume_ref_ml: str
    status: str


@dataclass(frozen=True)
class CaseRow:
    """One case with a cell per organ, and its mean DSC."""

    case: str
    mean_dsc: str
    cells: tuple[CaseCell, ...]


def read_score_table(summary_json: Path) -> ScoreTable:
    """Read the means from summary.json.

    Raises:
        MissingFile, BadTable: There is none, or it is not one that `evaluate` wrote.
    """
    found = read_json(summary_json, BadTable)
    try:
        convention = _convention(found.get("convention", OURS), summary_json)  # older files name none: it was ours
        intervals, counts = found["intervals_95"], found["counts"]
        organs = tuple(
            OrganRow(
                display_name(name),
                colour_of(int(key)),
                _measures(intervals["classes"][key], convention),
                **_counted(counts.get(key, {})),
            )
            for key, name in sorted(found["labels"].items(), key=lambda item: int(item[0]))
        )
        overall = _measures(intervals["foreground"], convention)
        tolerance = float(found.get("tolerance_mm", math.nan))
        failed = dict(found.get("failed", {}))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadTable(f"lacks {error}, or it has another form.", where=summary_json, cure=CURE) from error
    total = {status: sum(getattr(row, status) for row in organs) for status in ("present", "missed", "spurious")}
    mean = OrganRow(f"mean of {len(organs)} organs", "", overall, **total)
    return ScoreTable(organs, mean, tolerance, failed, convention)


def read_case_rows(scores_csv: Path, convention: Convention = CONVENTIONS[OURS]) -> list[CaseRow]:
    """Read scores.csv, grouped by case, in its order.

    Args:
        scores_csv: What `evaluate` wrote.
        convention: How it counted, as `read_score_table` tells.
    Raises:
        MissingFile, BadTable: There is none, or it lacks a column of the convention or holds text for a number.
    """
    require_file(scores_csv)
    cases: dict[str, list[dict[str, str]]] = {}
    with scores_csv.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            cases.setdefault(row.get("case", ""), []).append(row)
    try:
        return [_case(case, rows, convention) for case, rows in cases.items()]
    except (KeyError, ValueError) as error:
        raise BadTable(f"lacks column {error}, or it holds no number.", where=scores_csv, cure=CURE) from error


def _convention(name: Any, where: Path) -> Convention:
    if not isinstance(name, str) or name not in CONVENTIONS:
        raise BadTable(
            f"was counted by the metric convention '{name}', which is not known here.",
            where=where,
            cure=f"Evaluate again by one of {', '.join(CONVENTIONS)}.",
        )
    return CONVENTIONS[name]


def _counted(counts: Mapping[str, int]) -> dict[str, int]:
    missed = counts.get("missed", 0)
    return {"present": counts.get("scored", 0) + missed, "missed": missed, "spurious": counts.get("spurious", 0)}


def _measures(metrics: Mapping[str, Any], convention: Convention) -> dict[str, Measure]:
    return {metric: Measure.of(metrics[DISPLAYS[metric].key]) for metric in convention.metrics}


def _case(case: str, rows: Sequence[Mapping[str, str]], convention: Convention) -> CaseRow:
    known = [float(row["dsc"]) for row in rows if row["dsc"]]
    mean = sum(known) / len(known) if known else math.nan
    return CaseRow(case, _fixed(mean, 3), tuple(_cell(row, convention) for row in rows))


def _cell(row: Mapping[str, str], convention: Convention) -> CaseCell:
    return CaseCell(
        organ=display_name(row["class"]),
        colour=colour_of(int(row["class_id"])),
        scores={metric: _shown(row[metric], DISPLAYS[metric].digits) for metric in convention.metrics},
        volume_pred_ml=_shown(row["volume_pred_ml"], 1),
        volume_ref_ml=_shown(row["volume_ref_ml"], 1),
        status=row["status"],
    )


def _shown(field: str, digits: int) -> str:
    return _fixed(float(field), digits) if field else NOTHING


def _fixed(value: float, digits: int) -> str:
    return f"{value:.{digits}f}" if math.isfinite(value) else NOTHING
