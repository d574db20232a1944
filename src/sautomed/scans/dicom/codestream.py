"""Read the header of a compressed image, so that its size is known before a decoder allocates memory."""

from __future__ import annotations

import struct
from dataclasses import dataclass

_JPEG_2000_START = b"\xff\x4f\xff\x51"
_SEARCHED_BYTES = 1 << 16  # a JPEG 2000 codestream may be wrapped in a file format
_FRAME_MARKERS = (frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}) | {0xF7}  # JPEG, and JPEG-LS


@dataclass(frozen=True)
class CodestreamHeader:
    """The header of a compressed image.

    Args:
        columns, rows: Size in pixels.
        components: Numbers per pixel.
        bits: Bits per number.
    """

    columns: int
    rows: int
    components: int
    bits: int


def read_codestream_header(encoded: bytes) -> CodestreamHeader:
    """Read the header of a JPEG, JPEG-LS or JPEG 2000 image.

    Raises:
        ValueError: There is no header.
        struct.error: The header is cut off.
    """
    start = encoded.find(_JPEG_2000_START, 0, _SEARCHED_BYTES)
    if start >= 0:
        right, bottom, left, top = struct.unpack_from(">IIII", encoded, start + 8)
        components, bits = struct.unpack_from(">HB", encoded, start + 40)
        return CodestreamHeader(right - left, bottom - top, components, (bits & 0x7F) + 1)
    at = 2
    while at + 4 <= len(encoded) and encoded[at] == 0xFF:
        marker = encoded[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        if marker in _FRAME_MARKERS:
            bits, rows, columns, components = struct.unpack_from(">BHHB", encoded, at + 4)
            return CodestreamHeader(columns, rows, components, bits)
        at += 2 + int(struct.unpack_from(">H", encoded, at + 2)[0])
    raise ValueError("the compressed image has no header")
