"""The loop of a study: take a run that nobody is at, carry it out, take the next, until all have ended."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from sautomed.errors import SomeCasesFailed, UsageError
from sautomed.inference.segmenting import choose_device
from sautomed.study.data import StudyData, open_data, refuse_other_cases
from sautomed.study.folder import Ended, StudyFolder, claimed, open_study
from sautomed.study.plan import PlannedRun, StudyFile, plan_runs, read_study_file
from sautomed.study.run import carry_out
from sautomed.study.systems import Listener

WAIT_S = 2.0  # ours: between two looks at runs that other processes are at


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
class StudyCallbacks:
    """Functions that a study calls while it works.

    Attributes:
        on_phantom: A phantom was made: data set, phantoms made, phantoms in all, case.
        on_run: A run begins: the run, runs ended, runs in all. Returns who listens to its steps.
        on_waiting: Other processes carry out what is left: runs ended, runs in all.
        on_end: This process has carried out a run; its status is done, failed or left_out.
    """

    on_phantom: Callable[[str, int, int, str], None] = lambda *_: None
    on_run: Callable[[PlannedRun, int, int], Listener] = lambda *_: Listener()
    on_waiting: Callable[[int, int], None] = lambda *_: None
    on_end: Callable[[PlannedRun, str], None] = lambda *_: None


@dataclass(frozen=True)
class Outcome:
    """How many runs ended in which way, those of other processes included, and the failed ones."""

    counts: Mapping[str, int]
    failed: tuple[PlannedRun, ...] = ()


def run_study(request: StudyRequest, callbacks: StudyCallbacks = StudyCallbacks()) -> Outcome:
    """Work through a study, alone or beside other processes on the same folder.

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
        entry.name: open_data(entry, study, folder, partial(callbacks.on_phantom, entry.name)) for entry in study.data
    }
    refuse_other_cases(runs, data, folder)
    ended = Ended(folder, runs)
    _work_through(runs, study, data, folder, ended, request.device, callbacks)
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
    callbacks: StudyCallbacks,
) -> None:
    """Until every run has ended, whoever carried it out."""
    while waiting := ended.left(runs):
        worked = False
        for run in waiting:
            with claimed(folder, run) as mine:
                if not mine or not ended.left([run]):  # by another process, since we looked
                    continue
                listener = callbacks.on_run(run, sum(map(ended, runs)), len(runs))
                status = carry_out(run, study, data[run.dataset], folder, device, listener)
                worked = True
            callbacks.on_end(run, status)
        if not worked:
            callbacks.on_waiting(sum(map(ended, runs)), len(runs))
            time.sleep(WAIT_S)


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
