"""What the first bytes of a file tell: its format, or what it is instead."""

from __future__ import annotations

import re

START_BYTES = 4096  # enough to meet NDims in a MetaImage that begins with comments
_NIFTI_SIZES = {size.to_bytes(4, order) for size in (348, 540) for order in ("little", "big")}
_NDIMS = re.compile(rb"^[ \t]*NDims[ \t]*=", re.MULTILINE)
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
    """Whether a file begins as NIfTI, or as its ancestor Analyze."""
    return start[:4] in _NIFTI_SIZES


def is_nrrd(start: bytes) -> bool:
    """Whether a file begins as NRRD."""
    return start.startswith(b"NRRD000")


def is_metaimage(start: bytes) -> bool:
    """Whether a file begins as the text header of a MetaImage."""
    return _NDIMS.search(start) is not None


def is_dicom(start: bytes) -> bool:
    """Whether a file begins as DICOM (with its preamble or a first element of group 0002 or 0008), or a zip."""
    if start[128:132] == b"DICM" or start.startswith(b"PK\x03\x04"):
        return True
    little = start[:2] in (b"\x02\x00", b"\x08\x00") and start[3:4] == b"\0"
    big = start[:2] in (b"\x00\x02", b"\x00\x08") and start[2:3] == b"\0"
    if not (little or big) or len(start) < 12:
        return False
    length = int.from_bytes(start[4:8], "little")  # without explicit types, which only little endian may lack
    return start[4:6] in _DICOM_TYPES or (little and 0 < length <= len(start))


def kind_of(start: bytes) -> str:
    """A word on what a file of no known format may be."""
    if not start:
        return "empty"
    for magic, name in _OTHERS.items():
        if start.startswith(magic):
            return name
    return f"of an unknown kind, beginning with the bytes {start[:4].hex(' ')}"
