"""summary.json: the cases of a run, those that a person should look at first.

{"schema": "sautomed summary 1", "cases": [{"case", "status", "least_sure", "review", "calibrated"}]}, each as in its
CASE.json: failed cases first, then those with something to review, then the others; among them the least sure first.

That of a shard also has the entries of `shard_files.shard_entries`. That of `merge` has "models", if there are several:
[{"sha256", "engine", "precision", "cases": [name]}].
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from sautomed.inference.batch.json_files import read_object, write_object
from sautomed.inference.batch.places import Place
from sautomed.inference.batch.report_parts import SCHEMA

SUMMARY_SCHEMA = "sautomed summary 1"


@dataclass(frozen=True)
class CaseSummary:
    """What a CASE.json says of the need of review.

    Attributes:
        status: "done" or "failed".
        least_sure: Smallest predicted DSC of the case's organs; None if there is none.
        review: What a person should look at, one sentence each.
        calibrated: Whether enough cases back the predicted DSC; None without one.
    """

    case: str
    status: str
    least_sure: float | None
    review: tuple[str, ...]
    calibrated: bool | None

    @property
    def _need(self) -> tuple[bool, bool, bool, float, str]:
        unknown = self.least_sure is None
        return self.status == "done", not self.review, unknown, self.least_sure or 0.0, self.case


def summarise(reports: Iterable[Mapping[str, Any]]) -> tuple[CaseSummary, ...]:
    """Return the cases of those objects that are the content of a CASE.json, sorted by need of review."""
    found = [_summary(report) for report in reports if report.get("schema") == SCHEMA]
    return tuple(sorted(found, key=lambda case: case._need))


def write_case_summaries(place: Place, cases: tuple[CaseSummary, ...], more: Mapping[str, object]) -> None:
    """Write summary.json atomically.

    Args:
        more: Further entries.
    """
    write_object(place, {"schema": SUMMARY_SCHEMA, "cases": [asdict(case) for case in cases], **more})


def summarised_cases(place: Place) -> tuple[str, ...]:
    """Return the names of the cases in a summary.json; none if it is not there, or not ours."""
    content = read_object(place)
    rows = content.get("cases") if content.get("schema") == SUMMARY_SCHEMA else None
    return tuple(str(row.get("case")) for row in rows if isinstance(row, dict)) if isinstance(rows, list) else ()


def is_case_summary(place: Place) -> bool:
    """Return whether a file is a complete summary.json of a run of `segment`."""
    return read_object(place).get("schema") == SUMMARY_SCHEMA


def _summary(report: Mapping[str, Any]) -> CaseSummary:
    """Return what a report says; older ones lack some of it."""
    least_sure, review, confidence = (report.get(key) for key in ("least_sure", "review", "confidence"))
    calibrated = confidence.get("calibrated") if isinstance(confidence, dict) else None
    return CaseSummary(
        str(report.get("case")),
        str(report.get("status")),
        float(least_sure) if isinstance(least_sure, int | float) else None,
        tuple(str(note) for note in review) if isinstance(review, list) else (),
        calibrated if isinstance(calibrated, bool) else None,
    )
