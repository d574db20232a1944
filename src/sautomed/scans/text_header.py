"""Headers that are text: read no further than their end, and each value judged before it is believed."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sautomed.errors import BadGeometry, DataError, MissingFile, NotAScan
from sautomed.scans.paths import require_file
from sautomed.scans.payload import open_bytes

HEADER_LIMIT = 1 << 22  # ours: hundreds of named segments fit into a hundredth of it
MOST_AXES = 16  # NRRD's own limit
_WHOLE = re.compile(r"[+-]?[0-9]{1,18}")
_SEVERAL = re.compile(r"^LIST\b|%[0-9]*d", re.IGNORECASE)


def read_start(path: Path) -> bytes:
    """As much of a file as a header may take."""
    with open_bytes(path) as stream:
        return stream.read(HEADER_LIMIT)


def damaged(path: Path, told: str) -> DataError:
    """The fault of a header that contradicts itself or its format."""
    return BadGeometry(f"has a damaged header: {told}.", where=path, cure="Write it again, or download it again.")


def whole_numbers(text: str, path: Path, name: str) -> list[int]:
    """Blank-separated integers.

    Raises:
        BadGeometry: Something else is among them.
    """
    words = text.split()
    if not words or not all(_WHOLE.fullmatch(word) for word in words):
        raise damaged(path, f"{name} should be whole numbers, but is {_shown(text)}")
    return [int(word) for word in words]


def one_of(text: str, known: dict[str, str], path: Path, name: str) -> str:
    """The meaning of a word; raises NotAScan, naming what is known, for others."""
    meaning = known.get(" ".join(text.lower().split()))
    if meaning is None:
        raise NotAScan(
            f"has the {name} {_shown(text)}, which is not read.",
            where=path,
            cure=f"Write it again with one of: {', '.join(dict.fromkeys(known))}.",
        )
    return meaning


def numbers(text: str, count: int, path: Path, name: str) -> NDArray[np.float64]:
    """So many blank-separated floats; NaN and infinity too, to be judged by who asks.

    Raises:
        BadGeometry: There are more or fewer, or something else is among them.
    """
    words = text.split()
    try:
        values = np.array([float(word) for word in words], dtype=np.float64)
    except ValueError:
        values = np.empty(0)
    if len(values) != count:
        raise damaged(path, f"{name} should be {count} numbers, but is {_shown(text)}")
    return values


def data_file(name: str, header: Path) -> Path:
    """The file of voxels that a header names; it must lie beside the header.

    Raises:
        DataError: NotAScan if the name leaves the folder or stands for several files; MissingFile.
    """
    name = name.strip()
    if _SEVERAL.search(name):
        raise NotAScan(
            f"keeps its voxels in several files ({_shown(name)}), which is not read.",
            where=header,
            cure="Write it again as one file, for example with 3D Slicer or SimpleITK.",
        )
    plain = name.removeprefix("./")
    if not plain or plain in (".", "..") or any(sign in plain for sign in "/\\:\0"):
        raise NotAScan(
            f"names the data file {_shown(name)}, but the voxels must lie in the folder of their header.",
            where=header,
            cure="Put both into one folder and let the header name the bare file.",
        )
    path = header.parent / plain
    try:
        require_file(path)
    except (MissingFile, OSError) as error:
        raise MissingFile(
            f"names the data file {_shown(plain)}, which does not lie beside it.",
            where=header,
            cure="Copy both files together.",
        ) from error
    return path


def _shown(text: str) -> str:
    """A value for a message: quoted, on one line, not too long."""
    shortened = text if len(text) <= 60 else text[:57] + "..."
    return repr(shortened)
