"""Masks as other libraries read them, for `fuzz.masks`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sautomed.scans.grid import NativeGrid

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])  # to RAS, and back
UNIT_MM = {1: 1000.0, 3: 0.001}  # of NIfTI's codes; other units are mm, or taken as such
DICOM_TEXT_LENGTH = 64


def _with_spaces(name: str) -> str:
    return name.replace("_", " ")


def _dicom_text(name: str) -> str:
    """Return a name as DICOM can hold it: one line of at most 64 printable characters without backslashes."""
    plain = "".join(letter for letter in _with_spaces(name).replace("\\", "/") if letter.isprintable())
    return " ".join(plain.split())[:DICOM_TEXT_LENGTH].strip() or "unnamed"


def _one_line_end(name: str) -> str:
    encodable = _with_spaces(name).encode("utf-8", "backslashreplace").decode()  # as bytes of a file name may not be
    return encodable.replace("\r", "").replace("\0", "")


@dataclass(frozen=True)
class PeerMask:
    """A mask as another library reads it.

    Args:
        reader: Name of the library.
        voxels: (native.shape) of the scan's grid.
        affine: 4x4, index to RAS mm; None if the file refers to slices of a series.
        gap_mm: Distance between such slices and the scan's grid.
        names: By value; None if the format lacks them.
        written_name: How the format writes a name.
    """

    reader: str
    voxels: NDArray[Any]
    affine: NDArray[np.float64] | None = None
    gap_mm: float = 0.0
    names: dict[int, str] | None = None
    written_name: Callable[[str], str] = str


def _nibabel(path: Path, _: NativeGrid) -> PeerMask:
    import nibabel

    image = nibabel.load(path)
    unit = UNIT_MM.get(int(image.header["xyzt_units"]) % 8, 1.0)
    return PeerMask("nibabel", np.asanyarray(image.dataobj), np.diag([unit, unit, unit, 1.0]) @ image.affine)


def _simple_itk(path: Path, _: NativeGrid) -> PeerMask:
    import SimpleITK

    SimpleITK.ProcessObject.GlobalWarningDisplayOff()
    image = SimpleITK.ReadImage(str(path))
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    names = None
    if path.name.endswith("nrrd"):
        keys = [key.removesuffix("_LabelValue") for key in image.GetMetaDataKeys() if key.endswith("_LabelValue")]
        names = {int(image.GetMetaData(f"{key}_LabelValue")): image.GetMetaData(f"{key}_Name") for key in keys}
    voxels = SimpleITK.GetArrayFromImage(image).transpose(2, 1, 0)
    return PeerMask("SimpleITK", voxels, LPS @ affine, names=names, written_name=_one_line_end)


def _segmentation(path: Path, grid: NativeGrid) -> PeerMask:
    """Read the frames of a SEG with highdicom and place them by their own positions."""
    import highdicom

    dataset = highdicom.seg.segread(path)
    values = {int(item.SegmentNumber): _tracked(item) for item in dataset.SegmentSequence}
    shared = dataset.SharedFunctionalGroupsSequence[0]
    directions = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, float)
    gaps = np.array(shared.PixelMeasuresSequence[0].PixelSpacing, float)
    frames = dataset.pixel_array.reshape(-1, dataset.Rows, dataset.Columns)
    voxels, gap_mm = np.zeros(grid.shape[::-1], np.uint16), 0.0
    for frame, group in zip(frames, dataset.PerFrameFunctionalGroupsSequence, strict=True):
        origin = np.array(group.PlanePositionSequence[0].ImagePositionPatient, float)
        number = _slice_at(origin, grid)
        corners = np.array([[x, y] for x in (0, dataset.Columns - 1) for y in (0, dataset.Rows - 1)])
        there = origin + corners[:, :1] * directions[:3] * gaps[1] + corners[:, 1:] * directions[3:] * gaps[0]
        index = np.column_stack([corners, np.full(4, number), np.ones(4)])
        gap_mm = max(gap_mm, float(np.linalg.norm(there - (index @ (LPS @ grid.affine).T)[:, :3], axis=1).max()))
        if dataset.SegmentationType == "BINARY":
            holder = group if "SegmentIdentificationSequence" in group else shared
            value = values[int(holder.SegmentIdentificationSequence[0].ReferencedSegmentNumber)]
            voxels[number] += (frame * np.uint16(value)).astype(np.uint16)
        else:
            voxels[number] = np.vectorize(values.__getitem__, otypes=[np.uint16])(frame)
    names = {values[int(item.SegmentNumber)]: str(item.SegmentLabel) for item in dataset.SegmentSequence}
    names.pop(0, None)  # LABELMAP describes its background
    return PeerMask("highdicom", voxels.transpose(2, 1, 0), gap_mm=gap_mm, names=names, written_name=_dicom_text)


def _structures(path: Path, grid: NativeGrid) -> PeerMask:
    """Read the contours of an RTSTRUCT with pydicom and fill them with Matplotlib."""
    import pydicom
    from matplotlib.path import Path as Polygon

    dataset = pydicom.dcmread(path)
    columns, rows, depth = grid.shape
    centres = np.stack(np.meshgrid(np.arange(columns), np.arange(rows)), axis=-1).reshape(-1, 2)
    voxels, gap_mm = np.zeros((depth, rows, columns), np.uint16), 0.0
    from_lps = np.linalg.inv(LPS @ grid.affine)
    for region in dataset.ROIContourSequence:
        for contour in region.get("ContourSequence", []):
            points = np.array(contour.ContourData, float).reshape(-1, 3)
            number = _slice_at(points[0], grid)
            index = np.column_stack([points, np.ones(len(points))]) @ from_lps.T
            gap_mm = max(gap_mm, float(np.abs(index[:, 2] - number).max() * grid.spacing_mm[2]))
            inside = Polygon(index[:, :2]).contains_points(centres).reshape(rows, columns)
            voxels[number][inside] += np.uint16(region.ReferencedROINumber)
    names = {int(item.ROINumber): str(item.ROIName) for item in dataset.StructureSetROISequence}
    return PeerMask("pydicom", voxels.transpose(2, 1, 0), gap_mm=gap_mm, names=names, written_name=_dicom_text)


def _tracked(segment: Any) -> int:
    """Return the label value of a segment, which its tracking id names: segments of BINARY are numbered in a row."""
    return int(segment.TrackingID.removeprefix("label ")) if int(segment.SegmentNumber) else 0


def _slice_at(point_mm: NDArray[np.float64], grid: NativeGrid) -> int:
    """Return the nearest slice of a position in LPS mm."""
    index = np.linalg.inv(LPS @ grid.affine) @ np.append(point_mm, 1.0)
    return int(np.clip(np.rint(index[2]), 0, grid.shape[2] - 1))


PEER_READERS: Mapping[str, Callable[[Path, NativeGrid], PeerMask]] = MappingProxyType(
    {
        ".nii.gz": _nibabel,
        ".nii": _nibabel,
        ".seg.nrrd": _simple_itk,
        ".nrrd": _simple_itk,
        ".mha": _simple_itk,
        ".seg.dcm": _segmentation,
        ".labelmap.dcm": _segmentation,
        ".rtstruct.dcm": _structures,
    }
)
