"""Read the header of one DICOM file, without its pixels, as slices.

A file of one image gives one slice, a multi-frame file one per frame. Nothing is checked here: absent values are None.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import pydicom
from pydicom.dataset import Dataset
from pydicom.uid import MediaStorageDirectoryStorage

from sautomed.scans.dicom.damage import printable, translate_errors
from sautomed.scans.dicom.deflated import inflate
from sautomed.scans.dicom.identity import Identity, identity_of
from sautomed.scans.dicom.tags import integer, items, number, numbers, text, uid_of

FOLDER, FILE = "the folder", "the file"  # keys beside the DICOM keywords
# Elements that may distinguish images at one position, in order of preference: (keyword, its name in messages).
SPLITTERS = (
    ("EchoTime", "echo time"),
    ("EffectiveEchoTime", "echo time"),
    ("ImageType", "image type"),
    ("FrameType", "image type"),
    ("TemporalPositionIdentifier", "time point"),
    ("TemporalPositionIndex", "time point"),
    ("EchoNumbers", "echo"),
    ("InversionTime", "inversion time"),
    ("FlipAngle", "flip angle"),
    ("DiffusionBValue", "b-value"),
    ("DiffusionGradientOrientation", "gradient"),
    ("TriggerTime", "trigger time"),
    ("NominalPercentageOfCardiacPhase", "cardiac phase"),
    ("AcquisitionNumber", "acquisition"),
    ("ConvolutionKernel", "kernel"),
    ("KVP", "kVp"),
    ("StackID", "stack"),
    ("SeriesNumber", "series number"),
    ("SeriesDescription", "description"),
    ("StudyInstanceUID", "study"),
    ("PatientID", "patient"),
    ("AcquisitionTime", "acquisition time"),
    (FOLDER, "folder"),
    (FILE, "file"),
)
_TRAITS = tuple(keyword for keyword, _ in SPLITTERS if keyword not in (FOLDER, FILE))
_GEOMETRY = ("ImageOrientationPatient", "ImagePositionPatient", "PixelSpacing", "RescaleSlope", "RescaleIntercept")
_TAGS = (
    *("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "Modality"),
    *("GantryDetectorTilt", "InstanceNumber"),
    *("Rows", "Columns", "NumberOfFrames", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"),
    *("SamplesPerPixel", "PhotometricInterpretation", "PixelPaddingValue", "ModalityLUTSequence"),
    *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"),
    *_GEOMETRY,
    *_TRAITS,
)
# Elements of the top level that a multi-frame file keeps in functional groups: (sequence, elements of its only item).
_GROUPS = (
    ("PlanePositionSequence", ("ImagePositionPatient",)),
    ("PlaneOrientationSequence", ("ImageOrientationPatient",)),
    ("PixelMeasuresSequence", ("PixelSpacing",)),
    ("PixelValueTransformationSequence", ("RescaleSlope", "RescaleIntercept")),
    ("FrameContentSequence", ("TemporalPositionIndex", "StackID")),
    ("MREchoSequence", ("EffectiveEchoTime",)),
    ("MRImageFrameTypeSequence", ("FrameType",)),
    ("CTImageFrameTypeSequence", ("FrameType",)),
    ("PETFrameTypeSequence", ("FrameType",)),
    ("MRDiffusionSequence", ("DiffusionBValue",)),
    ("CardiacSynchronizationSequence", ("NominalPercentageOfCardiacPhase",)),
)
FRAMES_LIMIT = 100_000  # ours
_EXPECTED = ("SOPClassUID", "Modality", "Rows")  # every file of use here has at least one of them
_SCAN_MODALITIES = ("CT", "MR", "PT")


@dataclass(frozen=True)
class FileHeader:
    """Header elements of a whole file; texts are empty, and numbers None, if the file has none.

    Args:
        member: Name of the file in its container.
        size: Bytes of the file; None if its data set is deflated.
        identity: UIDs by which derived objects refer to the file.
        sop_class: SOPClassUID, the kind of the file.
        syntax: TransferSyntaxUID.
        tilt_deg: GantryDetectorTilt.
        instance: InstanceNumber.
        frames: Number of images.
        bits_allocated, bits_stored, high_bit, signed: Number format of a stored pixel.
        samples: Values per pixel.
        padding: PixelPaddingValue.
        lookup: Whether stored values need a table (Modality LUT) to become intensities.
        multi_frame: Whether the frames have functional groups.
    """

    member: str
    size: int | None
    identity: Identity
    sop_class: str
    series_uid: str
    syntax: str
    modality: str
    description: str
    series_number: int | None
    image_type: str
    tilt_deg: float | None
    instance: int | None
    rows: int | None
    columns: int | None
    frames: int
    bits_allocated: int | None
    bits_stored: int | None
    high_bit: int | None
    signed: bool
    samples: int
    photometric: str
    padding: float | None
    lookup: bool
    multi_frame: bool

    @property
    def kind(self) -> str:
        """Name of the SOP class, such as "CT Image Storage"."""
        return printable(uid_of(self.sop_class).name) if self.sop_class else ""


@dataclass(frozen=True)
class Slice:
    """One image and its position; lengths are mm in DICOM's axes (left, posterior, superior).

    Args:
        file: Header of its file.
        frame: Index of the frame in the file, from 0; None in a file of one image.
        position: Centre of the first pixel, or None.
        orientation: Direction of growing column index, then of growing row index, or None.
        spacing: Between rows, between columns, or None.
        slope, intercept: Intensity = stored * slope + intercept.
        rescaled: Whether the file gives slope or intercept.
        traits: Values of the `SPLITTERS` that the file has.
    """

    file: FileHeader
    frame: int | None
    position: tuple[float, ...] | None
    orientation: tuple[float, ...] | None
    spacing: tuple[float, ...] | None
    slope: float
    intercept: float
    rescaled: bool
    traits: dict[str, str]

    @property
    def name(self) -> str:
        """Name for messages: the file, and the frame counted from 1."""
        return self.file.member if self.frame is None else f"{self.file.member} frame {self.frame + 1}"


def read_slices(stream: BinaryIO, where: Path, member: str, size: int, has_magic: bool) -> list[Slice]:
    """Read the slices of one file, in the order of its frames; a file without an image gives one slice too.

    Args:
        stream: The file.
        where: The path that the user gave.
        member: Name of the file in it.
        size: Bytes of the file.
        has_magic: Whether the file has the letters DICM, and so is DICOM beyond doubt.
    Returns:
        An empty list for a directory (DICOMDIR), or if the file turns out not to be DICOM.
    Raises:
        DamagedDicom: The header cannot be read.
    """
    with translate_errors(where, member, "has a DICOM header that cannot be read"):
        inflated = inflate(stream)
        dataset = pydicom.dcmread(inflated or stream, stop_before_pixels=True, force=True, specific_tags=list(_TAGS))
        if _is_directory(dataset) or not (has_magic or any(keyword in dataset for keyword in _EXPECTED)):
            return []
        header = _file_header(dataset, member, None if inflated else size, deflated=inflated is not None)
        _require_image(header, dataset)
        if header.multi_frame:
            return _frames(dataset, header)
        return [_slice(dataset, None, header)]


def _is_directory(dataset: Dataset) -> bool:
    """Whether a file is a table of contents (DICOMDIR), whatever its name."""
    return text(_meta_of(dataset), "MediaStorageSOPClassUID") == MediaStorageDirectoryStorage


def _require_image(header: FileHeader, dataset: Dataset) -> None:
    """Refuse an image whose header is cut off before Rows and Columns: it must not drop out of its series silently."""
    if header.rows is not None and header.columns is not None:
        return
    class_in_meta = uid_of(text(_meta_of(dataset), "MediaStorageSOPClassUID"))
    is_known = uid_of(header.sop_class).name != header.sop_class
    if "Image Storage" not in f"{header.kind} {class_in_meta.name}":
        if is_known:  # such as raw data, which has the modality of the images beside it
            return
        # An unknown class without a modality: the UID itself may have been cut off.
        if header.modality and header.modality not in _SCAN_MODALITIES:
            return
    raise ValueError("it ends before the size of the image")


def _meta_of(dataset: Dataset) -> Dataset:
    return getattr(dataset, "file_meta", None) or Dataset()


def _file_header(dataset: Dataset, member: str, size: int | None, *, deflated: bool) -> FileHeader:
    frames = integer(dataset, "NumberOfFrames") or 1
    if not 0 < frames <= FRAMES_LIMIT:
        raise ValueError(f"NumberOfFrames is {frames}")
    rows, columns = integer(dataset, "Rows"), integer(dataset, "Columns")
    return FileHeader(
        member=member,
        size=size,
        identity=identity_of(dataset, member),
        sop_class=text(dataset, "SOPClassUID"),
        series_uid=text(dataset, "SeriesInstanceUID"),
        syntax=_syntax(dataset, deflated=deflated),
        modality=text(dataset, "Modality"),
        description=text(dataset, "SeriesDescription"),
        series_number=_integer_or_none(dataset, "SeriesNumber"),
        image_type=text(dataset, "ImageType").upper(),
        tilt_deg=_number_or_none(dataset, "GantryDetectorTilt"),
        instance=_integer_or_none(dataset, "InstanceNumber"),
        rows=rows or None,
        columns=columns or None,
        frames=frames,
        bits_allocated=integer(dataset, "BitsAllocated"),
        bits_stored=integer(dataset, "BitsStored"),
        high_bit=_integer_or_none(dataset, "HighBit"),
        signed=integer(dataset, "PixelRepresentation") == 1,
        samples=integer(dataset, "SamplesPerPixel") or 1,
        photometric=text(dataset, "PhotometricInterpretation").upper(),
        padding=_number_or_none(dataset, "PixelPaddingValue"),
        lookup=bool(items(dataset, "ModalityLUTSequence")),
        multi_frame=bool(items(dataset, "PerFrameFunctionalGroupsSequence")),
    )


def _syntax(dataset: Dataset, *, deflated: bool) -> str:
    """Return the transfer syntax; for a file without meta information, the one that pydicom detected."""
    stated = text(_meta_of(dataset), "TransferSyntaxUID")
    if deflated:
        return str(pydicom.uid.DeflatedExplicitVRLittleEndian)
    if stated:
        return stated
    implicit, little = dataset.original_encoding
    if implicit:
        return str(pydicom.uid.ImplicitVRLittleEndian)
    return str(pydicom.uid.ExplicitVRLittleEndian if little else pydicom.uid.ExplicitVRBigEndian)


def _frames(dataset: Dataset, header: FileHeader) -> list[Slice]:
    """Return the slices of a multi-frame file; elements that a frame lacks come from the shared groups."""
    frames = items(dataset, "PerFrameFunctionalGroupsSequence")
    if len(frames) != header.frames:
        raise ValueError(f"NumberOfFrames is {header.frames}, but {len(frames)} frames are described")
    shared = _flattened(next(iter(items(dataset, "SharedFunctionalGroupsSequence")), Dataset()))
    for keyword in _GEOMETRY[3:]:  # some scanners leave the scaling at the top
        if keyword in dataset and keyword not in shared:
            shared[keyword] = dataset[keyword]
    slices = []
    for index, frame in enumerate(frames):
        own = _flattened(frame)
        for element in shared:
            if element.tag not in own:
                own[element.tag] = element
        slices.append(_slice(own, index if header.frames > 1 else None, header))
    return slices


def _flattened(groups: Dataset) -> Dataset:
    """Return the elements of `_GROUPS` without the sequences around them."""
    flat = Dataset()
    for sequence, keywords in _GROUPS:
        for item in items(groups, sequence)[:1]:
            for keyword in keywords:
                if keyword in item:
                    flat[keyword] = item[keyword]
    return flat


def _slice(dataset: Dataset, frame: int | None, header: FileHeader) -> Slice:
    slope, intercept = number(dataset, "RescaleSlope"), number(dataset, "RescaleIntercept")
    return Slice(
        file=header,
        frame=frame,
        position=numbers(dataset, "ImagePositionPatient", 3),
        orientation=numbers(dataset, "ImageOrientationPatient", 6),
        spacing=numbers(dataset, "PixelSpacing", 2),
        slope=1.0 if slope is None else slope,
        intercept=0.0 if intercept is None else intercept,
        rescaled=slope is not None or intercept is not None,
        traits=_traits(dataset, header),
    )


def _traits(dataset: Dataset, header: FileHeader) -> dict[str, str]:
    values = {keyword: text(dataset, keyword) for keyword in _TRAITS if keyword in dataset}
    values[FOLDER] = header.member.rpartition("/")[0]
    values[FILE] = header.member if header.multi_frame else ""
    return {keyword: value for keyword, value in values.items() if value}


def _number_or_none(dataset: Dataset, keyword: str) -> float | None:
    """Return a number that is not needed to read the scan; None if it is invalid."""
    try:
        return number(dataset, keyword)
    except ValueError:
        return None


def _integer_or_none(dataset: Dataset, keyword: str) -> int | None:
    value = _number_or_none(dataset, keyword)
    return None if value is None else int(value)
