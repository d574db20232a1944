"""Decode one image of a DICOM file at a time, after checking that its size is plausible."""

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

from sautomed.scans.dicom.codestream import CodestreamHeader, read_codestream_header
from sautomed.scans.dicom.header import FileHeader
from sautomed.scans.dicom.isolated import IsolatedDecoder

# Without GDCM and CharLS: on a damaged image they can crash or block the process (see `isolated`).
_DECODERS = ("pylibjpeg", "pydicom", "pillow")
_ISOLATED = (JPEGLossless, JPEGLosslessSV1, JPEGExtended12Bit, JPEGLSLossless, JPEGLSNearLossless)
_RLE_LIMIT = 64  # a run of two bytes expands to at most 128
_JPEG_LIMIT = 256  # pixels per byte: a block of 64 pixels takes at least two bits
_LARGE_PIXELS = 1 << 24  # ours: 4096 x 4096; smaller images may compress to any size
_PIXELS_PER_BYTE = 1000  # ours, checked only for larger images; scans have a few


class ImageDecoder:
    """Decoder of images; a context manager, which ends the process that it may have started."""

    def __init__(self) -> None:
        self._isolated = IsolatedDecoder()
        logger = logging.getLogger("openjpeg")  # otherwise it prints the errors that it also raises
        if not logger.handlers:
            logger.addHandler(logging.NullHandler())

    def __enter__(self) -> ImageDecoder:
        return self

    def __exit__(self, *_: object) -> None:
        self._isolated.__exit__()

    def decode(self, dataset: Dataset, index: int, header: FileHeader, syntax: UID) -> NDArray[Any]:
        """Decode one image.

        Args:
            dataset: The file with its pixels.
            index: Index of the image in the file, from 0.
            header: Header of the file.
            syntax: Transfer syntax of the file.
        Returns:
            Stored numbers (rows columns), before any rescaling.
        Raises:
            Almost anything, if the image is damaged; see `damage.translate_errors`.
        """
        if syntax.is_encapsulated:
            encoded = _encoded(dataset, index, header)
            if syntax == RLELossless:
                _require_rle_length(encoded, header)
            else:
                codestream = _checked_header(encoded, header)
                if syntax in (JPEGBaseline8Bit, JPEGExtended12Bit) and _pixels(header) > _JPEG_LIMIT * len(encoded):
                    raise _too_short(encoded, header)
                if syntax in _ISOLATED:
                    return _masked_and_signed(self._isolated.decode(encoded, str(syntax), codestream), header)
        decoder = get_decoder(syntax)
        plugin = next((name for name in _DECODERS if name in decoder.available_plugins), "")
        if syntax.is_encapsulated and not plugin:
            raise ValueError("there is no decoder for it")
        stored: NDArray[Any] = decoder.as_array(dataset, index=index, raw=True, decoding_plugin=plugin)[0]
        if stored.shape != (header.rows, header.columns):
            raise ValueError(f"the decoded image has shape {stored.shape}")
        return stored


def _encoded(dataset: Dataset, index: int, header: FileHeader) -> bytes:
    table = (dataset.get("ExtendedOffsetTable"), dataset.get("ExtendedOffsetTableLengths"))
    offsets = table if all(table) else None
    return bytes(get_frame(dataset.PixelData, index, extended_offsets=offsets, number_of_frames=header.frames))


def _require_rle_length(encoded: bytes, header: FileHeader) -> None:
    """Refuse a run-length image that is too short for its pixels."""
    if _pixels(header) * (header.bits_allocated or 0) // 8 > _RLE_LIMIT * len(encoded):
        raise _too_short(encoded, header)


def _pixels(header: FileHeader) -> int:
    return (header.rows or 0) * (header.columns or 0)


def _too_short(encoded: bytes, header: FileHeader) -> ValueError:
    return ValueError(f"{len(encoded)} bytes cannot hold {header.columns} x {header.rows} pixels")


def _checked_header(encoded: bytes, header: FileHeader) -> CodestreamHeader:
    """Return the header of a compressed image, after checking it against that of the file.

    This keeps decoders from allocating memory for a size that a damaged image claims.
    """
    codestream = read_codestream_header(encoded)
    if (codestream.columns, codestream.rows) != (header.columns, header.rows):
        raise ValueError(
            f"the compressed image has {codestream.columns} x {codestream.rows} pixels, the header {header.columns} x "
            f"{header.rows} pixels"
        )
    # Some decoders fill in missing pixels, and allocate gigabytes for them.
    if _pixels(header) > max(_LARGE_PIXELS, _PIXELS_PER_BYTE * len(encoded)):
        raise _too_short(encoded, header)
    if codestream.components != 1 or not 1 <= codestream.bits <= (header.bits_allocated or 0):
        raise ValueError(
            f"the compressed image has {codestream.components} numbers of {codestream.bits} bits per pixel"
        )
    return codestream


def _masked_and_signed(stored: NDArray[np.unsignedinteger], header: FileHeader) -> NDArray[Any]:
    """Clear the bits above the stored ones, and apply the sign that the header declares."""
    bits = 8 * stored.dtype.itemsize
    unused = max(bits - (header.bits_stored or bits), 0)
    kind = np.dtype(f"i{stored.dtype.itemsize}" if header.signed else f"u{stored.dtype.itemsize}")
    return np.right_shift(np.left_shift(stored.astype(kind), unused), unused)
