"""The header of a NIfTI file and where its voxels are, or a named fault.

Files are read here and not by nibabel's own loader, which fills in zero spacings and cannot say where a compressed
stream broke.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from nibabel.spatialimages import HeaderDataError

from sautomed.errors import BadGeometry, NotAScan, TruncatedFile, UnsupportedVoxels
from sautomed.scans.contents import kind_of
from sautomed.scans.payload import CUT_SHORT, Payload, check_promise, first_bytes

_HEADER_BYTES = 540  # of NIfTI-2, the longer of the two


@dataclass(frozen=True, eq=False)
class NiftiHeader:
    """What stands before the voxels.

    Args:
        header: nibabel's Nifti1Header or Nifti2Header, unrepaired.
        payload: The voxels: all axes as stored, in the file's byte order.
    """

    header: Any
    payload: Payload

    @property
    def stored_shape(self) -> tuple[int, ...]:
        """All axes as stored."""
        return self.payload.shape

    @property
    def compressed(self) -> bool:
        """Whether the content is gzip."""
        return self.payload.encoding == "gzip"


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
    start, compressed = first_bytes(path, _HEADER_BYTES)
    header_type = _header_type(start, path)
    header = header_type(binaryblock=start[: header_type.template_dtype.itemsize], check=False)
    dtype = _dtype_of(header, path)
    _check_axes(header, path)
    shape = tuple(int(length) for length in header.get_data_shape())
    found = NiftiHeader(
        header, Payload(path, shape, dtype, "gzip" if compressed else "raw", skip=_offset_of(header, path))
    )
    check_promise(found.payload, path)
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


def _header_type(start: bytes, path: Path) -> Any:
    """nibabel's header class for these first bytes."""
    for header_type, size, magic_at in ((nibabel.Nifti1Header, 348, 344), (nibabel.Nifti2Header, 540, 4)):
        sizes = (size.to_bytes(4, "little"), size.to_bytes(4, "big"))
        if start[:4] in sizes:
            magic = start[magic_at : magic_at + 3]
            if len(start) < size:
                raise TruncatedFile(
                    f"is truncated: it ends at byte {len(start)}, within the NIfTI header.", where=path, cure=CUT_SHORT
                )
            if magic in (b"n+1", b"n+2"):
                return header_type
            raise NotAScan(
                "has the header of a pair of files (.hdr and .img) or of Analyze 7.5; only single-file NIfTI is read.",
                where=path,
                cure="Convert it to .nii.gz, for example with nibabel or dcm2niix.",
            )
    raise NotAScan(f"is not a NIfTI file: it is {kind_of(start)}.", where=path, cure="Give a .nii or .nii.gz file.")


def _check_axes(header: Any, path: Path) -> None:
    axes = [int(length) for length in header["dim"]]
    if not 1 <= axes[0] <= 7:
        raise BadGeometry(
            f"has a damaged header or no voxels: its axes are {axes} by the header.",
            where=path,
            cure="Write or download it again.",
        )


def _offset_of(header: Any, path: Path) -> int:
    """Where the voxels begin, uncompressed; a header that says 0 means right behind itself.

    A start within the header, or one that is no number, is refused: header bytes would become voxels.
    """
    offset, least = float(header["vox_offset"]), int(header.single_vox_offset)
    if not np.isfinite(offset) or offset < 0 or 0 < offset < least:
        raise BadGeometry(
            f"has a damaged header: its voxels begin at byte {offset:g} by the header, but at {least} at the earliest.",
            where=path,
            cure="Write it again, for example with nibabel, or download it again.",
        )
    return int(offset) or least
