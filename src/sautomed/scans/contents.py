"""Recognise the format of a file by its first bytes."""

from __future__ import annotations

import re
from collections.abc import Callable

START_BYTES = 4096  # enough to reach NDims in a MetaImage that begins with comments
_NIFTI_SIZES = {size.to_bytes(4, order) for size in (348, 540) for order in ("little", "big")}
_NDIMS = re.compile(rb"^[ \t]*NDims[ \t]*[=:]", re.MULTILINE)
_DICOM_TYPES = frozenset(
    b"AE AS AT CS DA DS DT FL FD IS LO LT OB OD OF OL OW PN SH SL SQ SS ST TM UI UL UN US UT".split()
)
_OTHERS = {
    b"\x89PNG": "a PNG picture",
    b"\xff\xd8\xff": "a JPEG picture",
    b"GIF8": "a GIF picture",
    b"BM": "a BMP picture",
    b"II*\0": "a TIFF picture",
    b"MM\0*": "a TIFF picture",
    b"%PDF": "a PDF document",
    b"PK\x03\x04": "a ZIP archive",
    b"7z\xbc\xaf": "a 7-Zip archive",
    b"Rar!": "a RAR archive",
    b"\x89HDF": "an HDF5 file",
    b"\x93NUMPY": "a NumPy array",
    b"\x00\x00\x01\x00MGH": "an MGH file",
}


def is_nifti(start: bytes) -> bool:
    """Return whether a file begins as NIfTI, or as its predecessor Analyze."""
    return start[:4] in _NIFTI_SIZES


def starts_with(magic: bytes) -> Callable[[bytes], bool]:
    """Return a function that checks whether a file begins with these bytes."""
    return lambda start: start.startswith(magic)


def is_metaimage(start: bytes) -> bool:
    """Return whether a file begins as the text header of a MetaImage."""
    return _NDIMS.search(start) is not None


def is_dicom(start: bytes) -> bool:
    """Return whether a file begins as DICOM (a preamble, or an element of group 0002 or 0008), or as a zip."""
    if start[128:132] == b"DICM" or start.startswith(b"PK\x03\x04"):
        return True
    little = start[:2] in (b"\x02\x00", b"\x08\x00") and start[3:4] == b"\0"
    big = start[:2] in (b"\x00\x02", b"\x00\x08") and start[2:3] == b"\0"
    if not (little or big) or len(start) < 12:
        return False
    length = int.from_bytes(start[4:8], "little")  # only little endian may leave out the value type
    return start[4:6] in _DICOM_TYPES or (little and 0 < length <= len(start))


def describe_start(start: bytes) -> str:
    """Return a phrase for the content of a file in no readable format, such as "a PNG picture"."""
    if not start:
        return "empty"
    for magic, name in _OTHERS.items():
        if start.startswith(magic):
            return name
    return f"of an unknown kind, beginning with the bytes {start[:4].hex(' ')}"
