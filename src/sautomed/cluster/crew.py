"""Workers on a cluster, each with one case at a time; the case of a worker that is lost goes to another.

Ray's own pool gives no case back, and an actor that Ray restarts keeps its case until its machine has cores again, even
while others are idle; so a lost worker is replaced here.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any

from sautomed.cluster.case_worker import CaseResult, Ready
from sautomed.cluster.share import Share, slots
from sautomed.config.version import __version__
from sautomed.errors import NoCluster, SautomedError, WorkerLost
from sautomed.inference.batch import Failure, Job

log = logging.getLogger(__name__)

TRIES = 3  # ours: workers that a case may lose before it is given up, as it may be what kills them
STOP_S = 15.0  # ours: for workers to end their slice when the run is stopped
_LOOK_S = 10.0  # ours: between two looks at how many machines there are
_SAME_VERSION = "Install the same version of sautomed, Ray and Python on every machine of the cluster."


@dataclass
class _Case:
    job: Job
    lost: int = 0  # workers that it has lost


class Crew:
    """Workers that carry out the cases of a plan.

    Args:
        start: Starts a worker (a Ray actor of `CaseWorker`); it comes alive where and when there is room.
        share: What a worker takes.
        on_ready: Called with what every worker reports once it has loaded the model.
    """

    def __init__(self, start: Callable[[], Any], share: Share, on_ready: Callable[[Ready], None]):
        self._start, self._share, self._on_ready = start, share, on_ready
        self._starting: dict[Any, Any] = {}  # by the reference of what they will report
        self._working: dict[Any, tuple[Any, _Case]] = {}
        self._idle: list[Any] = []
        self._slots, self._looked_s, self._failed_starts = 0, -_LOOK_S, 0
        self._first: Ready | None = None

    def results(self, jobs: Sequence[Job]) -> Generator[tuple[Job, CaseResult], None, None]:
        """Yield every job once with its result, in the order in which they end.

        Raises:
            SautomedError: What ends a plain run too, such as a model that cannot be used.
            NoCluster: The machines of the cluster do not have what the workers need.
        """
        waiting = deque(_Case(job) for job in jobs)
        try:
            while waiting or self._working:
                self._employ(waiting)
                for reference in self._ended():
                    if reference in self._starting:
                        self._welcome(reference)
                    elif (ended := self._end(reference, waiting)) is not None:
                        yield ended
        finally:
            self._stop()

    def _ended(self) -> list[Any]:
        """Wait for a worker to have started or ended its case, for some seconds; return which."""
        import ray

        references = [*self._working, *self._starting]
        if not references:  # the last machine is gone; another may join
            time.sleep(1.0)
            return []
        return list(ray.wait(references, timeout=_LOOK_S)[0])

    def _employ(self, waiting: deque[_Case]) -> None:
        """Give cases to idle workers, and start as many workers as there are cases left and room for."""
        while self._idle and waiting:
            worker, case = self._idle.pop(), waiting.popleft()
            self._working[worker.carry_out.remote(case.job, case.lost > 0)] = worker, case
        now_s = time.monotonic()
        if now_s - self._looked_s >= _LOOK_S:
            self._slots, self._looked_s = slots(self._share), now_s
        for _ in range(min(self._slots - len(self._working), len(waiting)) - len(self._starting)):
            worker = self._start()
            self._starting[worker.prepare.remote()] = worker

    def _welcome(self, reference: Any) -> None:
        """Take in a worker that has started, or has failed to."""
        import ray

        worker = self._starting.pop(reference)
        try:
            ready = ray.get(reference)
        except ray.exceptions.RayTaskError as error:  # an import that fails there
            raise NoCluster(f"a worker cannot start: {error.cause}", where="--ray", cure=_SAME_VERSION) from error
        except _deaths() as error:
            self._dismiss(worker)
            self._failed_starts += 1
            if self._failed_starts > TRIES * max(self._slots, 1):
                raise NoCluster(
                    f"workers die while they start: {_first_line(error)}", where="--ray", cure=_SAME_VERSION
                ) from error
            return
        if isinstance(ready, SautomedError):
            raise ready
        if ready.version != __version__:
            raise NoCluster(
                f"sautomed is {ready.version} on {ready.machine} and {__version__} here.",
                where="--ray",
                cure=_SAME_VERSION,
            )
        first = self._first = self._first or ready
        if ready.model != first.model:
            raise NoCluster(
                f"the model on {ready.machine} is another one than on {first.machine}, or computed in another way: "
                f"{ready.model[1]}, and {first.model[1]} there.",
                where="--ray",
                cure="Give -m a folder that all machines share, with --precision and --engine by name instead of auto.",
            )
        self._failed_starts = 0
        self._on_ready(ready)
        self._idle.append(worker)

    def _end(self, reference: Any, waiting: deque[_Case]) -> tuple[Job, CaseResult] | None:
        """Return a case with its result; None if its worker was lost, and another will do it."""
        import ray

        worker, case = self._working.pop(reference)
        try:
            result = ray.get(reference)
        except _deaths() as error:
            self._dismiss(worker)
            case.lost += 1
            if case.lost < TRIES:
                log.info("%s is done by another worker, as its own was lost.", case.job.case)
                waiting.appendleft(case)
                return None
            return case.job, CaseResult(Failure(case.job, _given_up(case, error)), is_reported=False)
        self._idle.append(worker)
        if isinstance(result, SautomedError):
            raise result
        return case.job, result

    def _dismiss(self, worker: Any) -> None:
        """End a worker that cannot be reached, which may only have lost its connection.

        And those that are idle: they may be gone with its machine, and each would cost the next case a try.
        """
        import ray

        self._looked_s = -_LOOK_S  # its machine may be gone, too
        for gone in (worker, *self._idle):
            ray.kill(gone)
        self._idle.clear()

    def _stop(self) -> None:
        """Let workers that have a case end between two slices, then end all."""
        import ray

        for reference in self._working:
            ray.cancel(reference)
        if self._working:
            ray.wait(list(self._working), num_returns=len(self._working), timeout=STOP_S)
        workers = [*(worker for worker, _ in self._working.values()), *self._starting.values(), *self._idle]
        for worker in workers:
            ray.kill(worker)


def _deaths() -> tuple[type[Exception], ...]:
    """Return Ray's errors of a worker that is gone; one that took too much memory has an error of its own."""
    import ray

    return ray.exceptions.RayActorError, ray.exceptions.OutOfMemoryError


def _given_up(case: _Case, error: Exception) -> WorkerLost:
    return WorkerLost(
        f"{case.lost} processes died while they worked on it: {_first_line(error)}",
        where=case.job.scan,
        cure="Run it again with --resume; without --ray the scan's own error is shown, if it has one.",
    )


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
