"""Read the values of text headers; each is checked before it is used."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from sautomed.errors import BadGeometry, DataError, MissingFile, NotAScan
from sautomed.scans.paths import require_file
from sautomed.scans.payload import open_bytes

T = TypeVar("T")
MAX_HEADER_BYTES = 1 << 22  # ours: hundreds of named segments take a hundredth of it
MAX_AXES = 16  # of NRRD
_WHOLE = re.compile(r"[+-]?[0-9]{1,18}")
_SEVERAL = re.compile(r"^LIST\b|%[0-9]*d", re.IGNORECASE)


def read_start(path: Path) -> bytes:
    """Read as much of a file as a header may take."""
    with open_bytes(path) as stream:
        return stream.read(MAX_HEADER_BYTES)


def damaged(path: Path, reason: str) -> DataError:
    """Return the error for a header that contradicts itself or its format."""
    return BadGeometry(f"has a damaged header: {reason}.", where=path, cure="Write it again, or download it again.")


def not_read(path: Path, fault: str) -> NotAScan:
    """Return the error for a valid header that is not supported, unlike in ITK."""
    return NotAScan(
        f"{fault}, which is not read.",
        where=path,
        cure="Write it again as one file, for example with 3D Slicer or SimpleITK.",
    )


def parse_integers(text: str, path: Path, name: str) -> list[int]:
    """Return the integers of a text, separated by blanks.

    Raises:
        BadGeometry: A word is not an integer.
    """
    words = text.split()
    if not words or not all(_WHOLE.fullmatch(word) for word in words):
        raise damaged(path, f"{name} should be whole numbers, but is {_quoted(text)}")
    return [int(word) for word in words]


def look_up(text: str, known: Mapping[str, T], path: Path, name: str) -> T:
    """Return the entry of `known` for a word, ignoring case; raises NotAScan, with the known words, for others."""
    meaning = known.get(" ".join(text.lower().split()))
    if meaning is None:
        raise NotAScan(
            f"has the {name} {_quoted(text)}, which is not read.",
            where=path,
            cure=f"Write it again with one of: {', '.join(known)}.",
        )
    return meaning


def parse_floats(text: str, count: int, path: Path, name: str) -> NDArray[np.float64]:
    """Return `count` floats, separated by blanks; NaN and infinity are left for the caller to check.

    Raises:
        BadGeometry: There are more or fewer, or a word is not a number.
    """
    words = text.split()
    try:
        values = np.array([float(word) for word in words], dtype=np.float64)
    except ValueError:
        values = np.empty(0)
    if len(values) != count:
        raise damaged(path, f"{name} should be {count} numbers, but is {_quoted(text)}")
    return values


def data_file(name: str, header: Path) -> Path:
    """Return the file of voxels that a header names, which must be in the header's folder.

    Raises:
        NotAScan: The name leaves the folder, or is a pattern for several files.
        MissingFile: There is no such file.
    """
    name = name.strip()
    if _SEVERAL.search(name):
        raise not_read(header, f"keeps its voxels in several files ({_quoted(name)})")
    plain = name.removeprefix("./")
    if not plain or plain in (".", "..") or any(sign in plain for sign in "/\\:\0"):
        raise NotAScan(
            f"names the data file {_quoted(name)}, but the voxels must be in the folder of their header.",
            where=header,
            cure="Put both into one folder and let the header name the bare file.",
        )
    path = header.parent / plain
    try:
        require_file(path)
    except (MissingFile, OSError) as error:
        raise MissingFile(
            f"names the data file {_quoted(plain)}, which is not in the same folder.",
            where=header,
            cure="Copy both files together.",
        ) from error
    return path


def _quoted(text: str) -> str:
    """Return a value for a message: quoted, on one line, not too long."""
    shortened = text if len(text) <= 60 else text[:57] + "..."
    return repr(shortened)
