"""Plan where the outputs of each scan go, and refuse, before any work, to replace files that must stay."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from sautomed.errors import TargetExists, UnknownFormat, UnpairedFiles, UnwritableTarget, UsageError
from sautomed.inference.batch.case_report import is_failure_list, is_report
from sautomed.inference.batch.scans import Scan, find_scans
from sautomed.inference.batch.summary import is_case_summary
from sautomed.inference.prompts.check import Replay
from sautomed.inference.prompts.file import ENDING as PROMPTS_ENDING
from sautomed.scans import ReadOptions
from sautomed.scans.files import require_writable
from sautomed.scans.formats import LABEL_ENDINGS, ending_of
from sautomed.scans.paths import resolved_path
from sautomed.scans.read import DEFAULT_OPTIONS

DEFAULT_FORMAT = "nii.gz"
DICOM_ENDING = ".dcm"
FAILURES_NAME = "failures.json"
SUMMARY_NAME = "summary.json"
LABELS_NAME = "itksnap_labels.txt"
# Endings that no folder has: such an output is meant as a file, in a format that is not written.
_OTHER_FILES = (".dcm", ".gz", ".mhd", ".nhdr", ".hdr", ".img", ".zip", ".json", ".png")


@dataclass(frozen=True)
class SegmentOptions:
    """The options of a run.

    Args:
        formats: Endings without their dot, such as "nrrd" or "seg.dcm"; by default that of the output's name, or
            `DEFAULT_FORMAT`.
        reading: How to read a scan.
        preview: Draw a picture of each case.
        report: Write CASE.json for a single scan too; for a folder of scans it is always written.
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
class Job:
    """One scan and its output files.

    Args:
        targets: The label map, once in each format.
        preview: The picture, if one is drawn.
        report: CASE.json, if it is written.
        prompts: FILE.prompts.json, of a system that has box prompts.
    """

    case: str
    scan: Path
    targets: tuple[Path, ...]
    preview: Path | None = None
    report: Path | None = None
    prompts: Path | None = None

    @property
    def results(self) -> tuple[Path, ...]:
        """The files that the report lists."""
        return (*self.targets, *(path for path in (self.prompts, self.preview) if path is not None))

    @property
    def outputs(self) -> tuple[Path, ...]:
        """All files in the order of writing; the report is last, so that it never lists a file that does not exist."""
        return self.results if self.report is None else (*self.results, self.report)


@dataclass(frozen=True)
class Plan:
    """The jobs of a run.

    Args:
        folder: Of failures.json, summary.json and the label file for ITK-SNAP; None if the outputs are single files.
        several: Whether the source is a folder of scans; then a scan that fails does not end the run.
    """

    jobs: tuple[Job, ...]
    options: SegmentOptions = DEFAULTS
    folder: Path | None = None
    several: bool = False

    @property
    def failures(self) -> Path | None:
        return self.folder / FAILURES_NAME if self.folder and self.several else None

    @property
    def summary(self) -> Path | None:
        return self.folder / SUMMARY_NAME if self.folder and self.several else None

    @property
    def label_file(self) -> Path | None:
        return self.folder / LABELS_NAME if self.folder else None

    def without_prompts(self) -> Plan:
        """Return the plan for a system without box prompts, which has none to write."""
        return replace(self, jobs=tuple(replace(job, prompts=None) for job in self.jobs))

    @property
    def shared(self) -> tuple[Path, ...]:
        """The files that all jobs share."""
        return tuple(path for path in (self.failures, self.summary, self.label_file) if path is not None)


def plan_jobs(source: Path, output: Path, options: SegmentOptions = DEFAULTS) -> Plan:
    """Plan a scan to a file or into a folder, or a folder's scans into a folder.

    Raises:
        MissingFile, NoCases: Nothing to segment.
        UnknownFormat: A format is not written.
        UsageError: A folder of scans, but a file for its label maps, or prompts of one scan.
        UnpairedFiles: Two outputs would go to one file.
        TargetExists: An output is a scan, or exists and may not be replaced.
        UnwritableTarget: The place cannot be written, or a folder has the name of an output.
    """
    formats = _known_formats(options.formats)
    ending = None if output.is_dir() else label_ending(output)
    if ending is None and output.name.lower().endswith(_OTHER_FILES) and not output.is_dir():
        ending_of(output, LABEL_ENDINGS, "label maps")  # has none, and says so
    found = find_scans(source, output)
    if found.several and ending is not None:
        raise UsageError("a folder of scans needs a folder for its label maps.", where=output, cure="Give -o a folder.")
    if found.several and options.replay is not None:
        raise UsageError(
            "a file of prompts is for one scan, but this is a folder of scans.",
            where=source,
            cure=f"Give -i the scan itself, {options.replay.document.scan.name}.",
        )
    reports = options.report or options.resume or found.several
    if ending is None:
        endings = formats or (f".{DEFAULT_FORMAT}",)
        jobs = tuple(_job(scan, output / scan.case, endings, options, reports) for scan in found.scans)
        plan = Plan(jobs, options, output, found.several)
    else:
        stem, written = output.with_name(output.name[: -len(ending)]), output.name[-len(ending) :]
        endings = (written, *(other for other in formats if other != ending))
        plan = Plan((_job(found.scans[0], stem, endings, options, reports),), options)
    _refuse_clashes(plan)
    _refuse_existing_outputs(plan)
    _require_writable_folders(plan)
    return plan


