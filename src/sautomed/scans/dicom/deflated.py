"""Unpack files whose whole data set is deflated (Deflated Explicit VR Little Endian), up to a limit.

pydicom has no limit, and a small file can be made to unpack to gigabytes.
"""

from __future__ import annotations

import io
import zlib
from typing import BinaryIO

from pydicom.filereader import read_dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian

INFLATED_LIMIT_BYTES = 1 << 29  # ours: a thousand times a file of one image


def inflate(stream: BinaryIO) -> BinaryIO | None:
    """Return the unpacked data set of a deflated file, without its meta information; None for any other file.

    `stream` must be at its start, and is there again afterwards unless the file is deflated.

    Raises:
        ValueError: It unpacks to more than `INFLATED_LIMIT_BYTES`.
        zlib.error: It cannot be unpacked.
    """
    start = stream.read(132)
    if start[128:] != b"DICM":
        stream.seek(0)
        return None
    meta = read_dataset(stream, False, True, stop_when=lambda tag, *_: tag >> 16 != 2)
    if meta.get("TransferSyntaxUID") != DeflatedExplicitVRLittleEndian:
        stream.seek(0)
        return None
    unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
    content = unpacker.decompress(stream.read(), INFLATED_LIMIT_BYTES)
    if unpacker.unconsumed_tail:
        raise ValueError(f"it unpacks to more than {INFLATED_LIMIT_BYTES >> 20} MiB")
    return io.BytesIO(content)
