"""Progress bars with the time left, which the verbs drive through callbacks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from sautomed.inference.batch import Job
    from sautomed.training.log import RunningStep


class Stages:
    """One bar for each stage of a command; it appears when the stage first reports."""

    def __init__(self, progress: Progress):
        self.progress = progress
        self.tasks: dict[str, TaskID] = {}

    def show(self, name: str, done: float, total: float, detail: str = "") -> None:
        """Set a bar, and create it if it is new."""
        if name not in self.tasks:
            self.tasks[name] = self.progress.add_task(name, detail="")
        self.progress.update(self.tasks[name], completed=done, total=total, detail=detail)

    def clear(self, *names: str) -> None:
        """Remove bars, so that the next run starts with new ones."""
        for name in names:
            if name in self.tasks:
                self.progress.remove_task(self.tasks.pop(name))

    def counter(self, name: str) -> Callable[[int, int, str], None]:
        """Return a callback for verbs that report (done, total, case)."""
        return lambda done, total, case: self.show(name, done, total, f"{done}/{total} {case}")

    def training(self, name: str) -> Callable[[RunningStep], None]:
        """Return a callback for training; the bar follows the schedule, which may count steps or minutes."""

        def report(step: RunningStep) -> None:
            loss = "" if step.loss is None else f"loss {step.loss:.3f}"
            dsc = "" if step.val_dsc is None else f"validation DSC {step.val_dsc:.3f}"
            self.show(name, step.progress, 1.0, f"step {step.step} {loss} {dsc}".rstrip())

        return report

    def slices(self, name: str, jobs: int) -> Callable[[Job, int, int], None]:
        """Return a callback for segmenting many scans: one bar over all, which moves with every slice."""
        started: list[Path] = []

        def report(job: Job, done: int, total: int) -> None:
            if job.scan not in started:
                started.append(job.scan)
            self.show(name, len(started) - 1 + done / total, jobs, f"{job.case} slice {done}/{total}")

        return report


@contextmanager
def progress_bars(console: Console) -> Iterator[Stages]:
    """Show bars as long as the context lasts; none if the console is no terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TextColumn("left"),
               TimeRemainingColumn(), TextColumn("{task.fields[detail]}", markup=False))  # fmt: skip
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        yield Stages(progress)
