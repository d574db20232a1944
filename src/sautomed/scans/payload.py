"""Read voxels from bytes: raw, compressed or as text, after a header or in a file beside it.

Voxels are read whole, to the last checksum, or refused with the byte where they end. Sizes in a header are checked
against the size of the file before memory is allocated for them.
"""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
import psutil
from numpy.typing import NDArray

from sautomed.errors import BadGeometry, MemoryShortage, NotAScan, TruncatedFile
from sautomed.scans.paths import require_file, unreadable

Encoding = Literal["raw", "gzip", "zlib", "text"]

GZIP_MAGIC = b"\x1f\x8b"
CUT_SHORT = "Copy or download it again: the transfer probably stopped early."
_DEFLATE_LIMIT = 1032  # largest compression factor of deflate
_MAX_TEXT_BYTES = 1 << 26  # ours: voxels as text occur in examples, and take much memory to read
_CHUNK_BYTES = 1 << 16  # also the precision with which the end of a broken stream is reported
_UNPACKED_BYTES = 540  # the header of NIfTI-2; a compressed file is unpacked no further to recognise its format
_BROKEN_STREAM = (EOFError, zlib.error, gzip.BadGzipFile)


@dataclass(frozen=True)
class Payload:
    """Position and encoding of the voxels of a file.

    Args:
        path: The file that holds them.
        shape: All axes as stored, the first running fastest.
        dtype: In the byte order of the file.
        encoding: "text" is numbers separated by blanks.
        start: Byte of the file where the voxels or their compressed stream begin.
        skip: Bytes before the voxels once the stream is uncompressed.
    """

    path: Path
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    encoding: Encoding = "raw"
    start: int = 0
    skip: int = 0

    @property
    def voxel_bytes(self) -> int:
        """Size of the voxels in bytes, uncompressed."""
        return prod(self.shape) * self.dtype.itemsize

    @property
    def end(self) -> int:
        """Byte after the last voxel: of the file, or of the uncompressed stream."""
        return self.skip + self.voxel_bytes + (self.start if self.encoding == "raw" else 0)


@contextmanager
def open_bytes(path: Path) -> Iterator[BinaryIO]:
    """Open a file to read its bytes; errors of the disk within the block become a DataError.

    Raises:
        MissingFile: There is no such file, or reading it is not permitted.
        DataError: The system cannot read the file.
    """
    try:
        require_file(path)
        with path.open("rb") as stream:
            yield stream
    except OSError as error:
        raise unreadable(path, error) from error


def first_bytes(path: Path, count: int) -> tuple[bytes, bool]:
    """Return the first bytes of a file, uncompressed, and whether it is gzip.

    Raises:
        TruncatedFile: The compressed stream breaks off within them. MissingFile, DataError as `open_bytes`.
    """
    with open_bytes(path) as stream:
        start = stream.read(count)
        if not start.startswith(GZIP_MAGIC):
            return start, False
        stream.seek(0)
        try:
            with gzip.GzipFile(fileobj=stream) as unpacked:
                return unpacked.read(min(count, _UNPACKED_BYTES)), True
        except _BROKEN_STREAM as error:
            raise TruncatedFile(
                "is truncated or damaged: its compressed stream breaks off within the header, at byte 0.",
                where=path,
                cure=CUT_SHORT,
            ) from error


def check_size(payload: Payload, where: Path) -> None:
    """Refuse axes without voxels, and more voxels than the bytes of the file can hold.

    Raises:
        BadGeometry, TruncatedFile, NotAScan; MissingFile, DataError as `open_bytes`.
    """
    if not payload.shape or min(payload.shape) < 1:
        raise BadGeometry(
            f"has a damaged header or no voxels: its axes are {list(payload.shape)} by the header.",
            where=where,
            cure="Write or download it again.",
        )
    with open_bytes(payload.path) as stream:
        size = stream.seek(0, io.SEEK_END)
    stored = size - payload.start
    if payload.encoding == "text":
        if stored > _MAX_TEXT_BYTES:
            raise NotAScan(
                f"keeps its voxels as {stored / 1e6:.0f} MB of text, which is not read.",
                where=where,
                cure="Write it again with binary voxels, for example with 3D Slicer.",
            )
        fits, promised = 2 * prod(payload.shape) - 1 <= stored, f"{prod(payload.shape)} numbers"
    elif payload.encoding == "raw":
        fits, promised = payload.end <= size, f"{payload.end} bytes"
    else:
        fits, promised = payload.end <= stored * _DEFLATE_LIMIT, f"{payload.end} bytes"
    if fits and payload.start >= 0 and payload.skip >= 0:
        return
    held = f"{_name_of_file(payload, where)} ends at byte {size}"
    if payload.encoding in ("gzip", "zlib"):
        held = f"no {max(stored, 0)} compressed bytes can hold that many"
    raise TruncatedFile(
        f"is truncated or has a damaged header: the header promises {promised}, but {held}.",
        where=where,
        cure=CUT_SHORT,
    )


def end_notes(payload: Payload, where: Path) -> tuple[str, ...]:
    """Return a warning about the end of a file that is long enough.

    A raw file with bytes after its last voxel may belong to another header; text that ends with a digit may have lost
    further ones.
    """
    held = _name_of_file(payload, where)
    with open_bytes(payload.path) as stream:
        size = stream.seek(0, io.SEEK_END)
        stream.seek(max(size - 1, 0))
        last = stream.read(1)
    if payload.encoding == "raw" and size > payload.end:
        return (f"{where}: {held} has {size - payload.end} bytes after the voxels; they are ignored.",)
    if payload.encoding == "text" and not last.isspace():
        return (f"{where}: {held} ends without a blank or a new line, so its last number may have been cut short.",)
    return ()


