"""Limits of main memory that containers, Slurm and systemd set: the control groups of Linux."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

MOUNTS = Path("/sys/fs/cgroup")
OWN_GROUPS = Path("/proc/self/cgroup")


@dataclass(frozen=True)
class _Files:
    """Names of the files of one version of control groups; `cache` and `mapped` are lines of `stat`.

    Cached files are counted as used up to the limit, and given up when memory is needed, unless a process maps them.
    """

    limit: str
    used: str
    cache: tuple[str, ...]
    mapped: str
    stat: str = "memory.stat"


_V2 = _Files("memory.max", "memory.current", ("active_file", "inactive_file"), "file_mapped")
_V1 = _Files(
    "memory.limit_in_bytes",
    "memory.usage_in_bytes",
    ("total_active_file", "total_inactive_file"),
    "total_mapped_file",
)


def room_in_groups(mounts: Path = MOUNTS, own_groups: Path = OWN_GROUPS) -> int | None:
    """Return how many bytes the limits of this process leave, of its own group and all above; None without a limit.

    Args:
        mounts: Where control groups are mounted.
        own_groups: The list of the groups that this process is in.
    """
    rooms = []
    for group, files in _groups(mounts, own_groups):
        with suppress(OSError, ValueError):  # no such group here, or the word "max"
            limit, used = (int((group / name).read_text()) for name in (files.limit, files.used))
            rooms.append(limit - used + _reclaimable(group / files.stat, files))
    return min(rooms, default=None)


def _groups(mounts: Path, own_groups: Path) -> Iterator[tuple[Path, _Files]]:
    """Yield the folders of the groups of this process, up to the mounts.

    Within a container its own group may be mounted at the top, so folders may be missing.
    """
    try:
        lines = own_groups.read_text().splitlines()
    except OSError:
        return
    for _, controllers, group in (line.split(":", 2) for line in lines if line.count(":") >= 2):
        below = Path(group.lstrip("/"))
        if not controllers:
            tops, files = [mounts, mounts / "unified"], _V2
        elif "memory" in controllers.split(","):
            tops, files = [mounts / "memory"], _V1
        else:
            continue
        for top in tops:
            for part in (below, *below.parents):
                yield top / part, files


def _reclaimable(stat: Path, files: _Files) -> int:
    """Return the bytes of cached files that are given up when memory is needed; 0 if the group does not tell."""
    counts = dict[str, int]()
    with suppress(OSError, ValueError):
        counts = {name: int(count) for name, count in map(str.split, stat.read_text().splitlines())}
    return max(sum(counts.get(name, 0) for name in files.cache) - counts.get(files.mapped, 0), 0)
