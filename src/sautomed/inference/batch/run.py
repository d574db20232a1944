"""Run a plan: skip jobs that are done, report those that cannot be done, and segment the rest."""

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
from sautomed.inference.batch.backoff import (
    SegmentedVolume,
    SlicesOf,
    memory_shortage,
    segment_with_backoff,
    slices_of_model,
)
from sautomed.inference.batch.case_report import NOT_ASSESSED, Execution, done_report, failed_report, write_failures
from sautomed.inference.batch.jobs import Job, Plan
from sautomed.inference.batch.preflight import PreparedJob, prepare_job, remove_leftovers, require_space
from sautomed.inference.batch.summary import CaseSummary, summarise, write_case_summaries
from sautomed.inference.confidence.review import CaseConfidence, case_confidence
from sautomed.inference.device import is_memory_shortage
from sautomed.inference.model import Model, with_chunk
from sautomed.inference.preview import draw_preview
from sautomed.inference.prompts.collect import prompts_document, scan_identity
from sautomed.inference.prompts.document import PromptsDocument
from sautomed.inference.prompts.file import write_prompts
from sautomed.scans import Geometry
from sautomed.scans.files import write_json
from sautomed.scans.volume import LabelMap, Volume
from sautomed.scans.write import write_itksnap_labels

log = logging.getLogger(__name__)

OnJobSlice = Callable[[Job, int, int], None]  # job, slices done, slices in total
# Errors of one case that do not concern the others: bad data, too large, or outputs that cannot be written.
CASE_FAULTS = (DataError, MemoryShortage, UnwritableTarget, NoDicomSource, OutputMismatch)


@dataclass(frozen=True)
class Failure:
    """A case that could not be segmented, and why."""

    job: Job
    error: SautomedError


@dataclass(frozen=True)
class BatchOutcome:
    """How a run ended: every job of the plan is done, skipped (done earlier) or failed.

    Args:
        summary: Of the cases of a folder of scans, by need of review.
    """

    done: tuple[Job, ...] = ()
    skipped: tuple[Job, ...] = ()
    failures: tuple[Failure, ...] = ()
    summary: tuple[CaseSummary, ...] = ()


def run_plan(
    model: Model, plan: Plan, on_slice: OnJobSlice | None = None, slices_of: SlicesOf = slices_of_model
) -> BatchOutcome:
    """Segment scan after scan; one that fails is listed in failures.json, and the others are still segmented.

    Before the first scan is segmented, every header is read, memory and space are predicted and, if the plan resumes,
    the hashes of existing outputs are compared.

    Args:
        on_slice: Called after each slice; a skipped job reports 1 of 1.
        slices_of: Segments; in place of the model alone.
    Raises:
        UnwritableTarget: There is no space for the outputs, or shared files cannot be written.
        PromptsMismatch: The prompts to replay belong to another scan or model.
    """
    if not model.network.makes_prompts:
        plan = plan.without_prompts()
    remove_leftovers(plan)
    failed, prepared, skipped, done = FailureLog(plan), [], [], []
    cost = memory.trunk_cost(model.network, int(model.settings.data.image_size))
    for job in plan.jobs:
        with failed.recording(job):
            ready = prepare_job(model, plan, job, cost)
            if ready is not None:
                prepared.append(ready)
                continue
            skipped.append(job)
            if on_slice:
                on_slice(job, 1, 1)
    require_space(prepared)
    if prepared and plan.label_file is not None:
        write_itksnap_labels(model.labels, plan.label_file)
    try:
        for ready in prepared:
            with failed.recording(ready.job, ready.geometry):
                segment_job(model, ready, plan, on_slice, slices_of)
                done.append(ready.job)
    finally:  # a run that is stopped has a summary, too
        summary = write_summary(plan)
    return BatchOutcome(tuple(done), tuple(skipped), tuple(failed.failures), summary)


def write_summary(plan: Plan) -> tuple[CaseSummary, ...]:
    """Write summary.json of all cases that have a report, those of earlier runs included, and return what it says."""
    if plan.summary is None:
        return ()
    summary = summarise(job.report for job in plan.jobs if job.report is not None)
    try:
        write_case_summaries(plan.summary, summary)
    except UnwritableTarget as error:  # a full disk; each case has its own report
        log.warning("%s", error)
    return summary


