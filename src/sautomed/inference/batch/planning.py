"""Plan where the outputs of each scan go, and refuse, before any work, to replace files that must stay."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sautomed.errors import UnknownFormat, UsageError
from sautomed.inference.batch.jobs import DEFAULTS, Job, Plan, Remote, SegmentOptions, label_ending
from sautomed.inference.batch.places import Place, Url
from sautomed.inference.batch.refusals import (
    closed_folders_refused,
    refuse_clashes,
    refuse_existing_outputs,
    refuse_web,
    require_writable_folders,
)
from sautomed.inference.batch.remote_scans import find_remote_scans
from sautomed.inference.batch.scan_list import Entry, read_scan_list
from sautomed.inference.batch.scans import find_scans
from sautomed.inference.batch.shards import Shard, cohort_of, shard_of_slurm
from sautomed.inference.prompts.file import ENDING as PROMPTS_ENDING
from sautomed.scans.formats import LABEL_ENDINGS, ending_of

log = logging.getLogger(__name__)

DEFAULT_FORMAT = "nii.gz"
# Endings that no folder has: such an output is meant as a file, in a format that is not written.
_OTHER_FILES = (".dcm", ".gz", ".mhd", ".nhdr", ".hdr", ".img", ".zip", ".json", ".png")


@dataclass(frozen=True)
class _Cases:
    """The cases of a source.

    Args:
        several: Whether the source is a folder or list of scans, even of one.
        is_list: Whether it is a list.
    """

    source: Place
    entries: Sequence[Entry]
    several: bool
    is_list: bool = False


@dataclass(frozen=True)
class _Target:
    """Where label maps go, and in which formats.

    Args:
        ending: Of a file; None if `place` is a folder.
        formats: Endings that were asked for; none if the default will do.
    """

    place: Place
    ending: str | None
    formats: tuple[str, ...]


def plan_jobs(source: Place, output: Place, options: SegmentOptions = DEFAULTS, shard: Shard | None = None) -> Plan:
    """Plan a scan to a file or into a folder, or a folder's scans into a folder.

    Args:
        shard: The part of a folder's scans to plan; None: all.
    Raises:
        MissingFile, NoCases: Nothing to segment.
        UnknownFormat: A format is not written.
        UsageError: A folder of scans, but a file for its label maps, or prompts or a shard of one scan.
        UnpairedFiles: Two outputs would go to one file.
        TargetExists: An output is a scan, or exists and may not be replaced.
        UnwritableTarget: The place cannot be written, or a folder has the name of an output.
        AccessRefused, Unreachable, PackageMissing: Of a URL.
    """
    target = _target_of(output, options)
    if isinstance(source, Url):
        entries, several = find_remote_scans(source, output)
        return _plan(_Cases(source, entries, several), target, options, shard)
    found = find_scans(source, output if isinstance(output, Path) else None)
    entries = [Entry(scan.case, scan.path, scan.case) for scan in found.scans]
    return _plan(_Cases(source, entries, found.several), target, options, shard)


def plan_list(scan_list: Place, output: Place, options: SegmentOptions = DEFAULTS, shard: Shard | None = None) -> Plan:
    """Plan the scans of a list into a folder; otherwise as `plan_jobs`.

    Args:
        shard: The part of the list to plan; None: of a task of a Slurm array, its part, else all.
    Raises:
        BadList: The list, or a row of it, cannot be used.
    """
    target = _target_of(output, options)
    return _plan(_Cases(scan_list, read_scan_list(scan_list), several=True, is_list=True), target, options, shard)


def _plan(cases: _Cases, target: _Target, options: SegmentOptions, shard: Shard | None) -> Plan:
    if cases.several and target.ending is not None:
        raise UsageError(
            "a folder or list of scans needs a folder for its label maps.",
            where=str(target.place),
            cure="Give -o a folder.",
        )
    if cases.several and options.replay is not None:
        raise UsageError(
            "a file of prompts is for one scan, but this is a folder or list of scans.",
            where=str(cases.source),
            cure=f"Give -i the scan itself, {options.replay.document.scan.name}.",
        )
    if shard is not None and not cases.several:
        raise UsageError(
            "is for a folder or list of scans, but this is one scan.", where="--shard", cure="Leave out --shard."
        )
    plan = _plan_of_all(cases, target, options)
    refuse_clashes(plan)
    plan = _part_of(plan, shard or _shard_of_array(cases))
    with closed_folders_refused():
        refuse_existing_outputs(plan)
        require_writable_folders(plan)
    return plan


def _plan_of_all(cases: _Cases, target: _Target, options: SegmentOptions) -> Plan:
    reports = options.report or options.resume or cases.several
    place, ending = target.place, target.ending
    if ending is None:
        endings = target.formats or (f".{DEFAULT_FORMAT}",)
        jobs = tuple(_job(entry, place, entry.output, endings, options, reports) for entry in cases.entries)
        return Plan(jobs, options, place, cases.several)
    stem, written = place.name[: -len(ending)], place.name[-len(ending) :]
    endings = (written, *(other for other in target.formats if other != ending))
    return Plan((_job(cases.entries[0], place.parent, stem, endings, options, reports),), options)


def _shard_of_array(cases: _Cases) -> Shard | None:
    """Return the shard of a list for the task of a Slurm array, and say so in the log.

    Not of a folder, which may be another one in each task.
    """
    shard = shard_of_slurm(os.environ) if cases.is_list else None
    if shard is not None:
        log.warning(
            "This is a task of a Slurm array, so it segments shard %s: %d of %d scans. --shard 1/1 takes all.",
            shard, len(shard.part_of(cases.entries)), len(cases.entries),
        )  # fmt: skip
    elif cases.several and "SLURM_ARRAY_TASK_ID" in os.environ:
        log.warning("This task of a Slurm array segments the whole folder. --shard slurm takes the task's part of it.")
    return shard


def _part_of(plan: Plan, shard: Shard | None) -> Plan:
    if shard is None:
        return plan
    jobs = sorted(plan.jobs, key=lambda job: job.case)
    return replace(plan, jobs=shard.part_of(jobs), shard=shard, cohort=cohort_of(job.case for job in jobs))


def _target_of(output: Place, options: SegmentOptions) -> _Target:
    refuse_web(output)
    formats = _known_formats(options.formats)
    with closed_folders_refused():
        if isinstance(output, Path) and output.is_dir():
            return _Target(output, None, formats)
    ending = label_ending(Path(output.name))
    if ending is None and output.name.lower().endswith(_OTHER_FILES):
        ending_of(str(output), LABEL_ENDINGS, "label maps")  # has none, and says so
    return _Target(output, ending, formats)


def _job(
    entry: Entry, folder: Place, stem: str, endings: tuple[str, ...], options: SegmentOptions, report: bool
) -> Job:
    scan_url = entry.scan if isinstance(entry.scan, Url) else None
    output_url = folder if isinstance(folder, Url) else None
    base = Path(stem) if isinstance(folder, Url) else folder / stem
    return Job(
        entry.case,
        Path(entry.scan.name) if isinstance(entry.scan, Url) else entry.scan,
        tuple(_beside(base, ending) for ending in endings),
        _beside(base, ".png") if options.preview else None,
        _beside(base, ".json") if report else None,
        _beside(base, PROMPTS_ENDING),
        entry.series,
        Remote(scan_url, output_url) if scan_url or output_url else None,
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
