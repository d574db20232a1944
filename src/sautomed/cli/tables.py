"""Tables of results on a terminal."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from sautomed.datasets.doctor.diagnosis import Diagnosis
    from sautomed.datasets.doctor.mending import Mended
    from sautomed.evaluation.scores import Interval, Summary
    from sautomed.inference.batch.summary import CaseSummary

REVIEWS_SHOWN = 20  # ours
FINDINGS_SHOWN = 60  # ours: about two screens
_SEVERITY_COLOURS = {"error": "bold red", "warning": "yellow", "note": "blue"}


def facts_table(facts: Sequence[tuple[str, str]]) -> Table:
    """Return names and values in two columns."""
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column()
    table.add_column(overflow="fold")  # shows a path whole
    for name, value in facts:
        table.add_row(f"[bold]{escape(name)}[/]", escape(value))
    return table


def findings_table(diagnosis: Diagnosis) -> Table:
    """Return what examining a dataset found, worst first, with the cures."""
    table = Table(box=None, pad_edge=False)
    for name in ("", "check", "case"):
        table.add_column(name, no_wrap=name != "case", overflow="fold")
    table.add_column("what, and what to do", overflow="fold", ratio=1)
    for finding in diagnosis.findings[:FINDINGS_SHOWN]:
        colour = _SEVERITY_COLOURS[finding.severity]
        text = f"{escape(finding.text)} [dim]{escape(finding.cure)}[/]"
        table.add_row(f"[{colour}]{finding.severity}[/]", finding.check, escape(finding.case), text)
    more = len(diagnosis.findings) - FINDINGS_SHOWN
    if more > 0:
        table.add_row("", "", "", f"... and {more} more; -o PAGE.html shows them all.")
    return table


def left_out_table(mended: Mended) -> Table:
    """Return the cases without a corrected copy, and why."""
    table = Table("left out", box=None, pad_edge=False)
    table.add_column("why", overflow="fold", ratio=1)
    for case, why in mended.left_out.items():
        table.add_row(escape(case), escape(why))
    return table


def review_table(summary: Sequence[CaseSummary]) -> Table | None:
    """Return the cases that a person should look at, least sure first; None if there is none."""
    flagged = [case for case in summary if case.review]
    if not flagged:
        return None
    table = Table("look at", "predicted DSC", box=None, pad_edge=False)
    table.add_column("why", overflow="fold", ratio=1)
    for case in flagged[:REVIEWS_SHOWN]:
        dsc = "-" if case.least_sure is None else f"{case.least_sure:.2f}"
        uncalibrated = " [dim](uncalibrated)[/]" if case.calibrated is False and case.least_sure is not None else ""
        table.add_row(escape(case.case), dsc + uncalibrated, escape("; ".join(case.review)))
    more = len(flagged) - REVIEWS_SHOWN
    if more > 0:
        table.add_row("", "", f"... and {more} more, in summary.json.")
    return table


def score_table(summary: Summary) -> Table:
    """Return the means per organ and over organs, as the convention counts; a dash where nothing was counted."""
    from sautomed.evaluation import CONVENTIONS, METRICS  # not above: importing SciPy takes a while

    others = [f"{METRICS[metric].heading} {METRICS[metric].unit}".rstrip() for metric in summary.metrics[1:]]
    convention = CONVENTIONS[summary.convention]
    caption = f"Convention {convention.title}. {convention.notes}"
    table = Table("organ", "DSC", "95 % interval", *others, "missed", "cases", box=None, caption=caption)
    table.caption_justify = "left"
    for value, name in summary.names.items():
        row = summary.classes[value]
        missed = str(summary.counts[value].get("missed", 0))
        table.add_row(escape(name), *_mean_cells(row), missed, str(row["dsc"].cases))
    table.add_row("[bold]mean[/]", *_mean_cells(summary.overall), "", str(summary.overall["dsc"].cases))
    return table


def _mean_cells(metrics: Mapping[str, Interval]) -> list[str]:
    """Return the means in the order of the metrics; the first, DSC, with its interval."""
    from sautomed.evaluation import METRICS

    means = [_cell(interval.mean, METRICS[metric].digits) for metric, interval in metrics.items()]
    dsc = metrics["dsc"]
    return [means[0], f"{_cell(dsc.low, 3)} - {_cell(dsc.high, 3)}", *means[1:]]


def _cell(value: float, digits: int) -> str:
    return "-" if math.isnan(value) else f"{value:.{digits}f}"
