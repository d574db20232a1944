"""The cases of a run that failed: in memory, in failures.json and in each CASE.json."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sautomed.errors import (
    AccessRefused,
    DataError,
    MemoryShortage,
    NoDicomSource,
    OutputMismatch,
    SautomedError,
    Unreachable,
    UnwritableTarget,
)
from sautomed.inference.batch.case_report import failed_report, failure_row, write_failures
from sautomed.inference.batch.jobs import Job, Plan
from sautomed.inference.batch.json_files import read_object, write_object
from sautomed.scans import Geometry

log = logging.getLogger(__name__)

# Errors of one case that do not concern the others: bad data, too large, or outputs that cannot be written.
CASE_FAULTS = (DataError, MemoryShortage, UnwritableTarget, NoDicomSource, OutputMismatch)
# A disk or store that takes or gives no files.
STORE_FAULTS = (UnwritableTarget, AccessRefused, Unreachable)


OnHeader = Callable[[Geometry], None]


@dataclass(frozen=True)
class Failure:
    """A case that could not be segmented, and why."""

    job: Job
    error: SautomedError


class FailureLog:
    """The cases that failed, written to disk at once, so that a killed run has reported them."""

    def __init__(self, plan: Plan):
        self.plan = plan
        self.failures: list[Failure] = []

    @contextmanager
    def recording(self, job: Job) -> Iterator[OnHeader]:
        """Add a fault of the case that the block raises, and write its CASE.json; yields as `reporting`."""
        with reporting(self.plan, job, self.add) as on_header:
            yield on_header

    def add(self, failure: Failure) -> None:
        """Add a failure to failures.json; on a full disk that cannot be, but the error is still printed at the end."""
        self.failures.append(failure)
        if self.plan.failures is None:
            return
        reports = (failed_report(failed.job.case, failed.job.source, None, failed.error) for failed in self.failures)
        with _warning_of_full_disk(failure.job):
            write_failures(self.plan.failures, [failure_row(report) for report in reports], len(self.plan.jobs))


@contextmanager
def reporting(plan: Plan, job: Job, on_failure: Callable[[Failure], None]) -> Iterator[OnHeader]:
    """Pass a fault of the case that the block raises to `on_failure`, and write its CASE.json.

    Yields what is to be called with the header of the scan once that is read, so that the report has it.
    """
    geometry: Geometry | None = None

    def note(header: Geometry) -> None:
        nonlocal geometry
        geometry = header

    try:
        yield note
    except CASE_FAULTS as error:
        on_failure(Failure(job, error))
        write_failed_report(plan, job, geometry, error)


def write_failed_report(plan: Plan, job: Job, geometry: Geometry | None, error: SautomedError) -> None:
    """Write the CASE.json of a case that failed, if it has one and the disk has room.

    If a run resumes, the CASE.json of a case that is done stays, and with it the mark of its outputs: a scan that is
    out of reach today is no reason to make them again. So does one that cannot be read now.
    """
    if job.report is None or (plan.options.resume and isinstance(error, AccessRefused | Unreachable)):
        return
    with _warning_of_full_disk(job):
        if plan.options.resume and read_object(job.place_of(job.report)).get("status") == "done":
            return
        write_object(job.place_of(job.report), failed_report(job.case, job.source, geometry, error))


@contextmanager
def _warning_of_full_disk(job: Job) -> Iterator[None]:
    try:
        yield
    except STORE_FAULTS as error:
        log.warning("The failure of %s could not be written: %s", job.case, error)
