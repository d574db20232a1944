"""Read label maps stored as one PNG picture per slice: gray values in, labels out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sautomed.errors import GridMismatch, TruncatedFile, UnknownLabels, UnsupportedVoxels
from sautomed.errors.text import listed

GrayRange = tuple[int, int]  # above the first number, up to the second
_UNKNOWN = 255
_PILLOW_FAULTS = (OSError, SyntaxError, ValueError, OverflowError, Image.DecompressionBombError)


def labels_of_grays(ranges: Mapping[int, GrayRange]) -> NDArray[np.uint8]:
    """Return a table with the label of each gray value 0 to 255; 255 where there is none.

    Args:
        ranges: Gray values of each label.
    """
    table = np.full(256, _UNKNOWN, np.uint8)
    table[0] = 0
    for label, (above, to) in ranges.items():
        table[above + 1 : to + 1] = label
    return table


def read_label_pictures(
    paths: Sequence[Path], shape: tuple[int, int], table: NDArray[np.uint8], names: Mapping[int, str]
) -> NDArray[np.uint8]:
    """Read pictures as labels, in the order of the paths.

    Args:
        shape: Rows and columns that each must have.
        table: From `labels_of_grays`.
        names: Of the labels, for the message.
    Returns:
        (slice row column).
    Raises:
        TruncatedFile: A picture is damaged.
        UnsupportedVoxels: A picture is coloured.
        GridMismatch: A picture has another size.
        UnknownLabels: Gray values have no label; the message counts their pixels over all pictures.
    """
    grays = np.zeros((len(paths), *shape), np.uint16)
    for index, path in enumerate(paths):
        grays[index] = _read_gray(path, shape)
    labels = table[np.minimum(grays, 255)]
    labels[grays > 255] = _UNKNOWN
    unknown = Counter(grays[labels == _UNKNOWN].tolist())
    if unknown:
        counts = listed(f"{gray} ({count} pixels)" for gray, count in sorted(unknown.items()))
        known = listed(_describe_range(table, label, name) for label, name in names.items())
        first = paths[int(np.flatnonzero((labels == _UNKNOWN).any((1, 2)))[0])]
        raise UnknownLabels(
            f"holds gray values that mean no organ: {counts}, the first in {first.name}. Known are: {known}.",
            where=first.parent,
            cure="Take the pictures from the challenge's archive again: they may have been resampled or compressed.",
        )
    return labels


def _read_gray(path: Path, shape: tuple[int, int]) -> NDArray[Any]:
    with path.open("rb") as stream:
        with _as_truncated_file(path):
            picture: Image.Image = Image.open(stream)
        if (picture.height, picture.width) != shape:  # before any pixel is decoded
            raise GridMismatch(
                f"has {picture.height} x {picture.width} pixels, but its slice {shape[0]} x {shape[1]}.",
                where=path,
                cure="Use the pictures of this series, as they are in the challenge's archive.",
            )
        with _as_truncated_file(path):
            if picture.mode in ("P", "LA", "PA"):
                picture = picture.convert("L")
            gray = np.asarray(picture)
    if gray.ndim == 3 and all(np.array_equal(gray[..., 0], gray[..., channel]) for channel in (1, 2)):
        gray = gray[..., 0]
    if gray.ndim != 2 or gray.dtype.kind not in "bui" or (gray.dtype.kind == "i" and int(gray.min()) < 0):
        raise UnsupportedVoxels(
            "is a coloured picture, but labels are gray values.", where=path, cure="Save it with 8 bits of gray."
        )
    return np.minimum(gray.astype(np.int64), 65535).astype(np.uint16)


@contextmanager
def _as_truncated_file(path: Path) -> Iterator[None]:
    """Turn the exceptions that Pillow raises for a damaged file into TruncatedFile."""
    try:
        yield
    except _PILLOW_FAULTS as error:
        raise TruncatedFile(
            f"is no picture that can be read ({error}).", where=path, cure="Copy or download it again."
        ) from error


def _describe_range(table: NDArray[np.uint8], label: int, name: str) -> str:
    grays = np.flatnonzero(table == label)
    return f"{grays[0]} to {grays[-1]} {name}"
