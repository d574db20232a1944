"""Progress with the time left, which the verbs drive through callbacks: bars on a terminal, lines in a log."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from sautomed.cli.app import err, print_note
from sautomed.cli.progress_lines import GAPS_S, VERBOSE_GAPS_S, Lines
from sautomed.cli.verbosity import is_quiet, is_verbose

if TYPE_CHECKING:
    from sautomed.inference.batch import Job
    from sautomed.training.log import RunningStep
    from sautomed.training.plan import Callbacks


class Display(Protocol):
    """Where progress is shown."""

    def show(self, run: str, stage: str, done: float, total: float, detail: str, *, news: bool = False) -> None:
        """Show how far a stage is.

        Args:
            run: Name of the run that the stage belongs to; empty if the command has only one.
            detail: What is being done, such as the step or the case.
            news: Whether this must not be left out.
        """

    def clear(self, *stages: str) -> None:
        """Forget stages, so that the next run starts with new ones."""


class Bars:
    """One bar for each stage; it appears when the stage first reports."""

    def __init__(self, progress: Progress):
        self.progress = progress
        self.tasks: dict[str, TaskID] = {}

    def show(self, run: str, stage: str, done: float, total: float, detail: str, *, news: bool = False) -> None:
        if stage not in self.tasks:
            self.tasks[stage] = self.progress.add_task(stage, detail="")
        self.progress.update(self.tasks[stage], completed=done, total=total, detail=detail)

    def clear(self, *stages: str) -> None:
        for stage in stages:
            if stage in self.tasks:
                self.progress.remove_task(self.tasks.pop(stage))


class Stages:
    """Callbacks that show the stages of a command.

    Args:
        run: Name of the run that the stages belong to; empty if the command has only one.
    """

    def __init__(self, display: Display, run: str = ""):
        self.display, self.run = display, run

    def show(self, stage: str, done: float, total: float, detail: str = "", *, news: bool = False) -> None:
        """Show how far a stage is; `news` must not be left out."""
        self.display.show(self.run, stage, done, total, detail, news=news)

    def of_run(self, run: str, *stages: str) -> Stages:
        """Begin a run with these stages, in place of those of the run before."""
        self.display.clear(*stages)
        return Stages(self.display, run)

    def counter(self, stage: str) -> Callable[[int, int, str], None]:
        """Return a callback for verbs that report (done, total, case)."""
        return lambda done, total, case: self.show(stage, done, total, f"{done}/{total} {case}")

    def training(self, stage: str) -> Callable[[RunningStep], None]:
        """Return a callback for training; it follows the schedule, which may count steps or minutes."""

        def report(step: RunningStep) -> None:
            loss = "" if step.loss is None else f" loss {step.loss:.3f}"
            dsc = "" if step.val_dsc is None else f" validation DSC {step.val_dsc:.3f}"
            self.show(stage, step.progress, 1.0, f"step {step.step}{loss}{dsc}", news=step.is_validated)

        return report

    def training_callbacks(self) -> Callbacks:
        """Return the callbacks of one training: preparing, training and scoring."""
        from sautomed.training.plan import Callbacks

        return Callbacks(
            on_case=self.counter("Preparing"),
            on_step=self.training("Training"),
            on_scored=self.counter("Scoring the validation cases"),
        )

    def slices(self, stage: str, jobs: int) -> Callable[[Job, int, int], None]:
        """Return a callback for segmenting many scans: one stage for all, which moves with every slice."""
        started: set[str] = set()

        def report(job: Job, done: int, total: int) -> None:
            started.add(job.case)
            detail = f"{len(started)}/{jobs} {job.case} slice {done}/{total}"
            self.show(stage, len(started) - 1 + done / total, jobs, detail)

        return report


@contextmanager
def shown_progress() -> Iterator[Stages]:
    """Show progress on standard error as long as the context lasts: bars on a terminal, else lines now and then."""
    if not err.file.isatty() or err.is_dumb_terminal or is_quiet():
        yield Stages(Lines(print_note, VERBOSE_GAPS_S if is_verbose() else GAPS_S, time.monotonic))
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TextColumn("left"),
               TimeRemainingColumn(), TextColumn("{task.fields[detail]}", markup=False))  # fmt: skip
    with Progress(*columns, console=err) as progress:
        yield Stages(Bars(progress))
