"""Write DICOM Segmentation objects with highdicom, and read them back without it.

BINARY has one frame per class and slice in which it occurs; LABELMAP (Supplement 243) has one frame per slice with
the label values themselves. Both refer to the images of the series slice by slice.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import highdicom as hd
import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from sautomed.scans.dicom.derived.codes import code_item, label_text, organ_code
from sautomed.scans.dicom.derived.planes import Planes
from sautomed.scans.dicom.derived.references import (
    VERSION,
    SliceReference,
    SourceSeries,
    classes_of,
    file_at_fault,
    frames_of,
    headers_at_fault,
    require_equal,
    source_series,
)
from sautomed.scans.dicom.segmentation import TRACKING
from sautomed.scans.files import atomic_write
from sautomed.scans.palette import colour_of
from sautomed.scans.volume import LabelMap

Kind = Literal["binary", "labelmap"]
SERIES_NUMBER = 900  # ours: above the numbers that scanners use
_POSITION_TOLERANCE_MM = 0.01
_DIRECTION_TOLERANCE = 1e-4


@dataclass(frozen=True, eq=False)
class SegFrame:
    """One frame of a segmentation.

    Args:
        position_mm: (3), centre of its first pixel, LPS.
        values: (rows columns), label values; 0 outside of the segment.
    """

    position_mm: NDArray[np.float64]
    values: NDArray[np.uint16]


def write_seg(
    labels: LabelMap, path: str | Path, kind: Kind = "binary", description: str = "sautomed segmentation"
) -> None:
    """Write a label map as a DICOM Segmentation that refers to its series; atomically.

    The file is read back with pydicom alone and compared voxel by voxel before it replaces `path`. Every named class is
    described, with or without voxels.

    Args:
        labels: On the grid of a DICOM series.
        path: An existing file is replaced.
        kind: "binary" for every viewer; "labelmap" is smaller, and its segment numbers are the label values.
        description: SeriesDescription.
    Raises:
        NoDicomSource: There is no series to refer to.
        OutputMismatch: The file does not read back as the label map.
        UnwritableTarget: `path` cannot be written.
    """
    source = source_series(labels.native, path)
    frames = frames_of(labels)
    with headers_at_fault(path):
        dataset = _segmentation(frames, classes_of(labels), source, kind, label_text(description))
    with atomic_write(path) as temporary:
        with headers_at_fault(path):
            dataset.save_as(temporary)
        del dataset
        with file_at_fault(path):
            written = read_seg(temporary, source.planes)
        require_equal(written, frames, path)


def write_labelmap_seg(labels: LabelMap, path: str | Path) -> None:
    """Write a label map as a DICOM Segmentation of the kind "labelmap"; as `write_seg`."""
    write_seg(labels, path, kind="labelmap")


def read_seg(path: str | Path, planes: Planes) -> NDArray[np.uint16]:
    """Read a segmentation that `write_seg` wrote, with pydicom alone.

    Args:
        path: BINARY or LABELMAP, uncompressed.
        planes: Positions of the slices of the series.
    Returns:
        Label values (slices rows columns), on the slices of the series.
    Raises:
        ValueError: Frames are not on the slices, or segments overlap.
    """
    dataset = pydicom.dcmread(path)
    _require_orientation(dataset, planes)
    values = np.zeros(planes.shape, np.uint16)
    for frame in seg_frames(dataset):
        number = planes.slice_at(frame.position_mm[None])
        if np.linalg.norm(planes.origins_mm[number] - frame.position_mm) > _POSITION_TOLERANCE_MM:
            raise ValueError(f"a frame of slice {number + 1} is shifted")
        if np.any(values[number][frame.values > 0]):
            raise ValueError(f"segments overlap in slice {number + 1}")
        values[number] += frame.values
    return values


def seg_frames(dataset: Dataset) -> Iterator[SegFrame]:
    """Yield the frames of a segmentation, decoded one at a time to save memory."""
    size = dataset.Rows * dataset.Columns
    is_binary = dataset.SegmentationType == "BINARY"
    stored = np.frombuffer(dataset.PixelData, "<u2" if dataset.BitsAllocated == 16 else np.uint8)
    values = {int(each.SegmentNumber): _label_value(each) for each in dataset.SegmentSequence}
    lookup = np.zeros(max(values) + 1, np.uint16)
    lookup[list(values)] = list(values.values())
    shared = dataset.SharedFunctionalGroupsSequence[0]
    for number, group in enumerate(dataset.PerFrameFunctionalGroupsSequence):
        position = np.array(group.PlanePositionSequence[0].ImagePositionPatient, dtype=np.float64)
        start = number * size
        if is_binary:
            segment = (group if "SegmentIdentificationSequence" in group else shared).SegmentIdentificationSequence[0]
            value = lookup[segment.ReferencedSegmentNumber]
            frame = _bits(stored, start, start + size) * value
        else:
            frame = lookup[stored[start : start + size]]
        yield SegFrame(position, frame.reshape(dataset.Rows, dataset.Columns))


def _bits(stored: NDArray[Any], start: int, stop: int) -> NDArray[np.uint8]:
    """Return bits `start` to `stop` of packed frames; a frame need not start at a byte (PS3.5, 8.1.1)."""
    first = start // 8
    return np.unpackbits(stored[first : -(-stop // 8)], bitorder="little")[start - first * 8 : stop - first * 8]


def _label_value(segment: Dataset) -> int:
    if segment.SegmentNumber == 0:  # LABELMAP describes its background too
        return 0
    return int(segment.TrackingID.removeprefix(TRACKING))


def _require_orientation(dataset: Dataset, planes: Planes) -> None:
    """Raise ValueError unless size, directions and spacing of the frames are those of the series."""
    shared = dataset.SharedFunctionalGroupsSequence[0]
    directions = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, dtype=np.float64)
    spacing = np.array(shared.PixelMeasuresSequence[0].PixelSpacing, dtype=np.float64)
    if (dataset.Rows, dataset.Columns) != planes.shape[1:]:
        raise ValueError("frames have another size")
    if np.abs(directions - planes.directions).max() > _DIRECTION_TOLERANCE:
        raise ValueError("frames have other directions")
    if np.abs(spacing / planes.spacing_mm - 1).max() > _DIRECTION_TOLERANCE:
        raise ValueError("pixels have another size")


def _segmentation(
    frames: NDArray[np.unsignedinteger[Any]], classes: dict[int, str], source: SourceSeries, kind: Kind, title: str
) -> Dataset:
    """Return the complete object."""
    numbers = {value: value if kind == "labelmap" else number for number, value in enumerate(classes, start=1)}
    lookup = np.zeros(max(classes) + 1, np.uint8 if max(numbers.values()) < 256 else np.uint16)
    lookup[list(numbers)] = list(numbers.values())
    is_empty = not frames.any()
    # Without any voxel, highdicom would write every slice for every class; one slice is enough.
    written = slice(0, 1) if is_empty and kind == "binary" else slice(None)
    with pydicom.config.disable_value_validation(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # such as of an invalid patient name, which is copied as it is
        dataset = hd.seg.Segmentation(
            source_images=_minimal_headers(source)[written],
            pixel_array=lookup[frames[written]],
            segmentation_type=kind.upper(),
            segment_descriptions=[
                _segment_description(numbers[value], value, name, source) for value, name in classes.items()
            ],
            series_instance_uid=generate_uid(),
            series_number=SERIES_NUMBER,
            sop_instance_uid=generate_uid(),
            instance_number=1,
            manufacturer="sautomed",
            manufacturer_model_name="sautomed",
            software_versions=VERSION,
            device_serial_number=VERSION,
            content_label="SAUTOMED",
            content_description=title,
            transfer_syntax_uid=ExplicitVRLittleEndian,
            omit_empty_frames=kind == "binary" and not is_empty,
            series_description=title,
            specific_character_set="ISO_IR 192",
        )
        _reference_real_images(dataset, source)
        if kind == "binary" and dataset.Rows * dataset.Columns < 8:
            _repack_bits(dataset)
    return dataset


def _repack_bits(dataset: Dataset) -> None:
    """Pack frames of fewer than 8 pixels without gaps (PS3.5 8.1.1); highdicom 0.28 starts a new byte for each."""
    padded = np.frombuffer(dataset.PixelData, np.uint8)[: int(dataset.NumberOfFrames), None]
    bits = np.unpackbits(padded, axis=1, bitorder="little")[:, : dataset.Rows * dataset.Columns]
    packed = np.packbits(bits, bitorder="little").tobytes()
    dataset.PixelData = packed + bytes(len(packed) % 2)


def _segment_description(number: int, value: int, name: str, source: SourceSeries) -> Dataset:
    """Return the description of one segment."""
    organ = organ_code(name)
    text = name.encode("utf-8", "backslashreplace").decode()  # bytes of a file name that are no UTF-8 become escapes
    algorithm = hd.AlgorithmIdentificationSequence(
        name="sautomed", family=codes.cid7162.ArtificialIntelligence, version=VERSION, source="sautomed"
    )
    segment = hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=label_text(name),
        segmented_property_category=organ.category,
        segmented_property_type=organ.kind,
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=algorithm,
        tracking_id=f"{TRACKING}{value}",
        tracking_uid=generate_uid(entropy_srcs=[str(source.header.SeriesInstanceUID), str(value), text]),
        display_color=hd.color.CIELabColor.from_string(colour_of(value)),
    )
    if organ.modifier is not None:
        kind = segment.SegmentedPropertyTypeCodeSequence[0]
        kind.SegmentedPropertyTypeModifierCodeSequence = [code_item(organ.modifier)]
    return segment


def _minimal_headers(source: SourceSeries) -> list[Dataset]:
    """Return a header per slice with only what highdicom needs, as of a file with one slice.

    highdicom refuses real headers for reasons that do not matter here: a missing AccessionNumber, orientations that
    differ in the last digit, a multi-frame file of which only some frames are used.
    """
    planes = source.planes
    headers = []
    for number, origin in enumerate(planes.origins_mm):
        header = Dataset()
        header.update(source.header)
        header.SpecificCharacterSet = "ISO_IR 192"
        header.SOPClassUID = CTImageStorage
        header.SOPInstanceUID = f"2.25.{number + 1}"
        header.Rows, header.Columns = planes.shape[1:]
        header.ImagePositionPatient = _decimals(origin)
        header.ImageOrientationPatient = _decimals(planes.directions)
        header.PixelSpacing = _decimals(np.array(planes.spacing_mm))
        header.SliceThickness = _decimals(np.array([source.slice_thickness_mm]))[0]
        if planes.slice_gap_mm:
            header.SpacingBetweenSlices = _decimals(np.array([planes.slice_gap_mm]))[0]
        headers.append(header)
    return headers


def _decimals(numbers: NDArray[np.float64]) -> list[str]:
    """Format numbers for VR DS, which has at most 16 characters."""
    return [pydicom.valuerep.format_number_as_ds(float(number)) for number in numbers]


def _reference_real_images(dataset: Dataset, source: SourceSeries) -> None:
    """Replace the references to `_minimal_headers` by references to the real images."""
    real_by_uid = {f"2.25.{number}": real for number, real in enumerate(source.references, start=1)}
    for group in dataset.PerFrameFunctionalGroupsSequence:
        for derivation in group.DerivationImageSequence:
            for item in derivation.SourceImageSequence:
                # Frames of one slice share their item, so it may have been replaced already.
                real = real_by_uid.get(str(item.ReferencedSOPInstanceUID))
                if real is not None:
                    _set_reference(item, real)
    images = [_set_reference(Dataset(), image) for image in source.images]
    dataset.SourceImageSequence = images
    series = Dataset()
    series.SeriesInstanceUID = source.header.SeriesInstanceUID
    series.ReferencedInstanceSequence = images
    dataset.ReferencedSeriesSequence = [series]


def _set_reference(item: Dataset, image: SliceReference) -> Dataset:
    item.ReferencedSOPClassUID = image.sop_class
    item.ReferencedSOPInstanceUID = image.sop_instance
    if image.frame is not None:
        item.ReferencedFrameNumber = image.frame
    return item
