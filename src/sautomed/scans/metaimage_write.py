"""Write MetaImage: a text header and compressed voxels in one file.

Not with SimpleITK, whose writers do not distinguish a full disk from other errors.
"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sautomed.scans.affine import LPS_TO_RAS
from sautomed.scans.files import atomic_write
from sautomed.scans.grid import NativeGrid, spacing_of
from sautomed.scans.volume import LabelMap

_TYPES = {
    "i1": "MET_CHAR",
    "u1": "MET_UCHAR",
    "i2": "MET_SHORT",
    "u2": "MET_USHORT",
    "i4": "MET_INT",
    "u4": "MET_UINT",
    "i8": "MET_LONG_LONG",
    "u8": "MET_ULONG_LONG",
    "f4": "MET_FLOAT",
    "f8": "MET_DOUBLE",
}


def save_metaimage(array: NDArray[Any], native: NativeGrid, path: Path) -> None:
    """Write voxels behind a text header, compressed and atomically; the same input gives the same bytes.

    Args:
        array: (native.shape), any integer type or 32- or 64-bit floats.
    """
    lps = LPS_TO_RAS @ native.affine_to_write  # the matrix is its own inverse
    spacing_mm = np.array(spacing_of(lps))
    packed = zlib.compress(array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes(order="F"), 6)
    lines = [
        "ObjectType = Image",
        "NDims = 3",
        "BinaryData = True",
        "BinaryDataByteOrderMSB = False",
        "CompressedData = True",
        f"CompressedDataSize = {len(packed)}",
        f"TransformMatrix = {_row((lps[:3, :3] / spacing_mm).T.ravel())}",
        f"Offset = {_row(lps[:3, 3])}",
        "CenterOfRotation = 0 0 0",
        f"ElementSpacing = {_row(spacing_mm)}",
        f"DimSize = {' '.join(map(str, array.shape))}",
        f"ElementType = {_TYPES[array.dtype.str[1:]]}",
        "ElementDataFile = LOCAL",
    ]
    with atomic_write(path) as temporary, temporary.open("wb") as stream:
        stream.write(("\n".join(lines) + "\n").encode("ascii"))
        stream.write(packed)


def save_metaimage_labels(labels: LabelMap, path: Path) -> None:
    """Write a label map, without its names, which the format lacks."""
    save_metaimage(labels.to_smallest_native(), labels.native, path)


def _row(values: NDArray[np.float64]) -> str:
    return " ".join(repr(float(value) + 0.0) for value in values)  # no negative zeros
