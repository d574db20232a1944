"""Read DICOM Segmentation objects as label maps, with the names of their segments.

A label map is a segmentation in one file, or a scan like any other. Frames without labels are usually left out of a
segmentation, so that it covers a part of its series.
"""

from __future__ import annotations

from pathlib import Path

import highdicom as hd
import numpy as np
import psutil
import pydicom
from numpy.typing import NDArray

from sautomed.errors import MemoryShortage, NotAVolume, NotThreeD, UnsupportedVoxels
from sautomed.scans.affine import LPS_TO_RAS, check_affine
from sautomed.scans.contents import is_dicom
from sautomed.scans.dicom import read as scans
from sautomed.scans.dicom.damage import printable, translate_errors
from sautomed.scans.grid import NativeGrid
from sautomed.scans.payload import first_bytes
from sautomed.scans.stored import Geometry, ReadOptions, Stored
from sautomed.scans.values import MAX_LABEL

TRACKING = "label "  # followed by the label value in TrackingID, where segment numbers must be consecutive
_CLASSES = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")  # Segmentation, Label Map Segmentation
_SYNTAXES = (  # plain, deflated, RLE: the decoders of others may end the process on damaged frames
    "1.2.840.10008.1.2",
    "1.2.840.10008.1.2.1",
    "1.2.840.10008.1.2.1.99",
    "1.2.840.10008.1.2.5",
)


def read_geometry(path: Path, options: ReadOptions) -> Geometry:
    """Read the geometry of a label map, and the names of its labels; as `scans.read_geometry`."""
    if not is_segmentation(path):
        return scans.read_geometry(path, options)
    return _geometry(_open(path), path)


def read_stored(path: Path, options: ReadOptions) -> Stored:
    """Read a label map; as `scans.read_stored`.

    Raises:
        NotThreeD: Segments overlap.
        UnsupportedVoxels: It holds probabilities, or is compressed in a way that is not read.
        MemoryShortage: The voxels do not fit into memory.
        DataError: As `scans.read_stored`.
    """
    if not is_segmentation(path):
        return scans.read_stored(path, options)
    segmentation = _open(path)
    geometry = _geometry(segmentation, path)
    _require_memory(geometry, path)
    with translate_errors(path, path.name, "has frames that cannot be read"):
        try:
            volume = segmentation.get_volume(combine_segments=True, dtype=np.uint16)
        except RuntimeError as error:
            if "overlap" not in str(error):
                raise
            raise NotThreeD(
                "has segments that overlap, but a label map has one label for each voxel.",
                where=path,
                cure="Save the segments without overlap, or each in a file of its own.",
            ) from error
    return Stored(geometry, _with_label_values(volume.array, segmentation).transpose(2, 1, 0))


def is_segmentation(path: Path) -> bool:
    """Return whether a file is a DICOM Segmentation, by its class."""
    if not path.is_file() or not is_dicom(first_bytes(path, 4096)[0]):
        return False
    with translate_errors(path, path.name, "has a header that cannot be read"):
        header = pydicom.dcmread(path, specific_tags=["SOPClassUID"], stop_before_pixels=True, force=True)
        return str(header.get("SOPClassUID", "")) in _CLASSES


def _open(path: Path) -> hd.seg.Segmentation:
    with translate_errors(path, path.name, "is a segmentation that cannot be read"):
        dataset = pydicom.dcmread(path)
        syntax, kind = str(dataset.file_meta.TransferSyntaxUID), str(dataset.SegmentationType)
        if syntax not in _SYNTAXES or kind not in ("BINARY", "LABELMAP"):
            fault = (
                f"is compressed as {pydicom.uid.UID(syntax).name}" if kind != "FRACTIONAL" else "holds probabilities"
            )
            raise UnsupportedVoxels(
                f"is a segmentation that {fault}, which is not read as a label map.",
                where=path,
                cure="Export it as a binary segmentation, uncompressed.",
            )
        return hd.seg.Segmentation.from_dataset(dataset, copy=False)


def _geometry(segmentation: hd.seg.Segmentation, path: Path) -> Geometry:
    with translate_errors(path, path.name, "has frames whose places cannot be read"):
        found = segmentation.get_volume_geometry()
        if found is None:
            raise NotAVolume(
                "is a segmentation whose frames are no regular stack of slices.",
                where=path,
                cure="Export it from the series that it was made on.",
            )
        affine = LPS_TO_RAS @ found.affine[:, [2, 1, 0, 3]]
        slices, rows, columns = (int(length) for length in found.spatial_shape)
        names = {
            value: printable(str(segmentation.get_segment_description(number).segment_label))
            for number, value in _label_values(segmentation).items()
        }
    check_affine(affine, path)
    native, kind = NativeGrid((columns, rows, slices), affine), f"DICOM segmentation, {len(names)} segments"
    note = (
        f"{path}: a DICOM segmentation may leave out slices without labels: the {slices} slices that it has are read."
    )
    return Geometry(path, kind, native, np.dtype(np.uint16), (note,), names, partial=True)


def _label_values(segmentation: hd.seg.Segmentation) -> dict[int, int]:
    """Return the label value of each segment number: that in its TrackingID if sautomed wrote it, else the number."""
    values: dict[int, int] = {}
    for number in segmentation.segment_numbers:
        tracked = str(segmentation.get_segment_description(number).get("TrackingID", "")).removeprefix(TRACKING)
        is_ours = segmentation.get("Manufacturer") == "sautomed" and tracked.isdecimal()
        values[int(number)] = int(tracked) if is_ours and 0 < int(tracked) <= MAX_LABEL else int(number)
    return values


def _with_label_values(array: NDArray[np.uint16], segmentation: hd.seg.Segmentation) -> NDArray[np.uint16]:
    values = _label_values(segmentation)
    table = np.arange(max(int(array.max(initial=0)), *values, 0) + 1, dtype=np.uint16)
    table[list(values)] = list(values.values())
    return table[array]


def _require_memory(geometry: Geometry, path: Path) -> None:
    needed, free = int(np.prod(geometry.shape, dtype=np.int64)) * 4, psutil.virtual_memory().available
    if needed > free:
        raise MemoryShortage(
            f"needs {needed / 1e9:.1f} GB of memory for its voxels, but {free / 1e9:.1f} GB are free.",
            where=path,
            cure="Close other programs, or use a larger machine.",
        )
