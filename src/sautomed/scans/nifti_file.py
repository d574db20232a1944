"""Read the header of a NIfTI file, and find its voxels.

Not with nibabel's own loader, which replaces zero spacings and cannot report where a compressed stream broke off.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from nibabel.spatialimages import HeaderDataError

from sautomed.errors import BadGeometry, NotAScan, TruncatedFile, UnsupportedVoxels
from sautomed.scans.contents import describe_start
from sautomed.scans.grid import ScanSource
from sautomed.scans.payload import CUT_SHORT, Payload, check_size, first_bytes

LABEL_INTENT = 1002  # intent code of label maps
_HEADER_BYTES = 540  # of NIfTI-2, the longer of the two


@dataclass(frozen=True, eq=False)
class NiftiSource(ScanSource):
    """Header of a NIfTI scan, whose codes, units and texts are repeated when labels or voxels are written on its grid.

    Args:
        header: As in the file, unrepaired; a Nifti2Header (its subclass) for NIfTI-2.
    """

    header: nibabel.Nifti1Header


@dataclass(frozen=True)
class LengthUnit:
    """Unit of the lengths in a NIfTI header: of the affines and of pixdim.

    Args:
        name: In the plural, as in "lengths in metres".
        mm: Length of one unit.
        known: Whether it is a unit of length by the standard; any other code is taken as mm.
    """

    name: str
    mm: float = 1.0
    known: bool = True


_UNITS = {
    0: LengthUnit("mm"),  # unknown: mm, as in all other readers
    1: LengthUnit("metres", 1e3),
    2: LengthUnit("mm"),
    3: LengthUnit("micrometres", 1e-3),
}


def length_unit(header: nibabel.Nifti1Header) -> LengthUnit:
    """Return the unit in which a header gives lengths, as ITK understands its `xyzt_units`."""
    code = int(header["xyzt_units"]) & 7  # the other bits are the unit of time
    return _UNITS.get(code, LengthUnit(f"the unknown unit {code}", known=False))


@dataclass(frozen=True, eq=False)
class NiftiHeader:
    """A NIfTI header, and the voxels that it describes.

    Args:
        header: As in `NiftiSource`.
        payload: The voxels: all axes as stored, in the file's byte order.
    """

    header: nibabel.Nifti1Header
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
        TruncatedFile: The file ends within the header, or is too small for the voxels of its header.
        BadGeometry: The header gives no voxels, or an offset of the voxels within the header.
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
    check_size(found.payload, path)
    return found


def _dtype_of(header: nibabel.Nifti1Header, path: Path) -> np.dtype[Any]:
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


def _header_type(start: bytes, path: Path) -> type[nibabel.Nifti1Header]:
    """Return nibabel's header class for these first bytes."""
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
    raise NotAScan(
        f"is not a NIfTI file: it is {describe_start(start)}.", where=path, cure="Give a .nii or .nii.gz file."
    )


def _check_axes(header: nibabel.Nifti1Header, path: Path) -> None:
    axes = [int(length) for length in header["dim"]]
    if not 1 <= axes[0] <= 7:
        raise BadGeometry(
            f"has a damaged header or no voxels: its axes are {axes} by the header.",
            where=path,
            cure="Write or download it again.",
        )


def _offset_of(header: nibabel.Nifti1Header, path: Path) -> int:
    """Return the first byte of the voxels, uncompressed; 0 in the header means right after it.

    An offset within the header, or not a number, is refused: header bytes would become voxels.
    """
    offset, least = float(header["vox_offset"]), int(header.single_vox_offset)
    if not np.isfinite(offset) or offset < 0 or 0 < offset < least:
        raise BadGeometry(
            f"has a damaged header: its voxels begin at byte {offset:g} by the header, but at {least} at the earliest.",
            where=path,
            cure="Write it again, for example with nibabel, or download it again.",
        )
    return int(offset) or least
