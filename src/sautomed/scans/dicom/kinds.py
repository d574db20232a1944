"""Series that are no stack of slices, whatever their geometry says: told by what their headers call them."""

from __future__ import annotations

from pathlib import Path

from sautomed.errors import DamagedDicom, NotAVolume, TruncatedFile, UnsupportedVoxels
from sautomed.scans.dicom.damage import RENEW
from sautomed.scans.dicom.header import FileHeader
from sautomed.scans.dicom.series import Series, is_localizer
from sautomed.scans.payload import CUT_SHORT

# What holds voxels, but is made from a scan instead of being one.
_DERIVED = {"SEG": "a segmentation", "RTDOSE": "a dose distribution", "RTIMAGE": "a treatment image"}
_OTHERS = {
    "RTSTRUCT": "a structure set",
    "RTPLAN": "a treatment plan",
    "SR": "a structured report",
    "PR": "a presentation state",
    "KO": "a list of key images",
    "REG": "a registration",
    "DOC": "a document",
}
_GIVE_SCAN = "Give the scan itself: a series of CT, MR or PET slices."
PLAIN_SYNTAXES = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2")  # pixels as they are


def require_scan(series: Series, where: Path) -> None:
    """Refuse what is no stack of slices, and pixels that are no intensities.

    Raises:
        NotAVolume, UnsupportedVoxels, DamagedDicom, TruncatedFile.
    """
    header = series.slices[0].file
    fault = _no_image(header) or _no_stack(series)
    if fault:
        raise NotAVolume(fault, where=where, cure=_GIVE_SCAN)
    _require_places(series, where)
    for item in {id(one.file): one.file for one in series.slices}.values():
        _require_grey(item, where)
        _require_size(item, where)


def _no_image(header: FileHeader) -> str:
    """What a file is that is no image of a patient; empty if it is one."""
    if header.modality in _DERIVED:
        return f"is {_DERIVED[header.modality]} ({header.kind or header.modality}), not a scan."
    if header.rows is None or header.columns is None:
        called = _OTHERS.get(header.modality) or header.kind or "a DICOM file of an unstated kind"
        return f"holds no image: it is {called}."
    return ""


def _no_stack(series: Series) -> str:
    """Why images form no stack by their kind; empty if they may."""
    first = series.slices[0]
    count = len(series.slices)
    if is_localizer(first):
        return f"is a localiser ({count} images), made to plan a scan; its images form no volume."
    if "MOSAIC" in first.file.image_type.split("\\"):
        return "is a Siemens mosaic: each image shows all slices of a volume side by side, which is not taken apart."
    if first.file.frames > 1 and not first.file.multi_frame:
        return f"has {first.file.frames} frames without a position for each, such as a film or a projection."
    return ""


def _require_places(series: Series, where: Path) -> None:
    """Refuse a series of which an image does not say where it lies."""
    count = len(series.slices)
    kind = series.slices[0].file.kind
    for name, found in (
        ("position (ImagePositionPatient)", [item for item in series.slices if item.position is None]),
        ("direction (ImageOrientationPatient)", [item for item in series.slices if item.orientation is None]),
        ("pixel spacing (PixelSpacing)", [item for item in series.slices if item.spacing is None]),
    ):
        if found:
            called = f", as of a {kind}" if "Secondary Capture" in kind else ""
            raise NotAVolume(
                f"is no volume: {len(found)} of {count} images have no {name}{called}; the first is {found[0].name}.",
                where=where,
                cure=_GIVE_SCAN if len(found) == count else "Take these images out of the series, or export it again.",
            )


def _require_grey(header: FileHeader, where: Path) -> None:
    """Refuse pixels that are no single number which the header explains."""
    fault = ""
    if header.samples != 1 or not header.photometric.startswith("MONOCHROME"):
        told = header.photometric or "no photometric interpretation"
        fault = f"stores colours ({told}, {header.samples} values per pixel), but a scan needs one number per voxel"
    elif header.lookup:
        fault = "turns stored values into intensities by a table (Modality LUT), which is not applied"
    elif header.bits_allocated not in (8, 16, 32, 64):
        fault = f"stores pixels of {header.bits_allocated} bits, which are not read"
    elif header.bits_stored is not None and not 0 < header.bits_stored <= header.bits_allocated:
        fault = f"stores {header.bits_stored} bits in each {header.bits_allocated}, which cannot be"
    elif header.bits_stored and header.high_bit is not None and header.high_bit != header.bits_stored - 1:
        fault = f"keeps its {header.bits_stored} bits at the upper end of {header.bits_allocated}, which is not read"
    if fault:
        cure = "Give the scanner's own series, or export it as grey values."
        raise UnsupportedVoxels(f"{fault} ({header.member}).", where=where, cure=cure)


def _require_size(header: FileHeader, where: Path) -> None:
    """Refuse headers that promise more pixels than their file can hold."""
    rows, columns, bits = header.rows or 0, header.columns or 0, header.bits_allocated or 0
    if not (0 < rows <= 65535 and 0 < columns <= 65535):
        raise DamagedDicom(f"has images of {columns} x {rows} pixels ({header.member}).", where=where, cure=RENEW)
    promised = rows * columns * header.frames * bits // 8
    if header.syntax in PLAIN_SYNTAXES and header.size is not None and promised > header.size:
        raise TruncatedFile(
            f"is truncated or has a damaged header: {header.member} promises {promised} bytes of pixels, but it ends "
            f"at byte {header.size}.",
            where=where,
            cure=CUT_SHORT,
        )
