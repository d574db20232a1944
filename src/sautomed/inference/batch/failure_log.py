"""The cases of a run that failed: in memory, in failures.json and in each CASE.json."""

from __future__ import annotations

import logging
from collections.abc import Iterator
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
from sautomed.inference.batch.json_files import write_object
from sautomed.scans import Geometry

log = logging.getLogger(__name__)

# Errors of one case that do not concern the others: bad data, too large, or outputs that cannot be written.
CASE_FAULTS = (DataError, MemoryShortage, UnwritableTarget, NoDicomSource, OutputMismatch)
# A disk or store that takes or gives no files.
STORE_FAULTS = (UnwritableTarget, AccessRefused, Unreachable)


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
        self._rows: list[dict[str, object]] = []

    @contextmanager
    def recording(self, job: Job, geometry: Geometry | None = None) -> Iterator[None]:
        """Record any of `CASE_FAULTS` that is raised in the context as the failure of a job."""
        try:
            yield
        except CASE_FAULTS as error:
            self.record(job, error, geometry)

    def record(self, job: Job, error: SautomedError, geometry: Geometry | None = None) -> None:
        """Write both files; on a full disk neither can be, but the error is still printed at the end."""
        self.failures.append(Failure(job, error))
        report = failed_report(job.case, job.source, geometry, error)
        self._rows.append(failure_row(report))
        try:
            if self.plan.failures is not None:
                write_failures(self.plan.failures, self._rows, len(self.plan.jobs))
            if job.report is not None and not self._may_be_done(error):
                write_object(job.place_of(job.report), report)
        except STORE_FAULTS as second:
            log.warning("The failure of %s could not be written: %s", job.case, second)

    def _may_be_done(self, error: SautomedError) -> bool:
        """Return whether CASE.json may be that of an earlier run which did the case, when its store was in reach."""
        return self.plan.options.resume and isinstance(error, AccessRefused | Unreachable)
