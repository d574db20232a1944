"""The bytes of a NIfTI file: header and raw voxels, or a named fault and where it is.

The format is told by the content, never by the name. Files are read here and not by nibabel's own loader, which fills
in zero spacings and cannot say where a compressed stream broke.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import nibabel
import numpy as np
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from sautomed.errors import BadGeometry, DataError, MissingFile, NotAScan, TruncatedFile, UnsupportedVoxels
from sautomed.files import require_file

_GZIP_MAGIC = b"\x1f\x8b"
_DEFLATE_LIMIT = 1032  # deflate cannot shrink anything by more than this factor
_CHUNK_BYTES = 1 << 16  # also how precisely the end of a broken stream is told
_HEADER_BYTES = 540  # of NIfTI-2, the longer of the two
_CUT_SHORT = "Copy or download it again: the transfer probably stopped early."


@dataclass(frozen=True, eq=False)
class NiftiHeader:
    """What stands before the voxels.

    Args:
        header: nibabel's Nifti1Header or Nifti2Header, unrepaired.
        dtype: Type of the stored voxels, in the file's byte order.
        stored_shape: All axes as stored.
        compressed: Whether the content is gzip.
    """

    header: Any
    dtype: np.dtype[Any]
    stored_shape: tuple[int, ...]
    compressed: bool

    @property
    def voxel_bytes(self) -> int:
        """Bytes that the voxels take, uncompressed."""
        return prod(self.stored_shape) * self.dtype.itemsize

    @property
    def offset(self) -> int:
        """Where the voxels begin, uncompressed; a header that says 0 means right behind itself."""
        return int(self.header["vox_offset"]) or int(self.header.single_vox_offset)


def read_header(path: Path) -> NiftiHeader:
    """Read the header alone.

    Raises:
        MissingFile: There is no such file, or it may not be read.
        NotAScan: The content is no single-file NIfTI.
        TruncatedFile: Even the header is cut short, or the file is too small for the voxels that it promises.
        BadGeometry: The header gives no voxels at all, or lets them begin within itself.
        UnsupportedVoxels: The type of the voxels is unknown.
        DataError: The system cannot read the file.
    """
    with _open(path) as (stream, compressed):
        return _parse_header(stream, path, compressed)


def read_voxels(path: Path) -> tuple[NiftiHeader, NDArray[Any]]:
    """Read header and voxels, unscaled, and check the stream to its end.

    Returns:
        The header and the stored array in the file's own type, shape (stored_shape).
    Raises:
        As `read_header`; TruncatedFile also where the voxels end early or the compressed stream is damaged.
    """
    with _open(path) as (stream, compressed):
        found = _parse_header(stream, path, compressed)
        content = bytearray(found.voxel_bytes)
        filled = _fill(stream, content, path, found)
        if filled < found.voxel_bytes:
            raise TruncatedFile(
                f"is truncated: its header promises {found.offset + found.voxel_bytes} bytes, but it ends at byte "
                f"{found.offset + filled}.",
                where=path,
                cure=_CUT_SHORT,
            )
    voxels = np.frombuffer(content, dtype=found.dtype).reshape(found.stored_shape, order="F")
    return found, voxels


@contextmanager
def _open(path: Path) -> Iterator[tuple[BinaryIO, bool]]:
    """The uncompressed stream, and whether the file is gzip."""
    try:
        require_file(path)
        with path.open("rb") as raw:
            compressed = raw.read(2) == _GZIP_MAGIC
            raw.seek(0)
            if not compressed:
                yield raw, False
                return
            with gzip.GzipFile(fileobj=raw) as unpacked:
                # GzipFile is a binary stream, but typeshed derives it elsewhere
                yield unpacked, True  # type: ignore[misc]
    except PermissionError as error:
        raise MissingFile("may not be read: permission denied.", where=path, cure="Change its permissions.") from error
    except OSError as error:
        raise DataError(
            f"cannot be read: {error.strerror or error}.",
            where=path,
            cure="Check the disk or the network drive that it lies on, then try again.",
        ) from error


def _parse_header(stream: BinaryIO, path: Path, compressed: bool) -> NiftiHeader:
    start = _first_bytes(stream, path)
    header_type = _header_type(start, path)
    header = header_type(binaryblock=start[: header_type.template_dtype.itemsize], check=False)
    found = NiftiHeader(
        header, _dtype_of(header, path), tuple(int(length) for length in header.get_data_shape()), compressed
    )
    _check_offset(header, path)
    _check_promise(found, path)
    return found


def _dtype_of(header: Any, path: Path) -> np.dtype[Any]:
    try:
        dtype = header.get_data_dtype()
    except (HeaderDataError, KeyError):
        dtype = None
    if dtype is None or dtype.itemsize == 0:
        raise UnsupportedVoxels(
            f"stores voxels of an unknown type (NIfTI datatype code {int(header['datatype'])}).",
            where=path,
            cure="Write it again as 16-bit integers or 32-bit floats.",
        )
    return dtype


def _first_bytes(stream: BinaryIO, path: Path) -> bytes:
    try:
        return stream.read(_HEADER_BYTES)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise TruncatedFile(
            "is truncated or damaged: its compressed stream breaks off within the NIfTI header, at byte 0.",
            where=path,
            cure=_CUT_SHORT,
        ) from error


def _header_type(start: bytes, path: Path) -> Any:
    """nibabel's header class for these first bytes."""
    for header_type, size, magic_at in ((nibabel.Nifti1Header, 348, 344), (nibabel.Nifti2Header, 540, 4)):
        sizes = (size.to_bytes(4, "little"), size.to_bytes(4, "big"))
        if start[:4] in sizes:
            magic = start[magic_at : magic_at + 3]
            if len(start) < size:
                raise TruncatedFile(
                    f"is truncated: it ends at byte {len(start)}, within the NIfTI header.", where=path, cure=_CUT_SHORT
                )
            if magic in (b"n+1", b"n+2"):
                return header_type
            raise NotAScan(
                "has the header of a pair of files (.hdr and .img) or of Analyze 7.5; only single-file NIfTI is read.",
                where=path,
                cure="Convert it to .nii.gz, for example with nibabel or dcm2niix.",
            )
    raise NotAScan(
        f"is not a NIfTI file: it is {_kind_of(start)}.",
        where=path,
        cure="Give a .nii or .nii.gz file; DICOM series can be converted with dcm2niix.",
    )


