"""The jobs of a run: each scan with its outputs and options. Plain values, which may go to other processes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from sautomed.inference.batch.places import Place, Url
from sautomed.inference.batch.shards import Cohort, Shard, run_file
from sautomed.inference.prompts.check import Replay
from sautomed.scans import ReadOptions
from sautomed.scans.formats import LABEL_ENDINGS
from sautomed.scans.read import DEFAULT_OPTIONS

DICOM_ENDING = ".dcm"
LABELS_NAME = "itksnap_labels.txt"


@dataclass(frozen=True)
class SegmentOptions:
    """The options of a run.

    Args:
        formats: Endings without their dot, such as "nrrd" or "seg.dcm"; by default that of the output's name, or
            `DEFAULT_FORMAT`.
        reading: How to read a scan.
        preview: Draw a picture of each case.
        report: Write CASE.json for a single scan too; for a folder or list of scans it is always written.
        overwrite: Replace existing outputs.
        resume: Skip cases whose CASE.json and outputs are complete and of the same provenance.
        max_ram_gb: Largest main memory of the process, in GB (10^9 bytes); None: what the machine has.
        replay: Prompts of an earlier result, by which the scan is segmented.
    """

    formats: tuple[str, ...] = ()
    reading: ReadOptions = DEFAULT_OPTIONS
    preview: bool = True
    report: bool = False
    overwrite: bool = False
    resume: bool = False
    max_ram_gb: float | None = None
    replay: Replay | None = None


DEFAULTS = SegmentOptions()


@dataclass(frozen=True)
class Remote:
    """Where the files of a job are, as far as they are in a remote store (`staging.py` copies them).

    Args:
        scan: Of the scan; the job's path of it is then only its name.
        output: Of the folder of outputs; the job's paths of them are then relative to it.
        version: Of the scan (`remote.Found.version`), once that is known.
    """

    scan: Url | None = None
    output: Url | None = None
    version: str | None = None


@dataclass(frozen=True)
class Job:
    """One scan and its output files.

    Args:
        targets: The label map, once in each format.
        preview: The picture, if one is drawn.
        report: CASE.json, if it is written.
        prompts: FILE.prompts.json, of a system that has box prompts.
        series: DICOM series of this scan; None: by the options of the run.
        remote: If the scan or its outputs are not on a local disk.
    """

    case: str
    scan: Path
    targets: tuple[Path, ...]
    preview: Path | None = None
    report: Path | None = None
    prompts: Path | None = None
    series: str | None = None
    remote: Remote | None = None

    @property
    def results(self) -> tuple[Path, ...]:
        """The files that the report lists."""
        return (*self.targets, *(path for path in (self.prompts, self.preview) if path is not None))

    @property
    def outputs(self) -> tuple[Path, ...]:
        """All files in the order of writing; the report is last, so that it never lists a file that does not exist."""
        return self.results if self.report is None else (*self.results, self.report)

    @property
    def source(self) -> Place:
        """Where the scan comes from: its URL, or its path."""
        return self.scan if self.remote is None or self.remote.scan is None else self.remote.scan

    def place_of(self, output: Path) -> Place:
        """Return where an output goes to: its URL, or its path."""
        return output if self.remote is None or self.remote.output is None else self.remote.output / output


@dataclass(frozen=True)
class Plan:
    """The jobs of a run.

    Args:
        folder: Of failures.json, summary.json and the label file for ITK-SNAP; None if the outputs are single files.
        several: Whether the source is a folder or list of scans; then a scan that fails does not end the run.
        shard: Of the source's cases, those that the jobs are for; None: all.
        cohort: All cases of the source, if the jobs are those of a shard.
    """

    jobs: tuple[Job, ...]
    options: SegmentOptions = DEFAULTS
    folder: Place | None = None
    several: bool = False
    shard: Shard | None = None
    cohort: Cohort | None = None

    @property
    def failures(self) -> Place | None:
        return self._run_file("failures")

    @property
    def summary(self) -> Place | None:
        return self._run_file("summary")

    @property
    def label_file(self) -> Place | None:
        """The same for all shards, so only the first writes it."""
        others = self.shard is not None and self.shard.number != 1
        return None if self.folder is None or others else self.folder / LABELS_NAME

    @property
    def shared(self) -> tuple[Place, ...]:
        """The files that all jobs share."""
        return tuple(place for place in (self.failures, self.summary, self.label_file) if place is not None)

    @property
    def reports(self) -> Mapping[str, Place]:
        """CASE.json of each case that has one."""
        return {job.case: job.place_of(job.report) for job in self.jobs if job.report is not None}

    def without_prompts(self) -> Plan:
        """Return the plan for a system without box prompts, which has none to write."""
        return replace(self, jobs=tuple(replace(job, prompts=None) for job in self.jobs))

    def reading_of(self, job: Job) -> ReadOptions:
        """Return how to read the scan of a job."""
        return self.options.reading if job.series is None else replace(self.options.reading, series=job.series)

    def _run_file(self, name: str) -> Place | None:
        return self.folder / run_file(name, self.shard) if self.folder is not None and self.several else None


def writes_dicom(job: Job) -> bool:
    """Return whether a job writes DICOM, which refers to the images of a DICOM scan."""
    return any(target.name.endswith(DICOM_ENDING) for target in job.targets)


def label_ending(path: Path) -> str | None:
    """Return the ending of a label map's name, the longest that fits (.seg.nrrd before .nrrd), or None."""
    name = path.name.lower()
    fitting = [ending for ending in LABEL_ENDINGS if name.endswith(ending) and name != ending]
    return max(fitting, key=len, default=None)