def read_payload(payload: Payload, where: Path, volume: int | None = None) -> NDArray[Any]:
    """Read the voxels as stored, and check the stream to its end.

    Args:
        payload: Accepted by `check_size`.
        where: The file to name in errors.
        volume: Index from 0 of the only volume to keep, over all axes after the third.
    Returns:
        (payload.shape), or its first three axes; the first axis runs fastest in memory.
    Raises:
        TruncatedFile: The voxels end early, or the compressed stream is damaged; gives the byte.
        MemoryShortage: The voxels do not fit into memory.
    """
    shape = payload.shape if volume is None else payload.shape[:3]
    if payload.encoding == "text":
        numbers = _read_text(payload, where)
        kept = numbers if volume is None else numbers[volume * prod(shape) : (volume + 1) * prod(shape)]
        return kept.reshape(shape, order="F")
    wanted = prod(shape) * payload.dtype.itemsize
    before = 0 if volume is None else volume * wanted
    # Checked first: systems grant more memory than they have, and kill the process once it is used.
    free = psutil.virtual_memory().available
    if wanted > free:
        raise MemoryShortage(
            f"needs {wanted / 1e9:.1f} GB of memory for its voxels alone, but {free / 1e9:.1f} GB are free.",
            where=where,
            cure="Close other programs, use a larger machine, or crop or resample the scan.",
        )
    try:
        content = bytearray(wanted)
    except MemoryError as error:
        raise MemoryShortage(
            f"needs {wanted / 1e9:.1f} GB of memory for its voxels alone.", where=where, cure="Use a larger machine."
        ) from error
    with open_bytes(payload.path) as stream:
        stream.seek(payload.start)
        _fill(_unpacked(stream, payload.encoding), content, before, payload, where)
    return np.frombuffer(content, dtype=payload.dtype).reshape(shape, order="F")


class _ZlibStream(io.RawIOBase):
    """Uncompressed bytes of a zlib stream, read forward; a stream that breaks off raises EOFError, as in gzip."""

    def __init__(self, packed: BinaryIO) -> None:
        super().__init__()
        self._packed = packed
        self._unpacker = zlib.decompressobj(wbits=zlib.MAX_WBITS + 32)  # zlib's header or gzip's
        self._waiting = b""

    def readable(self) -> bool:
        return True

    def readinto(self, target: Any) -> int:
        while not self._unpacker.eof:
            unpacked = self._unpacker.decompress(self._waiting, len(target))
            self._waiting = self._unpacker.unconsumed_tail
            if unpacked:
                target[: len(unpacked)] = unpacked
                return len(unpacked)
            if not self._waiting:
                self._waiting = self._packed.read(_CHUNK_BYTES)
                if not self._waiting:
                    raise EOFError
        return 0


def _unpacked(stream: BinaryIO, encoding: Encoding) -> Any:
    if encoding == "gzip":
        return gzip.GzipFile(fileobj=stream)
    return _ZlibStream(stream) if encoding == "zlib" else stream


def _fill(stream: Any, content: bytearray, before: int, payload: Payload, where: Path) -> None:
    """Fill `content` with the bytes after the first `before`, then read to the end, which verifies the checksum."""
    scrap = bytearray(_CHUNK_BYTES)
    lead = payload.end - payload.skip - payload.voxel_bytes  # bytes of a raw file are counted from its start
    total = payload.skip + payload.voxel_bytes
    begin = payload.skip + before
    at = 0
    try:
        with memoryview(content) as target, memoryview(scrap) as waste:
            while at < total:
                if at < begin:
                    piece = waste[: min(begin - at, _CHUNK_BYTES)]
                elif at < begin + len(content):
                    piece = target[at - begin : at - begin + _CHUNK_BYTES]
                else:
                    piece = waste[: min(total - at, _CHUNK_BYTES)]
                count = stream.readinto(piece)
                if not count:
                    held = _name_of_file(payload, where) if payload.encoding == "raw" else "its compressed stream"
                    raise TruncatedFile(
                        f"is truncated: its header promises {lead + total} bytes, but {held} ends at byte {lead + at}.",
                        where=where,
                        cure=CUT_SHORT,
                    )
                at += count
            while payload.encoding != "raw" and stream.readinto(waste):
                pass
    except EOFError as error:
        raise TruncatedFile(
            f"is truncated: its compressed stream breaks off after byte {at} of {total} (uncompressed).",
            where=where,
            cure=CUT_SHORT,
        ) from error
    except (zlib.error, gzip.BadGzipFile) as error:
        raise TruncatedFile(
            f"is damaged: its compressed stream cannot be read after byte {at} of {total} (uncompressed): {error}.",
            where=where,
            cure=CUT_SHORT,
        ) from error


def _read_text(payload: Payload, where: Path) -> NDArray[Any]:
    """Return numbers separated by blanks, in the machine's own byte order."""
    with open_bytes(payload.path) as stream:
        stream.seek(payload.start)
        words = stream.read()[payload.skip :].split()
    count = prod(payload.shape)
    if len(words) < count:
        raise TruncatedFile(
            f"is truncated: its header promises {count} numbers, but {_name_of_file(payload, where)} "
            f"holds {len(words)}.",
            where=where,
            cure=CUT_SHORT,
        )
    number: Any = float if payload.dtype.kind == "f" else int
    try:
        with np.errstate(over="ignore"):
            return np.array([number(word) for word in words[:count]], dtype=payload.dtype.newbyteorder("="))
    except (ValueError, OverflowError) as error:
        raise TruncatedFile(f"is damaged: {error}, among its voxels.", where=where, cure=CUT_SHORT) from error


def _name_of_file(payload: Payload, where: Path) -> str:
    return "the file" if payload.path == where else f"its data file {payload.path.name}"
