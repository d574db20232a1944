"""Write DICOM RT Structure Sets, contours per organ and slice, with pydicom alone; and rasterise them again.

Contours run along the edges of voxels (see `contours`), so they enclose the volume of the label map, and filling them
at voxel centres restores every voxel. Holes are joined to their outline by a channel of zero width, the "keyhole" of
PS3.3 C.8.8.6.3: many programs fill each contour separately, and would fill a hole that is a separate contour. Vertices
are rounded to 0.0001 mm.

rt-utils is not used: it loses holes and thin parts, supports only axial series, and is hardly maintained.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.tag import Tag
from pydicom.uid import ImplicitVRLittleEndian, RTStructureSetStorage, generate_uid
from scipy import ndimage

from sautomed.scans.dicom.derived.codes import code_item, colour_rgb, label_text, organ_code
from sautomed.scans.dicom.derived.contours import area, fill, outlines
from sautomed.scans.dicom.derived.planes import Planes
from sautomed.scans.dicom.derived.references import (
    VERSION,
    SliceReference,
    SourceSeries,
    classes_of,
    file_at_fault,
    frames_of,
    headers_at_fault,
    mismatch,
    require_equal,
    source_series,
)
from sautomed.scans.files import atomic_write
from sautomed.scans.volume import LabelMap

SERIES_NUMBER = 901  # ours: above the numbers that scanners use
AREA_TOLERANCE = 1e-3  # relative, per organ; rounding vertices to 0.0001 mm stays far below
_CONTOUR_DATA = Tag("ContourData")
_STUDY_MANAGEMENT = "1.2.840.10008.3.1.2.3.1"  # retired SOP class by which RTSTRUCT still refers to a study


def write_rtstruct(labels: LabelMap, path: str | Path, description: str = "sautomed structures") -> None:
    """Write a label map as an RT Structure Set that refers to its series; atomically.

    Before the file replaces `path`, its contours are rasterised and compared voxel by voxel, and their area is compared
    with that of the voxels. Every named class is a region of interest, with or without contours; its number is the
    label value.

    Args:
        labels: On the grid of a DICOM series of any orientation.
        path: An existing file is replaced.
        description: SeriesDescription.
    Raises:
        NoDicomSource: There is no series to refer to.
        OutputMismatch: The file does not read back as the label map.
        UnwritableTarget: `path` cannot be written.
    """
    source = source_series(labels.native, path)
    frames = frames_of(labels)
    classes = classes_of(labels)
    with headers_at_fault(path), pydicom.config.disable_value_validation():
        dataset = _structure_set(frames, classes, source, label_text(description))
    with atomic_write(path) as temporary:
        with headers_at_fault(path):
            dataset.save_as(temporary, enforce_file_format=True)
        del dataset
        with file_at_fault(path):
            written, areas = read_rtstruct(temporary, source.planes)
        require_equal(written, frames, path)
        counts = labels.voxel_counts()
        for value in classes:
            count = counts.get(value, 0)
            if abs(areas.get(value, 0.0) - count) > AREA_TOLERANCE * count:
                raise mismatch(f"the contours of label {value} enclose another volume", path)


def read_rtstruct(path: str | Path, planes: Planes) -> tuple[NDArray[np.uint16], dict[int, float]]:
    """Rasterise the contours of a structure set on the slices of its series.

    Args:
        path: Regions of interest whose numbers are label values, with CLOSED_PLANAR contours.
        planes: Positions of the slices of the series.
    Returns:
        Label values (slices rows columns), and the area that the contours of each region enclose, in pixels.
    Raises:
        ValueError: A contour is not on a slice, or contours overlap.
    """
    dataset = pydicom.dcmread(path)
    values = np.zeros(planes.shape, np.uint16)
    areas: dict[int, float] = {}
    for region in dataset.ROIContourSequence:
        value = int(region.ReferencedROINumber)
        for contour in region.get("ContourSequence", []):
            points_mm = _contour_points(contour)
            number = planes.slice_at(points_mm)
            polygon = planes.pixels(number, points_mm)
            low = np.maximum(np.floor(polygon.min(axis=0)).astype(int), 0)
            high = np.maximum(np.ceil(polygon.max(axis=0)).astype(int) + 1, low)
            window = values[number, low[1] : high[1], low[0] : high[0]]
            inside = fill(polygon - low, window.shape)
            if window[inside].any():
                raise ValueError(f"contours overlap in slice {number + 1}")
            window[inside] = value
            areas[value] = areas.get(value, 0.0) + area(polygon)
    return values, areas


def _contour_points(contour: Dataset) -> NDArray[np.float64]:
    """Return the vertices (n 3) of a contour; parsed in one go, since pydicom would create an object per number."""
    raw: Any = contour.get_item(_CONTOUR_DATA)
    return np.array(bytes(raw.value).rstrip(b" \0").split(b"\\"), dtype=np.float64).reshape(-1, 3)


def _structure_set(
    frames: NDArray[np.unsignedinteger[Any]], classes: dict[int, str], source: SourceSeries, title: str
) -> FileDataset:
    """Return the complete object."""
    dataset = _general_part(source, title)
    dataset.StructureSetLabel = "SAUTOMED"
    dataset.StructureSetName = title
    dataset.StructureSetDate, dataset.StructureSetTime = dataset.SeriesDate, dataset.SeriesTime
    dataset.ReferencedFrameOfReferenceSequence = [_frame_of_reference(source)]
    contours = _contours(frames, list(classes), source)
    regions, contour_sets, observations = [], [], []
    for value, name in classes.items():
        regions.append(_region(value, name, source))
        contour_sets.append(_contour_set(value, contours[value]))
        observations.append(_observation(value, name))
    dataset.StructureSetROISequence = regions
    dataset.ROIContourSequence = contour_sets
    dataset.RTROIObservationsSequence = observations
    dataset.ApprovalStatus = "UNAPPROVED"
    return dataset


def _general_part(source: SourceSeries, title: str) -> FileDataset:
    """Return the object with its file meta, patient, study, series and equipment."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = RTStructureSetStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    # Explicit VR limits a contour to 64 KB, about 2000 points; implicit VR does not.
    meta.TransferSyntaxUID = ImplicitVRLittleEndian
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SpecificCharacterSet = "ISO_IR 192"
    for element in source.header:
        if not element.keyword.startswith("LossyImage"):  # of images only
            dataset.add(deepcopy(element))
    now = datetime.datetime.now()
    dataset.InstanceCreationDate = dataset.SeriesDate = now.strftime("%Y%m%d")
    dataset.InstanceCreationTime = dataset.SeriesTime = now.strftime("%H%M%S")
    dataset.SOPClassUID = meta.MediaStorageSOPClassUID
    dataset.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    dataset.Modality = "RTSTRUCT"
    dataset.SeriesInstanceUID = generate_uid()
    dataset.SeriesNumber = SERIES_NUMBER
    dataset.InstanceNumber = 1
    dataset.SeriesDescription = title
    dataset.OperatorsName = ""
    dataset.Manufacturer = dataset.ManufacturerModelName = "sautomed"
    dataset.SoftwareVersions = VERSION
    return dataset


