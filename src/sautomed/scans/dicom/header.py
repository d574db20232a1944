"""What one DICOM file says before its pixels, and the slices that it holds.

A file of one image gives one slice, a multi-frame file one per frame. Nothing is judged here: what is absent is None.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import pydicom
from pydicom.dataset import Dataset
from pydicom.uid import MediaStorageDirectoryStorage

from sautomed.scans.dicom.damage import printable, translated
from sautomed.scans.dicom.deflated import inflated
from sautomed.scans.dicom.tags import items, number, numbers, text, uid_of, whole

FOLDER, FILE = "the folder", "the file"  # no DICOM keywords
# What may tell apart images that lie at one place, in the order of asking: (keyword, what people call it).
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
    *("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "Modality", "GantryDetectorTilt", "InstanceNumber"),
    *("Rows", "Columns", "NumberOfFrames", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"),
    *("SamplesPerPixel", "PhotometricInterpretation", "PixelPaddingValue", "ModalityLUTSequence"),
    *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"),
    *_GEOMETRY,
    *_TRAITS,
)
# Where a multi-frame file keeps what a plain file has at its top: (sequence, elements in its only item).
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
_SIGNS = ("SOPClassUID", "Modality", "Rows")  # one of them stands in every file that means anything here
_IMAGING = ("CT", "MR", "PT")


@dataclass(frozen=True)
class FileHeader:
    """What holds for a whole file.

    Args:
        member: Its name in the place.
        size: Its bytes, where they are not compressed as a whole; else None.
        sop_class: UID of its kind; empty if it does not say.
        syntax: UID of its transfer syntax; empty if it does not say.
        tilt_deg: GantryDetectorTilt, or None.
        instance: InstanceNumber, or None.
        frames: How many images it holds.
        bits_allocated, bits_stored, high_bit, signed: Of a stored pixel; None where the file is silent.
        lookup: Whether its values need a table to become intensities.
        multi_frame: Whether its frames have functional groups.
    """

    member: str
    size: int | None
    sop_class: str
    sop_uid: str
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
        """The name of the file's kind, such as "CT Image Storage"."""
        return printable(uid_of(self.sop_class).name) if self.sop_class else ""


