"""The loop of a study: take a run that nobody is at, carry it out, take the next, until all have ended."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sautomed.errors import SomeCasesFailed, UsageError
from sautomed.inference import choose_device
from sautomed.progress import Stages
from sautomed.study.data import StudyData, open_data, refuse_other_cases
from sautomed.study.folder import Ended, StudyFolder, claimed, open_study
from sautomed.study.plan import PlannedRun, StudyFile, plan_runs, read_study_file
from sautomed.study.run import carry_out
from sautomed.study.systems import Listener
from sautomed.training_log import RunningStep

WAIT_S = 2.0  # ours: between two looks at runs that other processes are at
TRAINING_SHARE = 0.9  # ours: of a run's time, for the bar over all runs

OnEnd = Callable[[PlannedRun, str], None]


@dataclass(frozen=True)
class StudyRequest:
    """What `sautomed study` is asked for.

    Attributes:
        max_minutes: Of each training; the study file's own minutes rule if they are fewer.
        folders: Where data sets lie, by name.
    """

    file: Path
    output: Path
    resume: bool = False
    max_minutes: float | None = None
    folders: Mapping[str, Path] = field(default_factory=dict)
    device: str = "auto"


@dataclass(frozen=True)
class Outcome:
    """How many runs ended in which way, those of other processes included, and the failed ones."""

    counts: Mapping[str, int]
    failed: tuple[PlannedRun, ...] = ()


def run_study(request: StudyRequest, stages: Stages, on_end: OnEnd | None = None) -> Outcome:
    """Work through a study, alone or beside other processes on the same folder.

    Args:
        on_end: Called with each run that this process has carried out and its status: done, failed or left_out.
    Raises:
        UsageError: The study file, a setting, the device or the folder cannot be used; found before any work.
        DataError: A data set or its folds cannot be used; likewise.
        SomeCasesFailed: Some runs failed; all others are done. `result` is the Outcome.
    """
    choose_device(request.device)
    _refuse_endless(request.max_minutes)
    study = read_study_file(request.file, request.folders)
    minutes = [limit for limit in (study.minutes, request.max_minutes) if limit is not None]
    study = study.model_copy(update={"minutes": min(minutes, default=None)})
    runs = plan_runs(study)
    folder, study = open_study(request.output, study, runs, request.resume)
    data = {
        entry.name: open_data(entry, study, folder, stages.counter(f"Phantoms of {entry.name}")) for entry in study.data
    }
    refuse_other_cases(runs, data, folder)
    ended = Ended(folder, runs)
    _work_through(runs, study, data, folder, ended, request.device, stages, on_end)
    return _outcome(runs, ended, request.output)


def _refuse_endless(minutes: float | None) -> None:
    if minutes is not None and not 0 < minutes < math.inf:
        raise UsageError(
            f"{minutes} minutes are no time to train in.",
            where="--max-minutes-per-run",
            cure="Give a number above 0, or leave it out to train by steps.",
        )


def _work_through(
    runs: Sequence[PlannedRun],
    study: StudyFile,
    data: Mapping[str, StudyData],
    folder: StudyFolder,
    ended: Ended,
    device: str,
    stages: Stages,
    on_end: OnEnd | None,
) -> None:
    """Until every run has ended, whoever carried it out."""
    while waiting := ended.left(runs):
        worked = False
        for run in waiting:
            with claimed(folder, run) as mine:
                if not mine or not ended.left([run]):  # by another process, since we looked
                    continue
                listener = _listen(stages, run, sum(map(ended, runs)), len(runs))
                status = carry_out(run, study, data[run.dataset], folder, device, listener)
                worked = True
            if on_end:
                on_end(run, status)
        if not worked:
            done = sum(map(ended, runs))
            stages.show("Runs", done, len(runs), f"{done}/{len(runs)} waiting for other processes")
            time.sleep(WAIT_S)


def _listen(stages: Stages, run: PlannedRun, done: int, total: int) -> Listener:
    """New bars for a run, below the one over all runs, which moves with the training."""
    detail = f"{done + 1}/{total} {run.name}"
    stages.show("Runs", done, total, detail)
    stages.clear("Preparing", "Training", "Segmenting", "Scoring")
    training = stages.training("Training")

    def on_step(step: RunningStep) -> None:
        training(step)
        stages.show("Runs", done + TRAINING_SHARE * step.progress, total, detail)

    return Listener(stages.counter("Preparing"), stages.counter("Segmenting"), stages.counter("Scoring"), on_step)


def _outcome(runs: Sequence[PlannedRun], ended: Ended, output: Path) -> Outcome:
    statuses = [ended.status(run) for run in runs]
    failed = tuple(run for run, status in zip(runs, statuses, strict=True) if status == "failed")
    outcome = Outcome(Counter(status for status in statuses if status is not None), failed)
    if not outcome.failed:
        return outcome
    listed = ", ".join(run.id for run in outcome.failed[:8]) + (", ..." if len(outcome.failed) > 8 else "")
    raise SomeCasesFailed(
        f"{len(outcome.failed)} of {len(runs)} runs failed ({listed}); each says why in its run.json.",
        where=output / "runs",
        cure="Mend that, and try them again with --resume.",
        result=outcome,
    )