def writes_dicom(job: Job) -> bool:
    """Return whether a job writes DICOM, which refers to the images of a DICOM scan."""
    return any(target.name.endswith(DICOM_ENDING) for target in job.targets)


def label_ending(path: Path) -> str | None:
    """Return the ending of a label map's name, the longest that fits (.seg.nrrd before .nrrd), or None."""
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
        _beside(stem, PROMPTS_ENDING),
    )


def _beside(stem: Path, ending: str) -> Path:
    return stem.with_name(stem.name + ending)


def _known_formats(formats: tuple[str, ...]) -> tuple[str, ...]:
    endings = tuple(f".{name.removeprefix('.')}" for name in formats)
    for ending in endings:
        if ending not in LABEL_ENDINGS:
            raise UnknownFormat(
                f"'{ending.removeprefix('.')}' is no format that label maps are written in.",
                where="--format",
                cure=f"Use one of {', '.join(known.removeprefix('.') for known in LABEL_ENDINGS)}.",
            )
    return tuple(dict.fromkeys(endings))


def _refuse_clashes(plan: Plan) -> None:
    """Refuse outputs that would replace a scan or the output of another scan, with --overwrite too."""
    owners = {resolved_path(path): f"the file {path.name} of the whole run" for path in plan.shared}
    scans = {resolved_path(job.scan) for job in plan.jobs}
    for job in plan.jobs:
        for output in job.outputs:
            place = resolved_path(output)
            if place in scans:
                raise TargetExists("is the scan itself.", where=output, cure="Give another -o.")
            if place in owners:
                raise UnpairedFiles(
                    f"{owners[place]} and {job.scan.name} would go to one file.",
                    where=output,
                    cure=f"Rename the scan {job.scan.name}.",
                )
            owners[place] = job.scan.name


def _refuse_existing_outputs(plan: Plan) -> None:
    """Refuse to replace files without --overwrite; --resume allows it for those that an earlier run wrote."""
    options = plan.options
    outputs = [path for job in plan.jobs for path in job.outputs]
    for path in (*outputs, *plan.shared):
        if path.is_dir():
            raise UnwritableTarget(
                "is a folder, but a file must be written there.", where=path, cure="Remove it, or give another -o."
            )
    if options.overwrite:
        return
    foreign = [*(_foreign_reports(plan) if options.resume else ()), *_foreign_lists(plan)]
    if foreign:
        raise TargetExists(
            "exists already and was not written by a segmentation.",
            where=foreign[0],
            cure="Use --overwrite to replace it, or another -o.",
        )
    existing = [] if options.resume else [path for path in outputs if path.exists()]
    if existing:
        raise TargetExists(
            f"{len(existing)} of {len(outputs)} outputs exist already.",
            where=existing[0],
            cure="Use --overwrite to replace them, --resume to continue an earlier run, or another -o.",
        )


def _require_writable_folders(plan: Plan) -> None:
    """Refuse folders in which the output with the longest name cannot be written."""
    longest: dict[Path, str] = {}
    for path in (path for job in plan.jobs for path in job.outputs):
        longest[path.parent] = max(longest.get(path.parent, ""), path.name, key=lambda name: len(os.fsencode(name)))
    for folder, name in longest.items():
        require_writable(folder, name)


def _foreign_lists(plan: Plan) -> Iterator[Path]:
    """Return files with the names of the run's lists that other tools, or `evaluate`, wrote."""
    for path, is_ours in ((plan.failures, is_failure_list), (plan.summary, is_case_summary)):
        if path is not None and path.exists() and not is_ours(path):
            yield path


def _foreign_reports(plan: Plan) -> Iterator[Path]:
    """Return files with the name of a report that other tools wrote."""
    return (job.report for job in plan.jobs if job.report and job.report.exists() and not is_report(job.report))
