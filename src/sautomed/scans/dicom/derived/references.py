"""Read from a series what objects derived from it need: patient, study, and references to its images.

Arrays are (slice, row, column) in the order of the series, as DICOM frames are, whatever plane the slices of the label
map have.
"""

from __future__ import annotations

import re
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.uid import generate_uid

from sautomed.errors import NoDicomSource, OutputMismatch
from sautomed.scans.dicom.derived.planes import Planes
from sautomed.scans.dicom.identity import Identity, ambiguity_of, identity_of
from sautomed.scans.dicom.source import DicomSource, why_not_referable
from sautomed.scans.grid import NativeGrid
from sautomed.scans.volume import LabelMap

LPS_OF_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
# Largest distance between grid and files: reading corrects axes by up to 1 mm, and gaps may be slightly uneven.
GRID_TOLERANCE_MM = 1.5
# Exceptions that values of odd or hostile headers can raise, here or in highdicom.
HEADER_FAULTS = (
    ArithmeticError, AttributeError, InvalidDicomError, LookupError, NotImplementedError, TypeError, ValueError,
    struct.error,
)  # fmt: skip
_CURE = "Choose an output that needs no series, such as a name that ends in .nii.gz."

try:  # not from the package `sautomed`, which may not be imported here
    VERSION = version("sautomed")
except PackageNotFoundError:  # run from a checkout that is not installed
    VERSION = "0"

_MAY_BE_EMPTY = (
    "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "AccessionNumber",
    "StudyID", "ReferringPhysicianName", "PositionReferenceIndicator",
)  # fmt: skip
_MAY_BE_ABSENT = (
    "StudyDescription", "PatientAge", "PatientSize", "PatientWeight", "PatientIdentityRemoved",
    "DeidentificationMethod", "ClinicalTrialSponsorName", "ClinicalTrialProtocolID", "ClinicalTrialSubjectID",
    "LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod",
)  # fmt: skip
_FORMS = {  # values of another form are left out, since a reader may refuse the whole object for them
    "PatientBirthDate": r"\d{8}", "StudyDate": r"\d{8}", "StudyTime": r"\d{2}(\d{2}(\d{2}(\.\d{1,6})?)?)?",
    "PatientSex": "[MFO]", "PatientAge": r"\d{3}[DWMY]", "LossyImageCompression": "0[01]",
}  # fmt: skip


@dataclass(frozen=True)
class SliceReference:
    """Reference to the image of a slice.

    Args:
        sop_class: SOPClassUID.
        sop_instance: SOPInstanceUID.
        frame: Number of the frame, from 1; None for a file of one slice.
    """

    sop_class: str
    sop_instance: str
    frame: int | None = None


@dataclass(frozen=True, eq=False)
class SourceSeries:
    """The series that a label map belongs to.

    Args:
        header: Patient, study, series, frame of reference and modality; required elements may be empty, but exist.
        references: One per slice.
        planes: Positions of the slices.
        slice_thickness_mm: SliceThickness, or the distance of slices if the files have none.
    """

    header: Dataset
    references: tuple[SliceReference, ...]
    planes: Planes
    slice_thickness_mm: float

    @property
    def images(self) -> list[SliceReference]:
        """References to each file once, without frames."""
        return list(dict.fromkeys(SliceReference(each.sop_class, each.sop_instance) for each in self.references))


