"""summary.json: the cases of a run, those that a person should look at first.

{"schema": "sautomed summary 1", "cases": [{"case", "status", "least_sure", "review", "calibrated"}]}, each as in its
CASE.json: failed cases first, then those with something to review, then the others; among them the least sure first.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sautomed.inference.batch.case_report import SCHEMA, read_report
from sautomed.scans.files import write_json

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


def summarise(reports: Iterable[Path]) -> tuple[CaseSummary, ...]:
    """Return the cases of those CASE.json that exist, sorted by need of review."""
    found = [_summary(report) for path in reports if (report := read_report(path)).get("schema") == SCHEMA]
    return tuple(sorted(found, key=lambda case: case._need))


def write_case_summaries(path: Path, cases: tuple[CaseSummary, ...]) -> None:
    """Write summary.json atomically."""
    write_json(path, {"schema": SUMMARY_SCHEMA, "cases": [asdict(case) for case in cases]})


def is_case_summary(path: Path) -> bool:
    """Return whether a file is a complete summary.json of a run of `segment`."""
    return read_report(path).get("schema") == SUMMARY_SCHEMA


def _summary(report: dict[str, Any]) -> CaseSummary:
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
