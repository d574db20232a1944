"""Refuse series whose headers say that they are not a scan: segmentations, reports, localisers, colour images."""

from __future__ import annotations

from pathlib import Path

from sautomed.errors import DamagedDicom, NotAVolume, TruncatedFile, UnsupportedVoxels
from sautomed.scans.dicom.damage import EXPORT_AGAIN
from sautomed.scans.dicom.header import FileHeader
from sautomed.scans.dicom.series import Series, is_localizer
from sautomed.scans.payload import CUT_SHORT

# Voxels that are made from a scan, by modality.
_DERIVED = {"SEG": "a segmentation", "RTDOSE": "a dose distribution", "RTIMAGE": "a treatment image"}
_WITHOUT_IMAGE = {
    "RTSTRUCT": "a structure set",
    "RTPLAN": "a treatment plan",
    "SR": "a structured report",
    "PR": "a presentation state",
    "KO": "a list of key images",
    "REG": "a registration",
    "DOC": "a document",
}
_GIVE_SCAN = "Give the scan itself: a series of CT, MR or PET slices."
PLAIN_SYNTAXES = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2")  # uncompressed


def require_scan(series: Series, where: Path) -> None:
    """Check from the headers that a series is a stack of grey images with positions.

    Raises:
        NotAVolume: It is something else than slices of a scan.
        UnsupportedVoxels: Its pixels are not grey values.
        DamagedDicom, TruncatedFile: A header promises an impossible size, or more pixels than its file holds.
    """
    header = series.slices[0].file
    fault = _image_fault(header) or _stack_fault(series)
    if fault:
        raise NotAVolume(fault, where=where, cure=_GIVE_SCAN)
    _require_geometry(series, where)
    for item in {id(one.file): one.file for one in series.slices}.values():
        _require_grey(item, where)
        _require_size(item, where)


def _image_fault(header: FileHeader) -> str:
    """Say what a file is, if it is not an image of a patient; else return an empty text."""
    if header.modality in _DERIVED:
        return f"is {_DERIVED[header.modality]} ({header.kind or header.modality}), not a scan."
    if header.rows is None or header.columns is None:
        kind = _WITHOUT_IMAGE.get(header.modality) or header.kind or "a DICOM file of an unstated kind"
        return f"holds no image: it is {kind}."
    return ""


def _stack_fault(series: Series) -> str:
    """Say why images of this kind form no volume; return an empty text if they may."""
    first = series.slices[0]
    count = len(series.slices)
    if is_localizer(first):
        return f"is a localiser ({count} images), made to plan a scan; its images form no volume."
    if "MOSAIC" in first.file.image_type.split("\\"):
        return "is a Siemens mosaic: each image shows all slices of a volume side by side, which is not supported."
    if first.file.frames > 1 and not first.file.multi_frame:
        return f"has {first.file.frames} frames without a position for each, such as a film or a projection."
    return ""


def _require_geometry(series: Series, where: Path) -> None:
    """Refuse a series in which an image lacks position, orientation or pixel spacing."""
    count = len(series.slices)
    kind = series.slices[0].file.kind
    for name, lacking in (
        ("position (ImagePositionPatient)", [item for item in series.slices if item.position is None]),
        ("direction (ImageOrientationPatient)", [item for item in series.slices if item.orientation is None]),
        ("pixel spacing (PixelSpacing)", [item for item in series.slices if item.spacing is None]),
    ):
        if lacking:
            note = f", as is usual for {kind}" if "Secondary Capture" in kind else ""
            raise NotAVolume(
                f"is no volume: {len(lacking)} of {count} images have no {name}{note}; the first is {lacking[0].name}.",
                where=where,
                cure=_GIVE_SCAN
                if len(lacking) == count
                else "Remove these images from the series, or export it again.",
            )


def _require_grey(header: FileHeader, where: Path) -> None:
    """Refuse pixels that are not one grey value in a supported number format."""
    fault = ""
    if header.samples != 1 or not header.photometric.startswith("MONOCHROME"):
        photometric = header.photometric or "no photometric interpretation"
        fault = (
            f"stores colours ({photometric}, {header.samples} values per pixel), but a scan needs one number per voxel"
        )
    elif header.lookup:
        fault = "needs a table (Modality LUT) to turn stored values into intensities, which is not supported"
    elif header.bits_allocated not in (8, 16, 32, 64):
        fault = f"stores pixels of {header.bits_allocated} bits, which are not supported"
    elif header.bits_stored is not None and not 0 < header.bits_stored <= header.bits_allocated:
        fault = f"stores {header.bits_stored} bits in each {header.bits_allocated}, which is impossible"
    elif header.bits_stored and header.high_bit is not None and header.high_bit != header.bits_stored - 1:
        fault = (
            f"stores its {header.bits_stored} bits at the upper end of {header.bits_allocated}, which is not supported"
        )
    if fault:
        cure = "Give the original series from the scanner, or export it as grey values."
        raise UnsupportedVoxels(f"{fault} ({header.member}).", where=where, cure=cure)


def _require_size(header: FileHeader, where: Path) -> None:
    """Refuse impossible image sizes, and headers that promise more pixels than their file can hold."""
    rows, columns, bits = header.rows or 0, header.columns or 0, header.bits_allocated or 0
    if not (0 < rows <= 65535 and 0 < columns <= 65535):
        raise DamagedDicom(
            f"has images of {columns} x {rows} pixels ({header.member}).", where=where, cure=EXPORT_AGAIN
        )
    promised = rows * columns * header.frames * bits // 8
    if header.syntax in PLAIN_SYNTAXES and header.size is not None and promised > header.size:
        raise TruncatedFile(
            f"is truncated or has a damaged header: {header.member} promises {promised} bytes of pixels, but it ends "
            f"at byte {header.size}.",
            where=where,
            cure=CUT_SHORT,
        )