def source_series(native: NativeGrid, path: str | Path) -> SourceSeries:
    """Read the series that a label map was made from.

    Args:
        native: The grid of the label map.
        path: The file to be written, for messages.
    Raises:
        NoDicomSource: The scan is not a DICOM series, was resampled, its files do not have UIDs of their own, or are
            missing or have changed.
    """
    source = native.source
    fault = why_not_referable(source)
    if fault or not isinstance(source, DicomSource):
        raise _no_source(f"{fault}.", path)
    try:
        with pydicom.config.disable_value_validation(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # such as of an unknown character set, which reading accepts too
            headers = dict(zip(dict.fromkeys(source.members), source.headers(), strict=True))
            return _collect(source, headers, native)
    except (OSError, *HEADER_FAULTS) as error:
        fault = f"the headers of the series at {source.path} cannot be used: {_reason(error)}."
        raise _no_source(fault, path) from error


def frames_of(labels: LabelMap) -> NDArray[np.unsignedinteger[Any]]:
    """Return the labels as frames of the series, (slices rows columns), contiguous."""
    return np.ascontiguousarray(labels.to_native().transpose(2, 1, 0))


def classes_of(labels: LabelMap) -> dict[int, str]:
    """Return the name of each class by value: all that have a name, and "label N" for others that occur.

    A DICOM object needs at least one class, so an empty label map without names gets "label 1".
    """
    unnamed = {value: f"label {value}" for value in labels.unknown_values()}
    named = {value: name for value, name in labels.names.items() if value != 0}
    return dict(sorted((named | unnamed).items())) or {1: "label 1"}


def require_equal(written: NDArray[Any], wanted: NDArray[Any], path: str | Path) -> None:
    """Raise OutputMismatch, with the number of voxels and the first slice, if two arrays of frames differ."""
    wrong = written != wanted
    if not wrong.any():
        return
    raise mismatch(f"{int(wrong.sum())} voxels differ, the first in slice {int(np.argwhere(wrong)[0][0]) + 1}", path)


@contextmanager
def headers_at_fault(path: str | Path) -> Iterator[None]:
    """Turn exceptions while an object is built and encoded into NoDicomSource: a header of the series causes them.

    Raises:
        NoDicomSource: With the reason.
    """
    try:
        yield
    except HEADER_FAULTS as error:
        fault = f"the headers of this series do not allow a DICOM object: {_reason(error)}."
        raise _no_source(fault, path) from error


@contextmanager
def file_at_fault(path: str | Path) -> Iterator[None]:
    """Turn exceptions while a file that was just written is read back into OutputMismatch.

    Raises:
        OutputMismatch: The file cannot be read.
    """
    try:
        yield
    except HEADER_FAULTS as error:
        raise mismatch(_reason(error), path) from error


def mismatch(difference: str, path: str | Path) -> OutputMismatch:
    """Return the error for a file that does not read back as the label map."""
    return OutputMismatch(
        f"the file reads back as something else than the label map ({difference}), so it was not kept.",
        where=path,
        cure="Write NIfTI instead (a name that ends in .nii.gz), and report this as a bug.",
    )


def _reason(error: Exception) -> str:
    """Return the text of an exception as one line."""
    return " ".join(str(error).split()) or type(error).__name__


def _no_source(fault: str, path: str | Path) -> NoDicomSource:
    return NoDicomSource(fault, where=path, cure=_CURE)


def _collect(source: DicomSource, files: dict[str, Dataset], native: NativeGrid) -> SourceSeries:
    """Combine the headers of a series.

    Args:
        files: Header of each file by its name in `source.members`.
    """
    headers = [files[name] for name in source.members]  # repeated for frames of one file
    columns, rows, depth = native.shape
    if len(headers) != depth or any((each.Rows, each.Columns) != (rows, columns) for each in headers):
        raise ValueError(f"they are no longer {depth} slices of {rows} rows and {columns} columns")
    identities = {name: identity_of(header, name) for name, header in files.items()}
    ambiguity = ambiguity_of(identities.values())  # again, as the files may have changed
    if ambiguity:
        raise ValueError(ambiguity)
    references = tuple(
        _reference(identities[name], frame) for name, frame in zip(source.members, source.frames, strict=True)
    )
    planes = _planes(headers, native)
    thickness = headers[0].get("SliceThickness")
    return SourceSeries(
        header=_shared_header(headers, source.series_uid or references[0].sop_instance),
        references=references,
        planes=planes,
        slice_thickness_mm=float(thickness) if thickness else planes.slice_gap_mm or 1.0,
    )


def _reference(file: Identity, frame: int | None) -> SliceReference:
    return SliceReference(file.sop_class, file.sop_instance, None if frame is None else frame + 1)


def _planes(headers: list[Dataset], native: NativeGrid) -> Planes:
    """Return the positions that the files give, which viewers compare; those of the grid for a multi-frame file."""
    columns, rows, depth = native.shape
    affine = LPS_OF_RAS @ native.affine
    from_grid = Planes(
        affine[:3, 3] + np.arange(depth)[:, None] * affine[:3, 2], affine[:3, 0], affine[:3, 1], (depth, rows, columns)
    )
    if any("ImagePositionPatient" not in each for each in headers):
        return from_grid
    first = headers[0]
    row_gap, column_gap = (float(gap) for gap in first.PixelSpacing)
    directions = np.array(first.ImageOrientationPatient, dtype=np.float64)
    from_files = Planes(
        np.array([each.ImagePositionPatient for each in headers], dtype=np.float64),
        directions[:3] * column_gap,
        directions[3:] * row_gap,
        from_grid.shape,
    )
    corners = np.array([[column, row] for column in (0, columns - 1) for row in (0, rows - 1)], dtype=np.float64)
    gap_mm = max(
        float(np.abs(from_files.points_mm(number, corners) - from_grid.points_mm(number, corners)).max())
        for number in range(depth)
    )
    if not gap_mm <= GRID_TOLERANCE_MM:
        raise ValueError(f"their slices lie up to {gap_mm:.3g} mm from the voxels of the label map")
    return from_files


def _shared_header(headers: list[Dataset], series: str) -> Dataset:
    """Return the elements that derived objects copy from the files, with those that DICOM requires added.

    Args:
        series: Identity of the series, from which missing UIDs are derived.
    """
    header = headers[0]
    shared = Dataset()
    for keyword in _MAY_BE_EMPTY:
        setattr(shared, keyword, _well_formed(header, keyword) or "")
    for keyword in _MAY_BE_ABSENT:
        value = _well_formed(header, keyword)
        if value:
            setattr(shared, keyword, value)
    # Generated if missing, but equal for all objects derived from the same series.
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"):
        uid = next((each.get(keyword) for each in headers if each.get(keyword)), None)
        setattr(shared, keyword, uid or generate_uid(entropy_srcs=[series, keyword]))
    shared.Modality = header.get("Modality") or "OT"
    return shared


def _well_formed(header: Dataset, keyword: str) -> Any:
    value = header.get(keyword)
    form = _FORMS.get(keyword)
    return value if form is None or re.fullmatch(form, str(value)) else None
