"""What the name of a file says: its case, its number, and whether it is a file of a dataset at all.

Formats are told by content when a file is read; a name only says which files belong together.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from pathlib import Path, PurePath

from sautomed.scans.paths import is_dangling

CHANNEL_SUFFIX = "_0000"  # nnU-Net's number of the first image channel
# The longer of two endings that fit comes first. Headers with the voxels in a second file (.nhdr, .mhd) count too.
FILE_ENDINGS = (".nii.gz", ".nii", ".seg.nrrd", ".nrrd", ".nhdr", ".mha", ".mhd")
_SHOWN = 5


def without_ending(name: str) -> str:
    """A file name without the ending of an image format; another name as it is."""
    return next((name[: -len(ending)] for ending in FILE_ENDINGS if name.lower().endswith(ending)), name)


def case_name(path: Path) -> str:
    """The case that a scan or label map is of: its name without ending and without nnU-Net's channel number."""
    return without_ending(path.name).removesuffix(CHANNEL_SUFFIX)


def is_hidden(path: Path) -> bool:
    """Whether a name has a leading dot: file managers (macOS: `._NAME`) and interrupted writes leave such files."""
    return path.name.startswith(".")


def files_in(folder: Path, *endings: str) -> list[Path]:
    """The files of a folder whose names end so, sorted, without the hidden ones; none if there is no such folder.

    A link to nothing counts, so that a file that was not fetched is told and not passed over.
    """
    if not folder.is_dir():
        return []
    return [
        path
        for path in sorted(folder.iterdir())
        if path.name.lower().endswith(endings) and not is_hidden(path) and (path.is_file() or is_dangling(path))
    ]


def folders_in(folder: Path) -> list[Path]:
    """The folders in a folder, sorted by the numbers in their names, without the hidden ones."""
    if not folder.is_dir():
        return []
    return sorted((path for path in folder.iterdir() if path.is_dir() and not is_hidden(path)), key=in_number_order)


def first_with(folder: Path, below: Iterable[str], fits: Callable[[Path], bool]) -> Path | None:
    """The first of the folders `folder / below` that fits, or None."""
    return next((root for root in (folder / part for part in below) if root.is_dir() and fits(root)), None)


def in_number_order(path: Path) -> tuple[int, str]:
    """A sorting key that puts 2 before 10; names without a number come first."""
    return trailing_number(path.name), path.name


def trailing_number(name: str) -> int:
    """The last number in a name without its ending, -1 if there is none."""
    stem = without_ending(name)
    numbers = re.findall(r"\d+", stem if stem != name else PurePath(name).stem)
    return int(numbers[-1]) if numbers else -1


def listed(names: Iterable[str]) -> str:
    """The first names, and how many more there are."""
    names = list(names)
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def lonely(images: set[str], labels: set[str]) -> list[str]:
    """Each name that only one side has, with its kind and the nearest unpaired name of the other side."""
    told = []
    for kind, mine, others in (("image", images, labels), ("label map", labels, images)):
        for name in sorted(mine - others):
            near = get_close_matches(name, sorted(others - mine), n=1)
            told.append(f"{kind} {name}" + (f" (nearest: {near[0]})" if near else ""))
    return told
