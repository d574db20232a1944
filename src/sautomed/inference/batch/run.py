"""The run over the jobs of a plan: what needs no work is left, what cannot work is told, and the rest is segmented."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from sautomed.errors import (
    DataError,
    MemoryShortage,
    NoDicomSource,
    OutputMismatch,
    SautomedError,
    UnwritableTarget,
)
from sautomed.inference import memory
from sautomed.inference.batch.backoff import Segmented, memory_shortage, segment_with_backoff
from sautomed.inference.batch.case_report import Course, done_report, failed_report, write_failures
from sautomed.inference.batch.jobs import Job, Plan
from sautomed.inference.batch.preflight import Task, clear_the_way, prepare_job, require_space
from sautomed.inference.model import Model, with_chunk
from sautomed.inference.preview import draw_preview
from sautomed.inference.segmenting import is_memory_shortage
from sautomed.scans import Geometry
from sautomed.scans.files import write_json
from sautomed.scans.volume import LabelMap, Volume
from sautomed.scans.write import write_itksnap_labels

log = logging.getLogger(__name__)

OnJobSlice = Callable[[Job, int, int], None]  # job, slices done, slices in all
# What one case may suffer without the others: bad data, too large, or its own outputs cannot be written.
CASE_FAULTS = (DataError, MemoryShortage, UnwritableTarget, NoDicomSource, OutputMismatch)


@dataclass(frozen=True)
class Failure:
    """A case that could not be segmented, and why."""

    job: Job
    error: SautomedError


@dataclass(frozen=True)
class Outcome:
    """How a run ended: each job of the plan stands in one of the three."""

    done: tuple[Job, ...] = ()
    skipped: tuple[Job, ...] = ()
    failures: tuple[Failure, ...] = ()


def run_plan(model: Model, plan: Plan, on_slice: OnJobSlice | None = None) -> Outcome:
    """Segment scan after scan; one that fails is noted, in failures.json too, and the rest goes on.

    Before the first scan is segmented, every scan's header has been read, its need of memory and of space predicted,
    and, if the plan resumes, the hashes of what is there compared.

    Args:
        on_slice: Called after each slice; for a job that is left as it is once, as if it had one slice.
    Raises:
        UnwritableTarget: There is no space for the outputs, or shared files cannot be written.
    """
    clear_the_way(plan)
    ledger, tasks, skipped, done = _Ledger(plan), [], [], []
    cost = memory.trunk_cost(model.network, int(model.settings.data.image_size))
    for job in plan.jobs:
        with ledger.noting(job):
            task = prepare_job(model, plan, job, cost)
            if task is not None:
                tasks.append(task)
                continue
            skipped.append(job)
            if on_slice:
                on_slice(job, 1, 1)
    require_space(tasks)
    if tasks and plan.label_file is not None:
        write_itksnap_labels(model.labels, plan.label_file)
    for task in tasks:
        with ledger.noting(task.job, task.geometry):
            segment_task(model, task, plan, on_slice)
            done.append(task.job)
    return Outcome(tuple(done), tuple(skipped), tuple(ledger.failures))


def segment_task(model: Model, task: Task, plan: Plan, on_slice: OnJobSlice | None = None) -> LabelMap:
    """One scan to its files: label maps, then the picture, and last the report that vouches for them.

    Raises:
        One of `CASE_FAULTS`.
    """
    job, clock = task.job, _Clock()
    memory.forget_peak()
    with _shortage_named(job.scan):
        volume = model.read(job.scan, plan.options.reading)
        for text in volume.warnings:
            log.warning("%s", text)
        clock.stop("read")
        progress = None if on_slice is None else partial(on_slice, job)
        segmented = segment_with_backoff(with_chunk(model, task.chunk), volume, progress)
        clock.stop("segment")
        for target in job.targets:
            segmented.labels.save(target)
        if job.preview is not None:
            draw_preview(volume, segmented.labels, job.preview)
        clock.stop("write")
    if job.report is not None and task.origin is not None:
        course = _course(task, volume, segmented, clock.seconds)
        outputs = job.outputs[:-1]
        report = done_report(job.case, job.report, task.origin, task.geometry, segmented.labels, outputs, course)
        write_json(job.report, report)
    return segmented.labels


class _Clock:
    """Seconds of each stage, from the end of the one before."""

    def __init__(self) -> None:
        self.began = time.perf_counter()
        self.seconds: dict[str, float] = {}

    def stop(self, stage: str) -> None:
        now = time.perf_counter()
        self.seconds[stage], self.began = round(now - self.began, 3), now


class _Ledger:
    """Notes the cases that failed, at once and on disk, so that a run that is killed has told of them."""

    def __init__(self, plan: Plan):
        self.plan = plan
        self.failures: list[Failure] = []

    @contextmanager
    def noting(self, job: Job, geometry: Geometry | None = None) -> Iterator[None]:
        try:
            yield
        except CASE_FAULTS as error:
            self.failures.append(Failure(job, error))
            self._write(job, geometry, error)

    def _write(self, job: Job, geometry: Geometry | None, error: SautomedError) -> None:
        """On a full disk neither file can be written; the terminal still tells the fault."""
        rows = [(failure.job.case, failure.job.scan, failure.error) for failure in self.failures]
        try:
            if self.plan.failures is not None:
                write_failures(self.plan.failures, rows, len(self.plan.jobs))
            if job.report is not None:
                write_json(job.report, failed_report(job.case, job.scan, geometry, error))
        except UnwritableTarget as second:
            log.warning("The failure of %s could not be written down: %s", job.case, second)


def _course(task: Task, volume: Volume, segmented: Segmented, seconds: dict[str, float]) -> Course:
    return Course(
        device=segmented.device.type,
        chunk=segmented.chunk,
        seconds=seconds,
        predicted_bytes=task.predicted_bytes,
        peak_bytes=memory.peak_bytes(),
        cuda_peak_bytes=torch.cuda.max_memory_allocated() if segmented.device.type == "cuda" else None,
        warnings=(*volume.warnings, *segmented.notes),
    )


@contextmanager
def _shortage_named(scan: Path) -> Iterator[None]:
    """Memory that runs out while reading or writing is told like any other fault of the case."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_memory_shortage(error):
            raise
        raise memory_shortage(scan) from error
