"""Make one summary of a run that was done in parts: by shards, or case by case."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sautomed.errors import NoCases, TargetExists, UnpairedFiles
from sautomed.inference.batch.case_report import SCHEMA, failure_row, write_failures
from sautomed.inference.batch.json_files import read_objects, remove_file
from sautomed.inference.batch.places import Place, Url
from sautomed.inference.batch.refusals import foreign_lists, refuse_web
from sautomed.inference.batch.remote import files_below
from sautomed.inference.batch.scan_list import read_scan_list
from sautomed.inference.batch.shards import run_file
from sautomed.inference.batch.summary import CaseSummary, summarise, write_case_summaries
from sautomed.inference.prompts.file import ENDING as PROMPTS_ENDING
from sautomed.scans.paths import require_folder

_SHARD_FILE = re.compile(r"summary\.shard-([0-9]{1,6})-of-([0-9]{1,6})\.json", re.ASCII)


@dataclass(frozen=True)
class Merged:
    """The cases of a whole run.

    Args:
        cases: Those with a CASE.json, by need of review.
        missing: Those without one.
        shards: Shards, such as 3/10, that have not begun, so that it is not known which cases are theirs.
    """

    cases: tuple[CaseSummary, ...]
    missing: tuple[str, ...] = ()
    shards: tuple[str, ...] = ()

    @property
    def failed(self) -> tuple[str, ...]:
        return tuple(case.case for case in self.cases if case.status != "done")


def merge(folder: Place, scan_list: Place | None = None) -> Merged:
    """Write summary.json and failures.json of all cases in a folder of outputs.

    Which cases there are is known from the list if one is given, else from the files that shards write when they begin;
    without either, they are those that have a CASE.json.

    Raises:
        MissingFile: There is no such folder.
        UsageError: It is on a web server.
        NoCases: It holds nothing of a run.
        BadList: The list cannot be used.
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
    shards = _shards_in(folder)
    if scan_list is not None:
        planned = {entry.case: f"{entry.output}.json" for entry in read_scan_list(scan_list)}
    else:
        planned = _planned_by(folder, shards) or _reported_in(folder)
    if not planned:
        raise NoCases(
            "holds no CASE.json of a segmentation.",
            where=str(folder),
            cure="Give the folder that segment wrote with -o.",
        )
    reports = dict(zip(planned, read_objects([folder / name for name in planned.values()]), strict=True))
    done = {case: report for case, report in reports.items() if report.get("schema") == SCHEMA}
    merged = Merged(
        summarise(done.values()),
        tuple(case for case in planned if case not in done),
        () if scan_list is not None else _absent(shards),
    )
    rows = [failure_row(report) for report in done.values() if report.get("status") != "done"]
    if rows:
        write_failures(failures, rows, len(planned))
    else:
        remove_file(failures)
    write_case_summaries(summary, merged.cases)
    return merged


def _shards_in(folder: Place) -> Mapping[int, Mapping[int, str]]:
    """Return the names of the files that shards wrote: by their count, and then by number."""
    shards: dict[int, dict[int, str]] = defaultdict(dict)
    for name in _names_in(folder, "summary.shard-"):
        found = _SHARD_FILE.fullmatch(name)
        if found:
            shards[int(found[2])][int(found[1])] = name
    return shards


def _planned_by(folder: Place, shards: Mapping[int, Mapping[int, str]]) -> dict[str, str]:
    """Return the cases of all shards, each with the path of its CASE.json."""
    planned: dict[str, str] = {}
    files = [folder / name for numbers in shards.values() for name in numbers.values()]
    for content in read_objects(files):
        cases = content.get("planned")
        planned |= {str(case): str(path) for case, path in (cases if isinstance(cases, dict) else {}).items()}
    return planned


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


def _names_in(folder: Place, prefix: str = "") -> list[str]:
    """Return the paths of files in a folder that begin so, sorted; without a prefix also those in folders below."""
    if isinstance(folder, Url):
        return sorted(files_below(folder, prefix))
    found = folder.glob(f"{prefix}*") if prefix else folder.rglob("*")
    return sorted(path.relative_to(folder).as_posix() for path in found if not path.name.startswith("."))


def _absent(shards: Mapping[int, Mapping[int, str]]) -> tuple[str, ...]:
    """Return the shards that have not begun, unless all cases are those of other, complete ones."""
    absent = {count: sorted(set(range(1, count + 1)) - numbers.keys()) for count, numbers in sorted(shards.items())}
    if not all(absent.values()):
        return ()
    return tuple(f"{number}/{count}" for count, numbers in absent.items() for number in numbers)
