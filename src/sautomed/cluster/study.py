"""Carry out the runs of a study on a Ray cluster: each run is a task, which Ray starts again if its machine is lost."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sautomed.cluster.connection import connected
from sautomed.cluster.crew import TRIES
from sautomed.cluster.share import Cluster, Share, choose_share, slots
from sautomed.cluster.shared_folder import enter, require_shared
from sautomed.errors import SautomedError, WorkerLost
from sautomed.scans.files import probe_in
from sautomed.study import PlannedRun, StudyCallbacks
from sautomed.study.loop import Engine, StudyWork, carry_out_if_free
from sautomed.study.one_run import record_failure
from sautomed.study.report.runs import RunStatus

STOP_S = 30.0  # ours: for trainings to end their step and write a checkpoint when the study is stopped
_LOOK_S = 2.0  # ours: between two looks at what other processes have done


def study_engine(cluster: Cluster) -> Engine:
    """Return a way to carry out the runs of a study on a cluster, for `run_study`."""

    def carry_out(work: StudyWork, callbacks: StudyCallbacks) -> None:
        with connected(cluster.address), probe_in(work.folder.root) as probe:
            _Tasks(work, callbacks, choose_share(cluster), probe).carry_out()

    return carry_out


class _Tasks:
    """The runs that are under way on the cluster."""

    def __init__(self, work: StudyWork, callbacks: StudyCallbacks, share: Share, probe: Path):
        import ray

        self._work, self._callbacks, self._share = work, callbacks, share
        # A process for each run, so that it starts with memory of its own.
        self._task = ray.remote(max_calls=1, max_retries=TRIES - 1, **share.options)(_carry_out)
        self._shared = ray.put((work, share, Path.cwd(), probe))
        self._running: dict[Any, PlannedRun] = {}

    def carry_out(self) -> None:
        """Carry out all runs, except those that other processes carry out meanwhile."""
        try:
            while remaining := self._work.ended.remaining(self._work.runs):
                self._submit(remaining)
                for reference in self._ended():
                    self._end(reference)
        finally:
            self._stop()

    def _submit(self, remaining: Sequence[PlannedRun]) -> None:
        """Start runs for which there is room; of those that share a training, one at a time."""
        room = slots(self._share) - len(self._running)
        training = {(run.training, run.fold) for run in self._running.values()}
        for run in remaining:
            if room > 0 and (run.training, run.fold) not in training:
                work = self._work
                self._callbacks.on_run(run, work.ended.count(work.runs), len(work.runs))
                self._running[self._task.remote(run, self._shared)] = run
                training.add((run.training, run.fold))
                room -= 1

    def _ended(self) -> list[Any]:
        """Wait for a run to end, for some seconds; return which."""
        import ray

        if not self._running:  # the last machine is gone; another may join
            time.sleep(_LOOK_S)
            return []
        return list(ray.wait(list(self._running), timeout=_LOOK_S)[0])

    def _end(self, reference: Any) -> None:
        import ray

        run = self._running.pop(reference)
        try:
            status: RunStatus | SautomedError | None = ray.get(reference)
        except ray.exceptions.RayTaskError:  # a bug of ours, as `carry_out` records all others
            raise
        except ray.exceptions.RayError as error:
            study, data = self._work.study, self._work.data[run.dataset]
            status = record_failure(run, study, data, self._work.folder, _lost(run, error))
        if isinstance(status, SautomedError):
            raise status
        if status is None:
            self._callbacks.on_waiting(self._work.ended.count(self._work.runs), len(self._work.runs))
            time.sleep(_LOOK_S)
        else:
            self._callbacks.on_end(run, status)

    def _stop(self) -> None:
        """Interrupt the runs that are under way, as Ctrl-C does, and wait until they have."""
        import ray

        for reference in self._running:
            ray.cancel(reference)
        if self._running:
            ray.wait(list(self._running), num_returns=len(self._running), timeout=STOP_S)


def _lost(run: PlannedRun, error: Exception) -> WorkerLost:
    return WorkerLost(
        f"{TRIES} processes died while they carried out this run: {str(error).strip().partition(chr(10))[0]}",
        where=run.id,
        cure="Run the study again with --resume; without --ray the run's own error is shown, if it has one.",
    )


def _carry_out(run: PlannedRun, shared: tuple[StudyWork, Share, Path, Path]) -> RunStatus | SautomedError | None:
    """Carry out a run in the process of a task; None if another process has it."""
    import torch

    work, share, folder, probe = shared
    enter(folder)
    torch.set_num_threads(share.cores)
    try:
        require_shared(probe)
    except SautomedError as error:
        return error
    return carry_out_if_free(run, work, share.device)