def _kind_of(start: bytes) -> str:
    """A word on what a file may be instead."""
    if not start:
        return "empty"
    if start[128:132] == b"DICM":
        return "a DICOM file"
    known = {
        b"NRRD": "an NRRD file",
        b"\x89PNG": "a PNG picture",
        b"PK\x03\x04": "a ZIP archive",
        b"\x89HDF": "an HDF5 file",
    }
    for magic, name in known.items():
        if start.startswith(magic):
            return name
    if b"ObjectType" in start or b"NDims" in start:
        return "a MetaImage header"
    return f"of an unknown kind, beginning with the bytes {start[:4].hex(' ')}"


def _check_offset(header: Any, path: Path) -> None:
    """Refuse a start of the voxels that is no number or lies within the header: header bytes would become voxels."""
    offset, least = float(header["vox_offset"]), int(header.single_vox_offset)
    if not np.isfinite(offset) or 0 < offset < least:
        raise BadGeometry(
            f"has a damaged header: its voxels begin at byte {offset:g} by the header, but at {least} at the earliest.",
            where=path,
            cure="Write it again, for example with nibabel, or download it again.",
        )


def _check_promise(found: NiftiHeader, path: Path) -> None:
    """Refuse a header that promises nothing, or more than the file can hold, before any memory is taken for it."""
    if not 1 <= int(found.header["dim"][0]) <= 7 or min(found.stored_shape) < 1:
        raise BadGeometry(
            f"has a damaged header or no voxels: its axes are {list(found.header['dim'])} by the header.",
            where=path,
            cure="Write or download it again.",
        )
    promised = found.offset + found.voxel_bytes
    size = path.stat().st_size
    if found.offset >= 0 and promised <= size * (_DEFLATE_LIMIT if found.compressed else 1):
        return
    held = f"no {size} compressed bytes can hold that many" if found.compressed else f"the file ends at byte {size}"
    raise TruncatedFile(
        f"is truncated or has a damaged header: the header promises {promised} bytes, but {held}.",
        where=path,
        cure=_CUT_SHORT,
    )


def _fill(stream: BinaryIO, content: bytearray, path: Path, found: NiftiHeader) -> int:
    """Read into `content`, then on to the stream's end so that its checksum is verified; returns the bytes filled."""
    filled = 0
    try:
        stream.seek(found.offset)
        with memoryview(content) as target:
            while filled < len(content):
                count = stream.readinto(target[filled : filled + _CHUNK_BYTES])  # type: ignore[attr-defined]  # has it
                if not count:
                    return filled
                filled += count
        while found.compressed and stream.read(_CHUNK_BYTES):
            pass
    except EOFError as error:
        raise TruncatedFile(
            f"is truncated: its compressed stream breaks off after byte {found.offset + filled} of "
            f"{found.offset + found.voxel_bytes} (uncompressed).",
            where=path,
            cure=_CUT_SHORT,
        ) from error
    except (zlib.error, gzip.BadGzipFile) as error:
        raise TruncatedFile(
            f"is damaged: its compressed stream cannot be read after byte {found.offset + filled} of "
            f"{found.offset + found.voxel_bytes} (uncompressed): {error}.",
            where=path,
            cure=_CUT_SHORT,
        ) from error
    return filled