def _frame_of_reference(source: SourceSeries) -> Dataset:
    """Return the reference to the series of the contours, with all its images."""
    series = Dataset()
    series.SeriesInstanceUID = source.header.SeriesInstanceUID
    series.ContourImageSequence = [_image(each) for each in source.images]
    study = Dataset()
    study.ReferencedSOPClassUID = _STUDY_MANAGEMENT
    study.ReferencedSOPInstanceUID = source.header.StudyInstanceUID
    study.RTReferencedSeriesSequence = [series]
    frame = Dataset()
    frame.FrameOfReferenceUID = source.header.FrameOfReferenceUID
    frame.RTReferencedStudySequence = [study]
    return frame


def _image(reference: SliceReference) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = reference.sop_class
    item.ReferencedSOPInstanceUID = reference.sop_instance
    if reference.frame is not None:
        item.ReferencedFrameNumber = reference.frame
    return item


def _region(value: int, name: str, source: SourceSeries) -> Dataset:
    item = Dataset()
    item.ROINumber = value
    item.ReferencedFrameOfReferenceUID = source.header.FrameOfReferenceUID
    item.ROIName = label_text(name)
    item.ROIGenerationAlgorithm = "AUTOMATIC"
    item.ROIGenerationDescription = f"sautomed {VERSION}"
    return item


def _contour_set(value: int, contours: list[Dataset]) -> Dataset:
    item = Dataset()
    item.ReferencedROINumber = value
    item.ROIDisplayColor = list(colour_rgb(value))
    if contours:
        item.ContourSequence = contours
    return item


def _observation(value: int, name: str) -> Dataset:
    organ = organ_code(name)
    item = Dataset()
    item.ObservationNumber = item.ReferencedROINumber = value
    item.RTROIInterpretedType = "ORGAN" if organ.is_known else ""
    item.ROIInterpreter = ""
    kind = code_item(organ.kind)
    if organ.modifier is not None:
        kind.SegmentedPropertyTypeModifierCodeSequence = [code_item(organ.modifier)]
    item.SegmentedPropertyCategoryCodeSequence = [code_item(organ.category)]
    item.RTROIIdentificationCodeSequence = [kind]
    return item


def _contours(
    frames: NDArray[np.unsignedinteger[Any]], values: list[int], source: SourceSeries
) -> dict[int, list[Dataset]]:
    """Return the contours of each class, slice by slice."""
    contours: dict[int, list[Dataset]] = {value: [] for value in values}
    order = np.zeros(max(values) + 1, np.int32)
    order[values] = np.arange(1, len(values) + 1)
    for number, frame in enumerate(frames):
        for value, corners in _outlines_of(order[frame], values):
            points_mm = source.planes.points_mm(number, corners)
            contour = _contour(points_mm, source.references[number])
            contour.ContourNumber = len(contours[value]) + 1
            contours[value].append(contour)
    return contours


def _outlines_of(frame: NDArray[np.int32], values: list[int]) -> Iterator[tuple[int, NDArray[np.float64]]]:
    """Yield label value and corners (n 2) of each island, as (column, row); integers are centres of pixels.

    Args:
        frame: (rows columns), index into `values` plus 1; 0 is background.
    """
    for place, box in enumerate(ndimage.find_objects(frame)):
        if box is None:
            continue
        corner = np.array([box[1].start, box[0].start]) - 0.5
        for outline in outlines(frame[box] == place + 1):
            yield values[place], outline + corner


def _contour(points_mm: NDArray[np.float64], reference: SliceReference) -> Dataset:
    item = Dataset()
    item.ContourImageSequence = [_image(reference)]
    item.ContourGeometricType = "CLOSED_PLANAR"
    item.NumberOfContourPoints = len(points_mm)
    # Adding 0.0 makes -0.0 positive.
    text = "\\".join(["%.4f" % number for number in (points_mm.round(4) + 0.0).ravel().tolist()]).encode()  # noqa: UP031
    text += b" " * (len(text) % 2)
    # As bytes, since pydicom would check every number; implicit VR does not store the type.
    item[_CONTOUR_DATA] = DataElement(_CONTOUR_DATA, "OB", text)
    return item
