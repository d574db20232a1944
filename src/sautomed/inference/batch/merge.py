"""Make one summary of a run that was done in parts: by shards, or case by case."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sautomed.errors import NoCases, TargetExists, UnpairedFiles
from sautomed.errors.text import listed
from sautomed.inference.batch.case_report import failure_row, write_failures
from sautomed.inference.batch.json_files import read_objects, remove_file
from sautomed.inference.batch.places import Place, Url
from sautomed.inference.batch.refusals import foreign_lists, refuse_web
from sautomed.inference.batch.remote import files_below
from sautomed.inference.batch.report_parts import SCHEMA
from sautomed.inference.batch.scan_list import read_scan_list
from sautomed.inference.batch.shard_files import ShardFile, absent_shards, require_one_cohort, shard_files_in
from sautomed.inference.batch.shards import run_file
from sautomed.inference.batch.summary import CaseSummary, summarise, summarised_cases, write_case_summaries
from sautomed.inference.batch.used_models import UsedModel, used_models
from sautomed.inference.prompts.file import ENDING as PROMPTS_ENDING
from sautomed.scans.paths import require_folder

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Merged:
    """The cases of a whole run.

    Args:
        cases: Those with a CASE.json, by need of review.
        missing: Those without one.
        shards: Shards, such as 3/10, that have not begun, so that it is not known which cases are theirs.
        models: By which they were segmented; with more than one, their numbers are hard to compare.
    """

    cases: tuple[CaseSummary, ...]
    missing: tuple[str, ...] = ()
    shards: tuple[str, ...] = ()
    models: tuple[UsedModel, ...] = ()

    @property
    def failed(self) -> tuple[str, ...]:
        return tuple(case.case for case in self.cases if case.status != "done")


def merge(folder: Place, scan_list: Place | None = None) -> Merged:
    """Write summary.json and failures.json of all cases in a folder of outputs.

    Which cases there are is known from the list if one is given, else from the files that shards write when they begin;
    without either, they are those that have a CASE.json.

    Cases of several models are no refusal: each is a result, and what is to be reviewed, was missed or failed must be
    known either way. The summary names the models.

    Raises:
        MissingFile: There is no such folder.
        UsageError: It is on a web server.
        NoCases: It holds nothing of a run.
        BadList: The list cannot be used.
        MixedShards: There is no list, and shards are of different ones.
        UnpairedFiles: A case has two reports.
        TargetExists: A file with the name of a summary is not ours.
        UnwritableTarget, AccessRefused, Unreachable, PackageMissing.
    """
    refuse_web(folder)
    if isinstance(folder, Path):
        require_folder(folder)
    summary, failures = folder / run_file("summary"), folder / run_file("failures")
    for place in foreign_lists(failures, summary):
        raise TargetExists(
            "exists already and was not written by a segmentation.",
            where=str(place),
            cure="Rename it, so that the summary can be written.",
        )
    shards = shard_files_in(folder) if scan_list is None else []
    planned = _planned_cases(folder, scan_list, shards)
    _warn_of_others(summary, planned)
    reports = dict(zip(planned, read_objects([folder / name for name in planned.values()]), strict=True))
    done = {case: report for case, report in reports.items() if report.get("schema") == SCHEMA}
    merged = Merged(
        summarise(done.values()),
        tuple(case for case in planned if case not in done),
        absent_shards(shards),
        used_models(done.values()),
    )
    _write(merged, done.values(), len(planned), summary, failures)
    return merged


def _planned_cases(folder: Place, scan_list: Place | None, shards: Sequence[ShardFile]) -> dict[str, str]:
    """Return all cases, each with the path of its CASE.json in the folder."""
    if scan_list is not None:
        return {entry.case: f"{entry.output}.json" for entry in read_scan_list(scan_list)}
    require_one_cohort(shards, folder)
    planned = {case: path for shard in shards for case, path in shard.planned.items()} or _reported_in(folder)
    if not planned:
        raise NoCases(
            "holds no CASE.json of a segmentation.",
            where=str(folder),
            cure="Give the folder that segment wrote with -o.",
        )
    return planned


def _warn_of_others(summary: Place, planned: Mapping[str, str]) -> None:
    """Name cases of an earlier summary, such as that of a run without shards, that are not in the new one."""
    others = [case for case in summarised_cases(summary) if case not in planned]
    if others:
        log.warning(
            "%s: %d cases that it had are no longer in it, as they are of another run: %s. To have them in it, give "
            "a list of all cases with --list.",
            summary,
            len(others),
            listed(others),
        )


def _write(merged: Merged, reports: Iterable[Mapping[str, Any]], cases: int, summary: Place, failures: Place) -> None:
    rows = [failure_row(report) for report in reports if report.get("status") != "done"]
    if rows:
        write_failures(failures, rows, cases)
    else:
        remove_file(failures)
    several = len(merged.models) > 1
    write_case_summaries(summary, merged.cases, {"models": [m.entry for m in merged.models]} if several else {})


def _reported_in(folder: Place) -> dict[str, str]:
    """Return the cases that have a CASE.json, each with its path."""
    names = [name for name in _names_in(folder) if name.endswith(".json") and not name.endswith(PROMPTS_ENDING)]
    cases: dict[str, str] = {}
    for name, report in zip(names, read_objects([folder / name for name in names]), strict=True):
        if report.get("schema") != SCHEMA:
            continue
        other = cases.setdefault(str(report.get("case")), name)
        if other != name:
            raise UnpairedFiles(
                f"{other} and {name} are both of the case {report.get('case')}.",
                where=str(folder),
                cure="Remove one of them, or give the list of cases with --list.",
            )
    return cases


def _names_in(folder: Place) -> list[str]:
    """Return the paths of the files in a folder and in those below it, sorted."""
    if isinstance(folder, Url):
        return sorted(files_below(folder))
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.name.startswith("."))
