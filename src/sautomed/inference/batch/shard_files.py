"""The files in which shards tell `merge` which cases they have: the summary of each, from the start of its run.

Beside the entries of summary.json, such a file has
"planned": {case: path of its CASE.json from there}, so that it is known which cases are missing,
"cohort": {"cases": number of all cases of the source, "sha256": of their sorted names}, so that shards of a folder or
          list that has changed meanwhile are recognised.
"""

from __future__ import annotations

import logging
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sautomed.errors import MixedShards
from sautomed.errors.text import listed
from sautomed.inference.batch.jobs import Plan
from sautomed.inference.batch.json_files import read_objects
from sautomed.inference.batch.places import Place, Url
from sautomed.inference.batch.remote import files_below
from sautomed.inference.batch.report_parts import part_of
from sautomed.inference.batch.shards import Cohort, Shard

log = logging.getLogger(__name__)
_NAME = re.compile(r"summary\.shard-([0-9]{1,6})-of-([0-9]{1,6})\.json", re.ASCII)


@dataclass(frozen=True)
class ShardFile:
    """What the file of a shard says.

    Args:
        planned: Its cases, each with the path of its CASE.json in the folder of outputs.
        cohort: All cases of its source; None in files of older versions.
    """

    name: str
    shard: Shard
    planned: Mapping[str, str]
    cohort: Cohort | None


def shard_entries(plan: Plan) -> dict[str, object]:
    """Return what the summary of a shard has beside its cases; nothing for a run of all cases."""
    if plan.shard is None or plan.cohort is None:
        return {}
    reports = ((job.case, job.report) for job in plan.jobs if job.report is not None)
    folder = plan.folder if isinstance(plan.folder, Path) else Path()
    planned = {case: report.relative_to(folder).as_posix() for case, report in reports}
    return {"planned": planned, "cohort": asdict(plan.cohort)}


def shard_files_in(folder: Place) -> list[ShardFile]:
    """Read the files that shards wrote into a folder of outputs, sorted by name.

    Raises:
        AccessRefused, Unreachable, PackageMissing: Of a URL.
    """
    prefix = "summary.shard-"
    names = files_below(folder, prefix) if isinstance(folder, Url) else (p.name for p in folder.glob(f"{prefix}*"))
    found = [match for name in sorted(names) if (match := _NAME.fullmatch(name))]
    contents = read_objects([folder / match[0] for match in found])
    return [_shard_file(match, content) for match, content in zip(found, contents, strict=True)]


def _shard_file(name: re.Match[str], content: Mapping[str, Any]) -> ShardFile:
    planned = {str(case): str(path) for case, path in part_of(content, "planned").items()}
    cohort = part_of(content, "cohort")
    is_known = isinstance(cohort.get("cases"), int) and isinstance(cohort.get("sha256"), str)
    return ShardFile(
        name[0],
        Shard(int(name[1]), int(name[2])),
        planned,
        Cohort(cohort["cases"], cohort["sha256"]) if is_known else None,
    )


def absent_shards(files: Sequence[ShardFile]) -> tuple[str, ...]:
    """Return the shards, such as 3/10, that have not begun, unless all cases are those of other, complete ones."""
    begun: dict[int, set[int]] = defaultdict(set)
    for file in files:
        begun[file.shard.count].add(file.shard.number)
    absent = {count: sorted(set(range(1, count + 1)) - numbers) for count, numbers in sorted(begun.items())}
    if not all(absent.values()):
        return ()
    return tuple(str(Shard(number, count)) for count, numbers in absent.items() for number in numbers)


def require_one_cohort(files: Sequence[ShardFile], folder: Place) -> None:
    """Refuse shards of different lists of cases: between them, they leave cases out or have some twice.

    A warning names the files of older versions, which do not say what they are parts of.

    Raises:
        MixedShards: There are shards of several lists.
    """
    shards: dict[Cohort | None, list[ShardFile]] = defaultdict(list)
    for file in files:
        shards[file.cohort].append(file)
    unknown = shards.pop(None, [])
    if len(shards) > 1 and not any(_covers(found, files) for found in shards.values()):
        parts = "; ".join(f"{_named(found)} of {cohort.cases} cases" for cohort, found in shards.items() if cohort)
        raise MixedShards(
            f"has shards of different lists of cases: {parts}.",
            where=str(folder),
            cure="Remove the files summary.shard-* there, run all shards with --resume, then merge again; or give the "
            "list of all cases with --list.",
        )
    if unknown:
        log.warning(
            "%s: an older version wrote these shards without all cases of their source: %s. If scans were added or "
            "removed between them, cases are left out or there twice: run them again with --resume, then merge again.",
            folder,
            _named(unknown),
        )


def _covers(shards: Sequence[ShardFile], files: Sequence[ShardFile]) -> bool:
    """Return whether these are all shards of a list, and all cases of other files are theirs too.

    So it is after all scans of a folder that has grown were run again, in another number of shards.
    """
    if absent_shards(shards):
        return False
    cases = {case for shard in shards for case in shard.planned}
    return all(cases >= file.planned.keys() for file in files)


def _named(files: Sequence[ShardFile]) -> str:
    return listed(file.shard for file in files)
