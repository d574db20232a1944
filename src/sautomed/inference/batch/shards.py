"""Parts of a cohort, for several processes that know nothing of each other, such as the tasks of a Slurm array."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from sautomed.errors import UsageError

log = logging.getLogger(__name__)
T = TypeVar("T")
_SHARD = re.compile(r"([0-9]{1,6})/([0-9]{1,6})", re.ASCII)
_RUN_FILE = re.compile(r"(summary|failures)(\.shard-[0-9]+-of-[0-9]+)?\.json", re.ASCII)


@dataclass(frozen=True)
class Shard:
    """One of `count` parts of the cases.

    Args:
        number: From 1 to `count`.
    """

    number: int
    count: int

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    def part_of(self, items: Sequence[T]) -> tuple[T, ...]:
        """Return every `count`-th item; each item is in exactly one shard, and sizes differ by one at most."""
        return tuple(items[self.number - 1 :: self.count])


@dataclass(frozen=True)
class Cohort:
    """All cases of a source, of which a shard is a part: shards of one cohort have every case once between them.

    Args:
        cases: How many there are.
        sha256: Of their sorted names.
    """

    cases: int
    sha256: str


def cohort_of(cases: Iterable[str]) -> Cohort:
    """Return what two lists of cases have in common if they have the same names."""
    names = sorted(cases)
    return Cohort(len(names), hashlib.sha256(json.dumps(names).encode()).hexdigest())


def run_file(name: str, shard: Shard | None = None) -> str:
    """Return the name of a file of the whole run, or of the shard: summary.json or summary.shard-3-of-10.json."""
    return f"{name}.json" if shard is None else f"{name}.shard-{shard.number}-of-{shard.count}.json"


def is_run_file(name: str) -> bool:
    """Return whether a file of a run, or of any shard, may have this name."""
    return _RUN_FILE.fullmatch(name) is not None


def shard_of_text(text: str) -> Shard:
    """Return the shard that i/n names; "slurm" is that of this task of a Slurm array.

    Raises:
        UsageError: It names none.
    """
    if text == "slurm":
        return _shard_of_this_task()
    found = _SHARD.fullmatch(text)
    shard = Shard(int(found[1]), int(found[2])) if found else None
    if shard is None or not 1 <= shard.number <= shard.count:
        raise UsageError(
            f"'{text}' is no shard: two numbers are needed, the first from 1 to the second.",
            where="--shard",
            cure="Give for example 1/4, 2/4, 3/4 and 4/4 to four processes.",
        )
    return shard


def _shard_of_this_task() -> Shard:
    shard = shard_of_slurm(os.environ)
    if shard is None:
        raise UsageError(
            "there is no Slurm array here: SLURM_ARRAY_TASK_ID and SLURM_ARRAY_TASK_COUNT are not set.",
            where="--shard slurm",
            cure="Submit it by sbatch --array, or give for example --shard 1/4.",
        )
    return shard


def shard_of_slurm(environment: Mapping[str, str]) -> Shard | None:
    """Return the shard of this task of a Slurm array, by the variables that Slurm sets; None outside an array.

    Raises:
        UsageError: The numbers of the array are not evenly spaced, so that they name no shards.
    """
    task, count = environment.get("SLURM_ARRAY_TASK_ID"), environment.get("SLURM_ARRAY_TASK_COUNT")
    if not task or not count:
        return None
    first = environment.get("SLURM_ARRAY_TASK_MIN") or "0"
    step = environment.get("SLURM_ARRAY_TASK_STEP") or "1"
    last = environment.get("SLURM_ARRAY_TASK_MAX") or str(int(first) + (int(count) - 1) * int(step))
    expected = range(int(first), int(last) + 1, max(int(step), 1))
    if int(task) not in expected or len(expected) != int(count):
        raise UsageError(
            f"task {task} of a Slurm array of {count} tasks from {first} to {last} is no shard, as the numbers are not "
            "evenly spaced.",
            where="SLURM_ARRAY_TASK_ID",
            cure=f"Use --array=0-{int(count) - 1}, or give --shard, such as --shard 1/{count}.",
        )
    return Shard(expected.index(int(task)) + 1, int(count))