@dataclass(frozen=True)
class Slice:
    """One image and its place; lengths are mm in DICOM's own axes (left, posterior, superior).

    Args:
        file: The file it is in.
        frame: Its number there, from 0; None in a file of one image.
        position: Of the first pixel's centre, or None.
        orientation: Direction of growing column index, then of growing row index, or None.
        spacing: Between rows, between columns, or None.
        slope, intercept: Intensity = stored * slope + intercept.
        rescaled: Whether the file gave them.
        traits: Values of `SPLITTERS` where the file has them.
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
        """How messages call it."""
        return self.file.member if self.frame is None else f"{self.file.member} frame {self.frame + 1}"


def read_slices(stream: BinaryIO, where: Path, member: str, size: int, sure: bool) -> list[Slice]:
    """The slices of one file, in the order of its frames; one for a file without an image.

    Args:
        stream: The file.
        where: What the user gave.
        member: The file within it.
        size: Bytes of the file.
        sure: Whether its first bytes leave no doubt that it is DICOM.
    Returns:
        Nothing, if it turns out not to be DICOM.
    Raises:
        DamagedDicom: The header cannot be read.
    """
    with translated(where, member, "has a DICOM header that cannot be read"):
        plain = inflated(stream)
        dataset = pydicom.dcmread(plain or stream, stop_before_pixels=True, force=True, specific_tags=list(_TAGS))
        if _is_directory(dataset) or not (sure or any(keyword in dataset for keyword in _SIGNS)):
            return []
        header = _file_header(dataset, member, None if plain else size, deflated=plain is not None)
        _require_image(header, dataset)
        if header.multi_frame:
            return _frames(dataset, header)
        return [_slice(dataset, None, header)]


def _is_directory(dataset: Dataset) -> bool:
    """Whether a file is a table of contents (DICOMDIR), whatever it is called."""
    return text(_meta_of(dataset), "MediaStorageSOPClassUID") == MediaStorageDirectoryStorage


def _require_image(header: FileHeader, dataset: Dataset) -> None:
    """Refuse a header that breaks off: a file must not be lost from a series because its end is."""
    if header.rows is not None and header.columns is not None:
        return
    meant = uid_of(text(_meta_of(dataset), "MediaStorageSOPClassUID"))
    is_known = uid_of(header.sop_class).name != header.sop_class
    if "Image Storage" not in f"{header.kind} {meant.name}":
        if is_known:  # raw data and the like lie beside images, and call their modality the same
            return
        # A kind that nobody knows, and no modality behind it: the UID itself may have been cut.
        if header.modality and header.modality not in _IMAGING:
            return
    raise ValueError("it breaks off before it says how large the image is")


def _meta_of(dataset: Dataset) -> Dataset:
    return getattr(dataset, "file_meta", None) or Dataset()


def _file_header(dataset: Dataset, member: str, size: int | None, *, deflated: bool) -> FileHeader:
    frames = whole(dataset, "NumberOfFrames") or 1
    if not 0 < frames <= FRAMES_LIMIT:
        raise ValueError(f"NumberOfFrames is {frames}")
    rows, columns = whole(dataset, "Rows"), whole(dataset, "Columns")
    return FileHeader(
        member=member,
        size=size,
        sop_class=text(dataset, "SOPClassUID"),
        sop_uid=text(dataset, "SOPInstanceUID"),
        series_uid=text(dataset, "SeriesInstanceUID"),
        syntax=_syntax(dataset, deflated=deflated),
        modality=text(dataset, "Modality"),
        description=text(dataset, "SeriesDescription"),
        series_number=_lenient(dataset, "SeriesNumber"),
        image_type=text(dataset, "ImageType").upper(),
        tilt_deg=_lenient_number(dataset, "GantryDetectorTilt"),
        instance=_lenient(dataset, "InstanceNumber"),
        rows=rows or None,
        columns=columns or None,
        frames=frames,
        bits_allocated=whole(dataset, "BitsAllocated"),
        bits_stored=whole(dataset, "BitsStored"),
        high_bit=_lenient(dataset, "HighBit"),
        signed=whole(dataset, "PixelRepresentation") == 1,
        samples=whole(dataset, "SamplesPerPixel") or 1,
        photometric=text(dataset, "PhotometricInterpretation").upper(),
        padding=_lenient_number(dataset, "PixelPaddingValue"),
        lookup=bool(items(dataset, "ModalityLUTSequence")),
        multi_frame=bool(items(dataset, "PerFrameFunctionalGroupsSequence")),
    )


def _syntax(dataset: Dataset, *, deflated: bool) -> str:
    """The transfer syntax; of a file without meta information, the plain one that pydicom found it in."""
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
    """The slices of a multi-frame file; what a frame does not say, the shared groups say."""
    frames = items(dataset, "PerFrameFunctionalGroupsSequence")
    if len(frames) != header.frames:
        raise ValueError(f"NumberOfFrames is {header.frames}, but {len(frames)} frames are described")
    shared = _flattened(next(iter(items(dataset, "SharedFunctionalGroupsSequence")), Dataset()))
    for keyword in _GEOMETRY[3:]:  # some scanners leave the scaling at the top
        if keyword in dataset and keyword not in shared:
            shared[keyword] = dataset[keyword]
    found = []
    for index, frame in enumerate(frames):
        own = _flattened(frame)
        for element in shared:
            if element.tag not in own:
                own[element.tag] = element
        found.append(_slice(own, index if header.frames > 1 else None, header))
    return found


def _flattened(groups: Dataset) -> Dataset:
    """The elements of `_GROUPS`, without the sequences around them."""
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
    read = {keyword: text(dataset, keyword) for keyword in _TRAITS if keyword in dataset}
    read[FOLDER] = header.member.rpartition("/")[0]
    read[FILE] = header.member if header.multi_frame else ""
    return {keyword: value for keyword, value in read.items() if value}


def _lenient_number(dataset: Dataset, keyword: str) -> float | None:
    """A number that nothing depends on; None if it is broken."""
    try:
        return number(dataset, keyword)
    except ValueError:
        return None


def _lenient(dataset: Dataset, keyword: str) -> int | None:
    found = _lenient_number(dataset, keyword)
    return None if found is None else int(found)
