"""What a terminal shows while a verb works: bars with the time left, and tables of results."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

if TYPE_CHECKING:
    from sautomed.datasets.doctor.diagnosis import Diagnosis
    from sautomed.datasets.doctor.mending import Mended
    from sautomed.evaluation.scores import Interval, Summary
    from sautomed.training.log import RunningStep

FINDINGS_SHOWN = 60  # on a terminal
_SEVERITY_COLOURS = {"error": "bold red", "warning": "yellow", "note": "blue"}


class Stages:
    """Bars that verbs drive through callbacks; each stage gets a bar when it first reports."""

    def __init__(self, progress: Progress):
        self.progress = progress
        self.tasks: dict[str, TaskID] = {}

    def show(self, name: str, done: float, total: float, detail: str = "") -> None:
        if name not in self.tasks:
            self.tasks[name] = self.progress.add_task(name, detail="")
        self.progress.update(self.tasks[name], completed=done, total=total, detail=detail)

    def clear(self, *names: str) -> None:
        """Take bars away, so that the next piece of work begins with new ones."""
        for name in names:
            if name in self.tasks:
                self.progress.remove_task(self.tasks.pop(name))

    def counter(self, name: str) -> Callable[[int, int, str], None]:
        """For verbs that report (done, total, case)."""
        return lambda done, total, case: self.show(name, done, total, f"{done}/{total} {case}")

    def training(self, name: str) -> Callable[[RunningStep], None]:
        """Time left follows from the schedule's progress, which may be by steps or by the clock."""

        def report(step: RunningStep) -> None:
            loss = "" if step.loss is None else f"loss {step.loss:.3f}"
            dsc = "" if step.val_dsc is None else f"validation DSC {step.val_dsc:.3f}"
            self.show(name, step.progress, 1.0, f"step {step.step} {loss} {dsc}".rstrip())

        return report

    def slices(self, name: str, jobs: int) -> Callable[[Any, int, int], None]:
        """For folders of scans: one bar over all scans, moving with every slice."""
        seen: list[Path] = []

        def report(job: Any, done: int, total: int) -> None:
            if job.scan not in seen:
                seen.append(job.scan)
            self.show(name, len(seen) - 1 + done / total, jobs, f"{job.scan.name} slice {done}/{total}")

        return report


@contextmanager
def stages(console: Console) -> Iterator[Stages]:
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TextColumn("left"),
               TimeRemainingColumn(), TextColumn("{task.fields[detail]}", markup=False))  # fmt: skip
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        yield Stages(progress)


def facts_table(facts: Sequence[tuple[str, str]]) -> Table:
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column()
    table.add_column(overflow="fold")  # a path is shown whole
    for name, value in facts:
        table.add_row(f"[bold]{escape(name)}[/]", escape(value))
    return table


def findings_table(diagnosis: Diagnosis) -> Table:
    """What examining a dataset found, worst first, and what to do about it."""
    table = Table(box=None, pad_edge=False)
    for name in ("", "check", "case"):
        table.add_column(name, no_wrap=name != "case", overflow="fold")
    table.add_column("what, and what to do", overflow="fold", ratio=1)
    for finding in diagnosis.findings[:FINDINGS_SHOWN]:
        colour = _SEVERITY_COLOURS[finding.severity]
        text = f"{escape(finding.text)} [dim]{escape(finding.cure)}[/]"
        table.add_row(f"[{colour}]{finding.severity}[/]", finding.check, escape(finding.case), text)
    left = len(diagnosis.findings) - FINDINGS_SHOWN
    if left > 0:
        table.add_row("", "", "", f"... and {left} more; -o PAGE.html shows them all.")
    return table


def left_out_table(mended: Mended) -> Table:
    """Cases without a corrected copy, and why."""
    table = Table("left out", box=None, pad_edge=False)
    table.add_column("why", overflow="fold", ratio=1)
    for case, why in mended.left_out.items():
        table.add_row(escape(case), escape(why))
    return table


def score_table(summary: Summary) -> Table:
    """Mean per organ and over organs as the convention counts; a dash where nothing was counted."""
    from sautomed.evaluation import CONVENTIONS, DISPLAYS  # here: most commands show no score, and SciPy takes a while

    others = [f"{DISPLAYS[metric].heading} {DISPLAYS[metric].unit}".rstrip() for metric in summary.metrics[1:]]
    convention = CONVENTIONS[summary.convention]
    caption = f"Convention {convention.title}. {convention.notes}"
    table = Table("organ", "DSC", "95 % interval", *others, "missed", "cases", box=None, caption=caption)
    table.caption_justify = "left"
    for value, name in summary.names.items():
        row = summary.classes[value]
        missed = str(summary.counts[value].get("missed", 0))
        table.add_row(escape(name), *_score_cells(row), missed, str(row["dsc"].cases))
    table.add_row("[bold]mean[/]", *_score_cells(summary.overall), "", str(summary.overall["dsc"].cases))
    return table


def _score_cells(metrics: Mapping[str, Interval]) -> list[str]:
    """Means in the order of the metrics, of which DSC is the first and has its interval shown."""
    from sautomed.evaluation import DISPLAYS

    means = [_cell(interval.mean, DISPLAYS[metric].digits) for metric, interval in metrics.items()]
    dsc = metrics["dsc"]
    return [means[0], f"{_cell(dsc.low, 3)} - {_cell(dsc.high, 3)}", *means[1:]]


def _cell(value: float, digits: int) -> str:
    return "-" if math.isnan(value) else f"{value:.{digits}f}"
