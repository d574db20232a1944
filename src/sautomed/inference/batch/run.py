"""Run a plan: skip jobs that are done, report those that cannot be done, and segment the rest."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch

from sautomed.errors import TargetExists
from sautomed.inference import memory
from sautomed.inference.batch.backoff import (
    SegmentedVolume,
    SlicesOf,
    memory_shortage,
    segment_with_backoff,
    slices_of_model,
)
from sautomed.inference.batch.case_report import NOT_ASSESSED, Execution, done_report
from sautomed.inference.batch.done import known_sha256, why_not_done, why_remote_not_done
from sautomed.inference.batch.failure_log import Failure, FailureLog, OnHeader
from sautomed.inference.batch.jobs import Job, Plan
from sautomed.inference.batch.json_files import is_file_at, read_object
from sautomed.inference.batch.places import Url
from sautomed.inference.batch.preflight import (
    PreparedJob,
    prepare_job,
    provenance_of,
    remove_leftovers,
    require_space,
    say_why_again,
)
from sautomed.inference.batch.report_parts import SCHEMA
from sautomed.inference.batch.run_files import announce_shard, write_label_file, write_summary
from sautomed.inference.batch.staging import Stage, staged
from sautomed.inference.batch.summary import CaseSummary
from sautomed.inference.confidence.review import CaseConfidence, case_confidence
from sautomed.inference.device import is_memory_shortage
from sautomed.inference.model import Model, with_chunk
from sautomed.inference.prompts.collect import prompts_document, scan_identity
from sautomed.inference.prompts.document import PromptsDocument
from sautomed.inference.prompts.file import write_prompts
from sautomed.scans import Geometry
from sautomed.scans.files import write_json
from sautomed.scans.volume import LabelMap, Volume

log = logging.getLogger(__name__)

OnJobSlice = Callable[[Job, int, int], None]  # job, slices done, slices in total


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
    the hashes of existing outputs are compared; of remote jobs, that is done when their turn comes.

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
    announce_shard(plan)
    failed, prepared, done, skipped = FailureLog(plan), [], [], []

    def skip(job: Job) -> None:
        skipped.append(job)
        if on_slice:
            on_slice(job, 1, 1)

    cost = memory.trunk_cost(model.network, int(model.settings.data.image_size))
    remote = [job for job in plan.jobs if job.remote is not None]
    for job in (job for job in plan.jobs if job.remote is None):
        with failed.recording(job) as on_header:
            ready = prepare_job(model, plan, job, cost, on_header)
            skip(job) if ready is None else prepared.append(ready)
    require_space(prepared)
    if prepared or remote:
        write_label_file(plan, model.labels)
    try:
        for ready in prepared:
            with failed.recording(ready.job) as on_header:
                on_header(ready.geometry)
                segment_job(model, ready, plan, on_slice, slices_of)
                done.append(ready.job)
        for job in remote:
            with failed.recording(job) as on_header:
                is_new = carry_out(model, plan, job, cost, on_header, on_slice, slices_of)
                done.append(job) if is_new else skip(job)
    finally:  # a run that is stopped has a summary, too
        summary = write_summary(plan)
    return BatchOutcome(tuple(done), tuple(skipped), tuple(failed.failures), summary)


def carry_out(
    model: Model,
    plan: Plan,
    job: Job,
    cost: memory.TrunkCost,
    on_header: OnHeader,
    on_slice: OnJobSlice | None = None,
    slices_of: SlicesOf = slices_of_model,
) -> bool:
    """Do all of one job, wherever its files are; return whether it was segmented, False if it was done before.

    Args:
        on_header: Called with the header of the scan, which a report of a failure has.
    Raises:
        DataError: The scan cannot be used; likewise any other of `CASE_FAULTS`.
        TargetExists: A file with the name of its CASE.json is not ours.
        PackageMissing: A package for its URL is not installed.
    """
    if job.remote is None:
        return _segment_unless_done(model, plan, job, cost, on_header, on_slice, slices_of)
    with staged(job, job.remote, plan) as stage:
        if plan.options.resume and _is_staged_job_done(model, plan, job, stage):
            return False
        stage.fetch()
        again = replace(plan, options=replace(plan.options, resume=False))

        def with_places(header: Geometry) -> None:
            on_header(replace(header, warnings=tuple(map(stage.named_by_places, header.warnings))))

        _segment_unless_done(model, again, stage.job, cost, with_places, on_slice, slices_of)
        stage.send()
    return True


def _segment_unless_done(
    model: Model,
    plan: Plan,
    job: Job,
    cost: memory.TrunkCost,
    on_header: OnHeader,
    on_slice: OnJobSlice | None,
    slices_of: SlicesOf,
) -> bool:
    ready = prepare_job(model, plan, job, cost, on_header)
    if ready is None:
        return False
    require_space([ready])
    segment_job(model, ready, plan, on_slice, slices_of)
    return True


def _is_staged_job_done(model: Model, plan: Plan, job: Job, stage: Stage) -> bool:
    """Return whether a remote job was done before; its scan is only read if its store does not know its version."""
    if job.report is None or stage.job.report is None or stage.job.remote is None:
        return False
    place = job.place_of(job.report)
    report = read_object(place)
    if report.get("schema") != SCHEMA and not plan.options.overwrite and is_file_at(place):
        raise TargetExists(
            "exists already and was not written by a segmentation.",
            where=str(place),
            cure="Use --overwrite to replace it, or another -o.",
        )
    if report.get("status") != "done":
        return False
    sha256 = known_sha256(report, stage.job.remote.version)
    if sha256 is None:
        stage.fetch()
    provenance = provenance_of(model, plan, stage.job, sha256)
    if isinstance(place, Url):
        reason = why_remote_not_done(report, provenance, stage.results(), stage.sha256_of_result)
    else:
        reason = why_not_done(place, provenance, job.results)
    say_why_again(job, reason)
    return reason is None


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
        volume = model.read(job.scan, plan.reading_of(job))
        clock.lap("read")
        progress = None if on_slice is None else partial(on_slice, job)
        segmented = segment_with_backoff(with_chunk(model, prepared.chunk), volume, progress, slices_of)
        confidence = _confidence(model, plan, segmented)
        clock.lap("segment")
        for target in job.targets:
            segmented.labels.save(target)
        prompts = _prompts(prepared, plan, volume, segmented)
        if prompts is not None and job.prompts is not None:
            write_prompts(job.prompts, prompts)
        if job.preview is not None:
            from sautomed.inference.preview import draw_preview  # here: matplotlib takes half a second

            draw_preview(volume, segmented.labels, job.preview, prompts=prompts)
        clock.lap("write")
    if job.report is not None and prepared.provenance is not None:
        execution = _execution(prepared, volume, segmented, clock.seconds)
        provenance = prepared.provenance.ended_by(segmented.model.computing)
        report = done_report(
            job.case, job.report, provenance, prepared.geometry, segmented.labels, job.results, execution, confidence
        )
        write_json(job.report, report)
    return segmented.labels


def _confidence(model: Model, plan: Plan, segmented: SegmentedVolume) -> CaseConfidence:
    """Return how sure a result is; nothing of one that a person has corrected, as the signals are the model's alone."""
    if plan.options.replay is not None and plan.options.replay.document.has_edits:
        return NOT_ASSESSED
    return case_confidence(segmented.labels, segmented.signals, model.bundle.organ_sizes, model.bundle.predictor)


def _prompts(prepared: PreparedJob, plan: Plan, volume: Volume, segmented: SegmentedVolume) -> PromptsDocument | None:
    """Return the document of the prompts; None of a system that has none."""
    if not segmented.prompts or prepared.provenance is None:
        return None
    scan = scan_identity(volume, prepared.provenance.input_sha256, plan.reading_of(prepared.job))
    document = prompts_document(scan, segmented.model, segmented.chunk, segmented.prompts)
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


def _execution(
    prepared: PreparedJob, volume: Volume, segmented: SegmentedVolume, seconds: dict[str, float]
) -> Execution:
    job = prepared.job
    return Execution(
        device=segmented.device.type,
        chunk=segmented.chunk,
        seconds=seconds,
        predicted_bytes=prepared.predicted_bytes,
        peak_bytes=memory.peak_bytes(),
        cuda_peak_bytes=torch.cuda.max_memory_allocated() if segmented.device.type == "cuda" else None,
        warnings=tuple(note.replace(str(job.scan), str(job.source)) for note in (*volume.warnings, *segmented.notes)),
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
