"""The loop of a study: take a run that no other process has, carry it out, take the next, until all have ended."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from sautomed.errors import SomeCasesFailed, UsageError
from sautomed.errors.text import listed
from sautomed.inference.device import choose_device
from sautomed.study.data import StudyData, open_data, refuse_changed_folds_or_organs
from sautomed.study.folder import EndedRuns, StudyFolder, claimed, open_study
from sautomed.study.one_run import carry_out
from sautomed.study.plan import PlannedRun, plan_runs
from sautomed.study.report.runs import RunStatus
from sautomed.study.study_file import StudyFile, read_study_file
from sautomed.study.system_adapter import Listener

WAIT_S = 2.0  # ours: between two checks for runs that other processes have left


@dataclass(frozen=True)
class StudyRequest:
    """Arguments of `sautomed study`.

    Attributes:
        max_minutes: Limit of each training; the study file's own minutes apply if they are fewer.
        folders: Folders of data sets, by name.
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
        on_phantom: A phantom was written: name of the data set, phantoms written, phantoms in all, id of the case.
        on_run: A run begins: the run, runs ended, runs in all. Returns the listener of that run.
        on_waiting: Other processes have all remaining runs: runs ended, runs in all.
        on_end: This process has carried out a run, and how it ended.
    """

    on_phantom: Callable[[str, int, int, str], None] = lambda *_: None
    on_run: Callable[[PlannedRun, int, int], Listener] = lambda *_: Listener()
    on_waiting: Callable[[int, int], None] = lambda *_: None
    on_end: Callable[[PlannedRun, RunStatus], None] = lambda *_: None


@dataclass(frozen=True)
class StudyOutcome:
    """How many runs ended in each way, in any process, and the failed runs."""

    counts: Mapping[RunStatus, int]
    failed: tuple[PlannedRun, ...] = ()


@dataclass(frozen=True)
class StudyWork:
    """The runs of a study with all that carrying them out takes; it can be sent to other processes.

    Attributes:
        data: The data sets, by name.
    """

    runs: Sequence[PlannedRun]
    study: StudyFile
    data: Mapping[str, StudyData]
    folder: StudyFolder
    ended: EndedRuns
    device: str


Engine = Callable[[StudyWork, StudyCallbacks], None]  # carries out all runs, here or elsewhere


def run_study(
    request: StudyRequest, callbacks: StudyCallbacks = StudyCallbacks(), engine: Engine | None = None
) -> StudyOutcome:
    """Carry out all runs of a study, alone or beside other processes on the same folder.

    Args:
        engine: Carries out the runs; by default this process does, one after the other.

    Raises:
        UsageError: The study file, a setting, the device or the folder cannot be used; raised before any run.
        DataError: A data set or its folds cannot be used; raised before any run.
        SomeCasesFailed: Some runs failed; all others are done. `result` is the StudyOutcome.
    """
    choose_device(request.device)
    _check_minutes(request.max_minutes)
    study = read_study_file(request.file, request.folders)
    limits = [minutes for minutes in (study.minutes, request.max_minutes) if minutes is not None]
    study = study.model_copy(update={"minutes": min(limits, default=None)})
    runs = plan_runs(study)
    folder, study = open_study(request.output, study, runs, request.resume)
    data = {
        entry.name: open_data(entry, study, folder, partial(callbacks.on_phantom, entry.name)) for entry in study.data
    }
    refuse_changed_folds_or_organs(runs, data, folder)
    ended = EndedRuns(folder, runs)
    (engine or carry_out_all)(StudyWork(runs, study, data, folder, ended, request.device), callbacks)
    return _outcome(runs, ended, request.output)


def _check_minutes(minutes: float | None) -> None:
    if minutes is not None and not 0 < minutes < math.inf:
        raise UsageError(
            f"a training cannot take {minutes} minutes.",
            where="--max-minutes-per-run",
            cure="Give a number above 0, or leave it out to train by steps.",
        )


def carry_out_all(work: StudyWork, callbacks: StudyCallbacks) -> None:
    """Carry out runs until all have ended, here or in other processes."""
    ended = work.ended
    while remaining := ended.remaining(work.runs):
        worked = False
        for run in remaining:
            begin = partial(callbacks.on_run, run, ended.count(work.runs), len(work.runs))
            status = carry_out_if_free(run, work, work.device, begin)
            if status is not None:
                worked = True
                callbacks.on_end(run, status)
        if not worked:
            callbacks.on_waiting(ended.count(work.runs), len(work.runs))
            time.sleep(WAIT_S)


def carry_out_if_free(
    run: PlannedRun, work: StudyWork, device: str, begin: Callable[[], Listener] = Listener
) -> RunStatus | None:
    """Carry out a run unless another process has it, or trains the model that it needs, or has ended it.

    Args:
        begin: Called when the run is claimed; returns the listener of the run.
    """
    with claimed(work.folder, run) as is_ours:
        if not is_ours or not work.ended.remaining([run]):  # another process may have ended it meanwhile
            return None
        return carry_out(run, work.study, work.data[run.dataset], work.folder, device, begin())


def _outcome(runs: Sequence[PlannedRun], ended: EndedRuns, output: Path) -> StudyOutcome:
    statuses = [ended.status(run) for run in runs]
    failed = tuple(run for run, status in zip(runs, statuses, strict=True) if status == "failed")
    outcome = StudyOutcome(Counter(status for status in statuses if status is not None), failed)
    if not failed:
        return outcome
    raise SomeCasesFailed(
        f"{len(failed)} of {len(runs)} runs failed ({listed(run.id for run in failed)}); each run.json gives the "
        "reason.",
        where=output / "runs",
        cure="Correct what it names, and try them again with --resume.",
        result=outcome,
    )
