"""One stored image at a time out of a DICOM file, by the most careful decoder there is for its compression."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.encaps import get_frame
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import (
    UID,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from sautomed.scans.dicom.codestream import Declared, declared
from sautomed.scans.dicom.header import FileHeader
from sautomed.scans.dicom.isolated import IsolatedDecoder

# Neither GDCM nor CharLS is among them: a damaged image can end or hold up the whole process (see `isolated`).
_DECODERS = ("pylibjpeg", "pydicom", "pillow")
_ISOLATED = (JPEGLossless, JPEGLosslessSV1, JPEGExtended12Bit, JPEGLSLossless, JPEGLSNearLossless)
_RLE_LIMIT = 64  # run lengths: two bytes become 128 at most
_JPEG_LIMIT = 256  # pixels per byte: a block of 64 takes two bits at least
_LARGE_PIXELS = 1 << 24  # ours: 4096 x 4096; smaller images may be as empty as they like
_PIXELS_PER_BYTE = 1000  # ours, asked only of larger ones: scans hold a few


class ImageDecoder:
    """Decodes images; use it within `with`, which ends what it started."""

    def __init__(self) -> None:
        self._isolated = IsolatedDecoder()
        logger = logging.getLogger("openjpeg")  # or it writes to the terminal what it raises too
        if not logger.handlers:
            logger.addHandler(logging.NullHandler())

    def __enter__(self) -> ImageDecoder:
        return self

    def __exit__(self, *_: object) -> None:
        self._isolated.__exit__()

    def decode(self, dataset: Dataset, index: int, header: FileHeader, syntax: UID) -> NDArray[Any]:
        """The stored numbers of one image, (rows columns).

        Args:
            dataset: The file with its pixels.
            index: Which of its images, from 0.
            syntax: How they are compressed.
        Raises:
            Almost anything, if the image is damaged; see `damage.translated`.
        """
        if syntax.is_encapsulated:
            encoded = _encoded(dataset, index, header)
            if syntax == RLELossless:
                _require_room(encoded, header)
            else:
                found = _require_declared(encoded, header)
                if syntax in (JPEGBaseline8Bit, JPEGExtended12Bit) and _pixels(header) > _JPEG_LIMIT * len(encoded):
                    raise _too_short(encoded, header)
                if syntax in _ISOLATED:
                    return _meant(self._isolated.decode(encoded, str(syntax), found), header)
        decoder = get_decoder(syntax)
        plugin = next((name for name in _DECODERS if name in decoder.available_plugins), "")
        if syntax.is_encapsulated and not plugin:
            raise ValueError("there is no decoder for it")
        stored: NDArray[Any] = decoder.as_array(dataset, index=index, raw=True, decoding_plugin=plugin)[0]
        if stored.shape != (header.rows, header.columns):
            raise ValueError(f"an image of {stored.shape} came out")
        return stored


def _encoded(dataset: Dataset, index: int, header: FileHeader) -> bytes:
    table = (dataset.get("ExtendedOffsetTable"), dataset.get("ExtendedOffsetTableLengths"))
    offsets = table if all(table) else None
    return bytes(get_frame(dataset.PixelData, index, extended_offsets=offsets, number_of_frames=header.frames))


def _require_room(encoded: bytes, header: FileHeader) -> None:
    """Refuse a run-length image that is too short for its pixels."""
    if _pixels(header) * (header.bits_allocated or 0) // 8 > _RLE_LIMIT * len(encoded):
        raise _too_short(encoded, header)


def _pixels(header: FileHeader) -> int:
    return (header.rows or 0) * (header.columns or 0)


def _too_short(encoded: bytes, header: FileHeader) -> ValueError:
    return ValueError(f"{len(encoded)} bytes cannot hold {header.columns} x {header.rows} pixels")


def _require_declared(encoded: bytes, header: FileHeader) -> Declared:
    """Keep a decoder from taking memory for an image that is not the one of the header."""
    found = declared(encoded)
    if (found.columns, found.rows) != (header.columns, header.rows):
        raise ValueError(
            f"the compressed image has {found.columns} x {found.rows} pixels, the header {header.columns} x "
            f"{header.rows} pixels"
        )
    # Some decoders fill what is missing, and take gigabytes for it.
    if _pixels(header) > max(_LARGE_PIXELS, _PIXELS_PER_BYTE * len(encoded)):
        raise _too_short(encoded, header)
    if found.components != 1 or not 1 <= found.bits <= (header.bits_allocated or 0):
        raise ValueError(f"the compressed image has {found.components} numbers of {found.bits} bits per pixel")
    return found


def _meant(stored: NDArray[np.unsignedinteger], header: FileHeader) -> NDArray[Any]:
    """Numbers without bits above the stored ones, and with the sign that the header gives them."""
    bits = 8 * stored.dtype.itemsize
    unused = max(bits - (header.bits_stored or bits), 0)
    kind = np.dtype(f"i{stored.dtype.itemsize}" if header.signed else f"u{stored.dtype.itemsize}")
    return np.right_shift(np.left_shift(stored.astype(kind), unused), unused)
