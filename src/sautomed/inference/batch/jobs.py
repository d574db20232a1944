"""Where the outputs of each scan go, and what stands in their way; all of it is found before any work."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sautomed.errors import TargetExists, UnknownFormat, UnpairedFiles, UnwritableTarget, UsageError
from sautomed.inference.batch.case_report import is_failure_list, is_report
from sautomed.inference.batch.scans import Scan, find_scans
from sautomed.scans import ReadOptions
from sautomed.scans.files import require_writable
from sautomed.scans.paths import true_place
from sautomed.scans.read import PLAIN
from sautomed.scans.write import LABEL_ENDINGS

DEFAULT_FORMAT = "nii.gz"
DICOM_ENDING = ".dcm"
FAILURES_NAME = "failures.json"
LABELS_NAME = "itksnap_labels.txt"
# Endings that nobody gives a folder: an output called so is a file in a format that is not written.
_OTHER_FILES = (".dcm", ".gz", ".mhd", ".nhdr", ".hdr", ".img", ".zip", ".json", ".png")


@dataclass(frozen=True)
class SegmentOptions:
    """What a user may choose about a run.

    Args:
        formats: Endings without their dot, such as "nrrd" or "seg.dcm"; none means what the output's name says, or
            `DEFAULT_FORMAT`.
        reading: What a scan leaves open.
        preview: Draw a picture of each case.
        report: Write CASE.json for a single scan too; for a folder of scans it always is.
        overwrite: Outputs that are there may be replaced.
        resume: Cases whose CASE.json and outputs are whole and of the same making are left as they are.
        max_ram_gb: The most main memory that the process may hold, in GB (10^9 bytes); None: what the machine has.
    """

    formats: tuple[str, ...] = ()
    reading: ReadOptions = PLAIN
    preview: bool = True
    report: bool = False
    overwrite: bool = False
    resume: bool = False
    max_ram_gb: float | None = None


DEFAULTS = SegmentOptions()


@dataclass(frozen=True)
class Job:
    """One scan and where what is made of it goes.

    Args:
        targets: The label map, once in each format.
        preview: The picture, or None for none.
        report: CASE.json, or None for none.
    """

    case: str
    scan: Path
    targets: tuple[Path, ...]
    preview: Path | None = None
    report: Path | None = None

    @property
    def outputs(self) -> tuple[Path, ...]:
        """All files, in the order of writing: the report, which vouches for the others, comes last."""
        return (*self.targets, *(path for path in (self.preview, self.report) if path is not None))


@dataclass(frozen=True)
class Plan:
    """What a run will do.

    Args:
        folder: Where failures.json and the label file for ITK-SNAP go; None if the outputs are single files.
        several: Whether a folder of scans is worked through; then a scan that fails does not end the run.
    """

    jobs: tuple[Job, ...]
    options: SegmentOptions = DEFAULTS
    folder: Path | None = None
    several: bool = False

    @property
    def failures(self) -> Path | None:
        return self.folder / FAILURES_NAME if self.folder and self.several else None

    @property
    def label_file(self) -> Path | None:
        return self.folder / LABELS_NAME if self.folder else None

    @property
    def shared(self) -> tuple[Path, ...]:
        """The files of the whole run."""
        return tuple(path for path in (self.failures, self.label_file) if path is not None)


def plan_jobs(source: Path, output: Path, options: SegmentOptions = DEFAULTS) -> Plan:
    """Decide what goes where: a scan to a file or into a folder, a folder's scans into a folder.

    Raises:
        MissingFile, NoCases: Nothing to segment.
        UnknownFormat: A format is not written.
        UsageError: A folder of scans, but a file for its label maps.
        UnpairedFiles: Two outputs would go to one file.
        TargetExists: An output is a scan, or is there already and may not be replaced.
        UnwritableTarget: The place cannot be written, or a folder stands where a file must go.
    """
    formats = _known_formats(options.formats)
    named = None if output.is_dir() else ending_of(output)
    if named is None and output.name.lower().endswith(_OTHER_FILES) and not output.is_dir():
        raise _unknown(output.name, output)
    found = find_scans(source, output)
    if found.several and named is not None:
        raise UsageError("a folder of scans needs a folder for its label maps.", where=output, cure="Give -o a folder.")
    reports = options.report or options.resume or found.several
    if named is None:
        endings = formats or (f".{DEFAULT_FORMAT}",)
        jobs = tuple(_job(scan, output / scan.case, endings, options, reports) for scan in found.scans)
        plan = Plan(jobs, options, output, found.several)
    else:
        stem, written = output.with_name(output.name[: -len(named)]), output.name[-len(named) :]
        endings = (written, *(ending for ending in formats if ending != named))
        plan = Plan((_job(found.scans[0], stem, endings, options, reports),), options)
    _refuse_clashes(plan)
    _refuse_what_is_there(plan)
    longest: dict[Path, str] = {}
    for path in (path for job in plan.jobs for path in job.outputs):
        longest[path.parent] = max(longest.get(path.parent, ""), path.name, key=lambda name: len(os.fsencode(name)))
    for folder, name in longest.items():
        require_writable(folder, name)
    return plan


def wants_dicom(job: Job) -> bool:
    """Whether a job writes DICOM, which refers to the images of a DICOM scan."""
    return any(target.name.endswith(DICOM_ENDING) for target in job.targets)


def ending_of(path: Path) -> str | None:
    """The ending by which a name says its format, the longest that fits (.seg.nrrd before .nrrd); None if none does."""
    name = path.name.lower()
    fitting = [ending for ending in LABEL_ENDINGS if name.endswith(ending) and name != ending]
    return max(fitting, key=len, default=None)


def _job(scan: Scan, stem: Path, endings: tuple[str, ...], options: SegmentOptions, report: bool) -> Job:
    return Job(
        scan.case,
        scan.path,
        tuple(_beside(stem, ending) for ending in endings),
        _beside(stem, ".png") if options.preview else None,
        _beside(stem, ".json") if report else None,
    )


def _beside(stem: Path, ending: str) -> Path:
    return stem.with_name(stem.name + ending)


def _known_formats(formats: tuple[str, ...]) -> tuple[str, ...]:
    endings = tuple(f".{name.removeprefix('.')}" for name in formats)
    for ending in endings:
        if ending not in LABEL_ENDINGS:
            raise _unknown(ending.removeprefix("."), "--format")
    return tuple(dict.fromkeys(endings))


def _unknown(name: str, where: str | Path) -> UnknownFormat:
    known = ", ".join(ending.removeprefix(".") for ending in LABEL_ENDINGS)
    return UnknownFormat(f"'{name}' is no format that label maps are written in.", where=where, cure=f"Use {known}.")


def _refuse_clashes(plan: Plan) -> None:
    """An output may replace neither a scan nor the output of another scan, whatever the user allows."""
    owners = {true_place(path): f"the file {path.name} of the whole run" for path in plan.shared}
    scans = {true_place(job.scan) for job in plan.jobs}
    for job in plan.jobs:
        for output in job.outputs:
            place = true_place(output)
            if place in scans:
                raise TargetExists("is the scan itself.", where=output, cure="Give another -o.")
            if place in owners:
                raise UnpairedFiles(
                    f"{owners[place]} and {job.scan.name} would go to one file.",
                    where=output,
                    cure="Rename one of the two scans.",
                )
            owners[place] = job.scan.name


def _refuse_what_is_there(plan: Plan) -> None:
    """Files that are there stay unless the user says otherwise; `resume` covers only what an earlier run wrote."""
    options = plan.options
    outputs = [path for job in plan.jobs for path in job.outputs]
    for path in (*outputs, *plan.shared):
        if path.is_dir():
            raise UnwritableTarget(
                "is a folder, but a file must be written there.", where=path, cure="Remove it, or give another -o."
            )
    if options.overwrite:
        return
    there = list(_strangers(plan)) if options.resume else [path for path in outputs if path.exists()]
    if not there and plan.failures is not None and plan.failures.exists() and not is_failure_list(plan.failures):
        there = [plan.failures]
    if there and options.resume:
        raise TargetExists(
            "is there already and was not written by a segmentation, so there is nothing to resume.",
            where=there[0],
            cure="Use --overwrite to replace it, or another -o.",
        )
    if there:
        raise TargetExists(
            f"{len(there)} of {len(outputs)} outputs are there already.",
            where=there[0],
            cure="Use --overwrite to replace them, --resume to go on with an earlier run, or another -o.",
        )


def _strangers(plan: Plan) -> Iterator[Path]:
    """Reports that no run wrote: notes of other tools may well be called CASE.json."""
    return (job.report for job in plan.jobs if job.report and job.report.exists() and not is_report(job.report))
