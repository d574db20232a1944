"""File names in datasets: the case, the number in a name, and which files belong to a dataset at all.

Names only decide which files belong together; the format of a file is detected from its content when it is read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from pathlib import Path, PurePath

from sautomed.scans.formats import LABEL_FILE_ENDINGS
from sautomed.scans.paths import is_broken_link

CHANNEL_SUFFIX = "_0000"  # nnU-Net's number of the first image channel


def without_ending(name: str) -> str:
    """Return a file name without the ending of an image format, or unchanged if it has none."""
    return next((name[: -len(ending)] for ending in LABEL_FILE_ENDINGS if name.lower().endswith(ending)), name)


def case_name(path: Path) -> str:
    """Return the case id of a scan or label map: its name without ending and without nnU-Net's channel number."""
    return without_ending(path.name).removesuffix(CHANNEL_SUFFIX)


def is_hidden(path: Path) -> bool:
    """Return whether a name starts with a dot, like files of file managers (macOS: `._NAME`) and interrupted writes."""
    return path.name.startswith(".")


def files_in(folder: Path, *endings: str) -> list[Path]:
    """List the files of a folder with these endings, sorted, without hidden ones; none if there is no such folder.

    Broken links are listed too, so that a file that was not fetched is reported instead of skipped.
    """
    if not folder.is_dir():
        return []
    return [
        path
        for path in sorted(folder.iterdir())
        if path.name.lower().endswith(endings) and not is_hidden(path) and (path.is_file() or is_broken_link(path))
    ]


def folders_in(folder: Path) -> list[Path]:
    """List the folders in a folder, sorted by the numbers in their names, without hidden ones."""
    if not folder.is_dir():
        return []
    return sorted((path for path in folder.iterdir() if path.is_dir() and not is_hidden(path)), key=in_number_order)


def first_root(folder: Path, below: Iterable[str], accepts: Callable[[Path], bool]) -> Path | None:
    """Return the first existing folder `folder / below` that `accepts` accepts, or None."""
    return next((root for root in (folder / part for part in below) if root.is_dir() and accepts(root)), None)


def in_number_order(path: Path) -> tuple[int, str]:
    """Return a sorting key that puts 2 before 10; names without a number come first."""
    return trailing_number(path.name), path.name


def trailing_number(name: str) -> int:
    """Return the last number in a name without its ending, -1 if there is none."""
    stem = without_ending(name)
    numbers = re.findall(r"\d+", stem if stem != name else PurePath(name).stem)
    return int(numbers[-1]) if numbers else -1


def unpaired_names(images: set[str], labels: set[str]) -> list[str]:
    """Describe each name that only one side has, with its kind and the most similar unpaired name of the other side."""
    descriptions = []
    for kind, mine, others in (("image", images, labels), ("label map", labels, images)):
        for name in sorted(mine - others):
            near = get_close_matches(name, sorted(others - mine), n=1)
            descriptions.append(f"{kind} {name}" + (f" (nearest: {near[0]})" if near else ""))
    return descriptions