def segment_job(
    model: Model,
    prepared: PreparedJob,
    plan: Plan,
    on_slice: OnJobSlice | None = None,
    slices_of: SlicesOf = slices_of_model,
) -> LabelMap:
    """Segment one scan and write its label maps, then the prompts, the picture and the report.

    Raises:
        DataError: The scan cannot be used; likewise any other of `CASE_FAULTS`.
    """
    job, clock = prepared.job, _Clock()
    memory.reset_peak()
    with _naming_scan_on_shortage(job.scan):
        volume = model.read(job.scan, plan.options.reading)
        clock.lap("read")
        progress = None if on_slice is None else partial(on_slice, job)
        segmented = segment_with_backoff(with_chunk(model, prepared.chunk), volume, progress, slices_of)
        confidence = _confidence(model, plan, segmented)
        clock.lap("segment")
        for target in job.targets:
            segmented.labels.save(target)
        prompts = _prompts(model, prepared, plan, volume, segmented)
        if prompts is not None and job.prompts is not None:
            write_prompts(job.prompts, prompts)
        if job.preview is not None:
            draw_preview(volume, segmented.labels, job.preview, prompts=prompts)
        clock.lap("write")
    if job.report is not None and prepared.provenance is not None:
        execution = _execution(prepared, volume, segmented, clock.seconds)
        report = done_report(
            job.case, job.report, prepared.provenance, prepared.geometry, segmented.labels, job.results, execution,
            confidence,
        )  # fmt: skip
        write_json(job.report, report)
    return segmented.labels


def _confidence(model: Model, plan: Plan, segmented: SegmentedVolume) -> CaseConfidence:
    """Return how sure a result is; nothing of one that a person has corrected, as the signals are the model's alone."""
    if plan.options.replay is not None and plan.options.replay.document.has_edits:
        return NOT_ASSESSED
    return case_confidence(segmented.labels, segmented.signals, model.bundle.organ_sizes, model.bundle.predictor)


def _prompts(
    model: Model, prepared: PreparedJob, plan: Plan, volume: Volume, segmented: SegmentedVolume
) -> PromptsDocument | None:
    """Return the document of the prompts; None of a system that has none."""
    if not segmented.prompts or prepared.provenance is None:
        return None
    scan = scan_identity(volume, prepared.provenance.input_sha256, plan.options.reading)
    document = prompts_document(scan, model, segmented.chunk, segmented.prompts)
    if plan.options.replay is None:
        return document
    edited = plan.options.replay.document
    return document.with_edits(edited.given(), edited.carried, edited.locked)


class _Clock:
    """Seconds of each stage, each from the end of the previous one."""

    def __init__(self) -> None:
        self.started = time.perf_counter()
        self.seconds: dict[str, float] = {}

    def lap(self, stage: str) -> None:
        now = time.perf_counter()
        self.seconds[stage], self.started = round(now - self.started, 3), now


class FailureLog:
    """The cases that failed, written to disk at once, so that a killed run has reported them."""

    def __init__(self, plan: Plan):
        self.plan = plan
        self.failures: list[Failure] = []

    @contextmanager
    def recording(self, job: Job, geometry: Geometry | None = None) -> Iterator[None]:
        """Add a fault of the case that the block raises, and write its CASE.json."""
        try:
            yield
        except CASE_FAULTS as error:
            self.add(Failure(job, error))
            write_failed_report(job, geometry, error)

    def add(self, failure: Failure) -> None:
        """Add a failure to failures.json; on a full disk that cannot be, but the error is still printed at the end."""
        self.failures.append(failure)
        if self.plan.failures is None:
            return
        rows = [(failed.job.case, failed.job.scan, failed.error) for failed in self.failures]
        with _warning_of_full_disk(failure.job):
            write_failures(self.plan.failures, rows, len(self.plan.jobs))


def write_failed_report(job: Job, geometry: Geometry | None, error: SautomedError) -> None:
    """Write the CASE.json of a case that failed, if it has one and the disk has room."""
    if job.report is not None:
        with _warning_of_full_disk(job):
            write_json(job.report, failed_report(job.case, job.scan, geometry, error))


@contextmanager
def _warning_of_full_disk(job: Job) -> Iterator[None]:
    try:
        yield
    except UnwritableTarget as error:
        log.warning("The failure of %s could not be written: %s", job.case, error)


def _execution(
    prepared: PreparedJob, volume: Volume, segmented: SegmentedVolume, seconds: dict[str, float]
) -> Execution:
    return Execution(
        device=segmented.device.type,
        chunk=segmented.chunk,
        seconds=seconds,
        predicted_bytes=prepared.predicted_bytes,
        peak_bytes=memory.peak_bytes(),
        cuda_peak_bytes=torch.cuda.max_memory_allocated() if segmented.device.type == "cuda" else None,
        warnings=(*volume.warnings, *segmented.notes),
    )


@contextmanager
def _naming_scan_on_shortage(scan: Path) -> Iterator[None]:
    """Turn memory that runs out while reading or writing into an error of the case."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_memory_shortage(error):
            raise
        raise memory_shortage(scan) from error
