"""Carry out a plan of `segment` on a Ray cluster: what `run_plan` does in one process."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from sautomed.cluster.case_worker import CaseResult, CaseWorker, ModelChoice, Order, Ready
from sautomed.cluster.connection import connected
from sautomed.cluster.crew import Crew
from sautomed.cluster.share import Cluster, Share, choose_share
from sautomed.errors import UsageError
from sautomed.inference.batch import BatchOutcome, Failure, Job, Plan
from sautomed.inference.batch.failure_log import FailureLog, write_failed_report
from sautomed.inference.batch.preflight import remove_leftovers, remove_temporary_files
from sautomed.inference.batch.run_files import announce_shard, write_label_file, write_summary
from sautomed.inference.model import model_folder
from sautomed.scans.files import probe_in

log = logging.getLogger("sautomed")
OnCase = Callable[[int, int, str], None]  # cases ended, cases in all, the case


def run_plan_on_ray(model: ModelChoice, plan: Plan, cluster: Cluster, on_case: OnCase | None = None) -> BatchOutcome:
    """Segment the scans of a plan on a cluster; one that fails is listed in failures.json, as in a plain run.

    Each scan is checked when a worker comes to it, not before the first. A case is given up after the processes of
    several workers died with it.

    Args:
        on_case: Called after each case.
    Raises:
        PackageMissing: The extra [ray] is not installed.
        NoCluster: There is no cluster, or its machines have other versions.
        UsageError: No machine has enough cores or a GPU, or prompts are to be replayed.
        ModelError: There is no model, or it cannot be used.
        UnwritableTarget: A machine does not see the outputs' folder.
    """
    if plan.options.replay is not None:
        raise UsageError(
            "a file of prompts is for one scan, which needs no cluster.", where="--ray", cure="Leave out --ray."
        )
    model_folder(model.path)  # before anything is started
    outcome = _Outcome(plan, on_case)
    with connected(cluster.address), _probe(plan) as probe:
        remove_leftovers(plan)
        announce_shard(plan)
        share = choose_share(cluster)
        start = _starter(_order(model, plan, share, probe))
        try:
            with closing(Crew(start, share, outcome.note_ready).results(plan.jobs)) as results:
                for job, result in results:
                    outcome.add(job, result)
        finally:  # a run that is stopped has a summary, too
            remove_temporary_files(plan)
            summary = write_summary(plan)
    return replace(outcome.ended(), summary=summary)


class _Outcome:
    """What the workers report, gathered and shown."""

    def __init__(self, plan: Plan, on_case: OnCase | None):
        self._plan, self._on_case = plan, on_case
        self._failed, self._ended = FailureLog(plan), dict[Job, str]()
        self._has_labels = False

    def note_ready(self, ready: Ready) -> None:
        """Write the file of the organs' names with the first worker that knows them."""
        if not self._has_labels:
            write_label_file(self._plan, ready.labels)
            self._has_labels = True

    def add(self, job: Job, result: CaseResult) -> None:
        """Take in the result of a case."""
        for level, line in result.notes:
            log.log(level, "%s", line)
        if isinstance(result.end, Failure):
            self._failed.add(replace(result.end, job=job))
            if not result.is_reported:
                write_failed_report(self._plan, job, None, result.end.error)
        self._ended[job] = "failed" if isinstance(result.end, Failure) else result.end
        if self._on_case:
            self._on_case(len(self._ended), len(self._plan.jobs), job.case)

    def ended(self) -> BatchOutcome:
        """Return all results in the order of the plan."""
        done, skipped = (
            tuple(job for job in self._plan.jobs if self._ended.get(job) == end) for end in ("done", "skipped")
        )
        return BatchOutcome(done, skipped, tuple(self._failed.failures))


def _order(model: ModelChoice, plan: Plan, share: Share, probe: Path | None) -> Order:
    level = logging.getLogger("sautomed").getEffectiveLevel()
    return Order(replace(plan, jobs=()), model, share, Path.cwd(), probe, level)


def _starter(order: Order) -> Callable[[], Any]:
    """Return a function that starts a worker."""
    import ray

    worker = ray.remote(**order.share.options)(CaseWorker)
    shared = ray.put(order)
    return lambda: worker.remote(shared)


def _probe(plan: Plan) -> AbstractContextManager[Path | None]:
    """Return what keeps a probe in the folder of the outputs; of none if it is in a remote store."""
    folder = plan.folder or plan.jobs[0].place_of(plan.jobs[0].targets[0]).parent
    return probe_in(folder) if isinstance(folder, Path) else nullcontext()
