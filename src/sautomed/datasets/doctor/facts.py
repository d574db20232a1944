"""What examining keeps of a case: numbers, no voxels. One case is in memory at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sautomed.errors import SautomedError
from sautomed.scans.grid import NativeGrid, Plane
from sautomed.scans.volume import LabelMap, Volume, corner_distance_mm

Point = tuple[float, float, float]
CT_CHANNELS = frozenset({"ct", "cta", "ncct", "cect", "hu"})  # as training decides it
PERCENTILES = (0.5, 50.0, 99.5)
_SAMPLE = 4_000_000  # voxels that percentiles are taken of
_CT_BODY_HU = -300.0
_BODY_SHARE = 0.05  # of the voxels of a slice that must be brighter than air for the slice to show the body
_BODY_LEAST_MM = 200.0  # ours: a narrower field of view need not have the patient's midline in its middle


@dataclass(frozen=True)
class GridFacts:
    """Where the voxels of a file lie, in its own axis order."""

    shape: tuple[int, int, int]
    spacing_mm: Point
    axis_codes: str
    first_voxel_mm: Point

    @classmethod
    def of(cls, native: NativeGrid) -> GridFacts:
        """From the grid of what was read."""
        x, y, z = (float(place) for place in native.affine[:3, 3])
        return cls(native.shape, native.spacing_mm, native.axis_codes, (x, y, z))

    def line(self) -> str:
        """As `volume.require_same_grid` tells it."""
        shape = " x ".join(map(str, self.shape))
        spacing = " x ".join(f"{length:.4g}" for length in self.spacing_mm)
        origin = ", ".join(f"{place:.1f}" for place in self.first_voxel_mm)
        return f"{shape} voxels of {spacing} mm, axes {self.axis_codes}, first voxel at ({origin}) mm"


@dataclass(frozen=True)
class Intensities:
    """Of a scan, in its own units; the percentiles are `PERCENTILES`."""

    least: float
    low: float
    median: float
    high: float
    most: float


@dataclass(frozen=True)
class CaseFacts:
    """One case in numbers.

    Args:
        id: Of the case.
        group: The patient; cases of one group are never split.
        image: None if the scan cannot be read.
        label: None if there is no label map, or it cannot be read.
        plane: In which the slices were scanned.
        intensities: None if the scan cannot be read.
        voxels: Of each label value that occurs, without the background.
        millilitres: Likewise.
        centres_mm: Likewise, the centroid in RAS mm.
        body_mm: The middle of what is brighter than air, in RAS mm; None where the field of view is too narrow to tell.
        gap_mm: How far image and label map lie apart at the corners; inf for different shapes, None if one is missing.
        image_hash: Of the oriented voxels.
        label_hash: Likewise.
        label_dtype: Type of the stored labels, or empty if unknown.
        warnings: What reading remarked, as whole sentences.
        faults: What reading stopped with, scan first.
    """

    id: str
    group: str = ""
    image: GridFacts | None = None
    label: GridFacts | None = None
    plane: Plane | None = None
    intensities: Intensities | None = None
    voxels: Mapping[int, int] = field(default_factory=dict)
    millilitres: Mapping[int, float] = field(default_factory=dict)
    centres_mm: Mapping[int, Point] = field(default_factory=dict)
    body_mm: Point | None = None
    gap_mm: float | None = None
    image_hash: str = ""
    label_hash: str = ""
    label_dtype: str = ""
    warnings: tuple[str, ...] = ()
    faults: tuple[SautomedError, ...] = ()


def is_ct(channel: str) -> bool:
    """Whether a channel of that name holds Hounsfield units."""
    return channel.strip().lower() in CT_CHANNELS


def facts_of_image(volume: Volume, channel: str) -> dict[str, Any]:
    """The fields of `CaseFacts` that follow from the scan."""
    return {
        "image": GridFacts.of(volume.native),
        "plane": volume.plane,
        "intensities": _intensities(volume.array),
        "body_mm": _body_mm(volume, is_ct(channel)),
        "image_hash": _hash(volume.array),
    }


def facts_of_labels(labels: LabelMap, volume: Volume | None) -> dict[str, Any]:
    """The fields of `CaseFacts` that follow from the label map, and from the scan it belongs to."""
    counts = {value: count for value, count in labels.voxel_counts().items() if value != 0}
    voxel_ml = abs(float(np.linalg.det(labels.affine[:3, :3]))) / 1000
    return {
        "label": GridFacts.of(labels.native),
        "voxels": counts,
        "millilitres": {value: count * voxel_ml for value, count in counts.items()},
        "centres_mm": _centres_mm(labels),
        "gap_mm": None if volume is None else corner_distance_mm(volume, labels),
        "label_hash": _hash(labels.array.astype(np.uint16)),
    }


def _intensities(array: NDArray[np.float32]) -> Intensities:
    sample = array.reshape(-1)[:: max(1, array.size // _SAMPLE)]
    low, median, high = (float(value) for value in np.percentile(sample, PERCENTILES))
    return Intensities(float(array.min()), low, median, high, float(array.max()))


def _hash(array: NDArray[Any]) -> str:
    digest = hashlib.blake2b(str(array.shape).encode(), digest_size=16)
    digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _centres_mm(labels: LabelMap) -> dict[int, Point]:
    """Centroids of all values, a slice at a time."""
    sums = np.zeros((int(labels.array.max()) + 1, 4))
    for t, plane in enumerate(labels.array):
        rows, columns = np.nonzero(plane)
        values = plane[rows, columns]
        for axis, places in enumerate((np.full(len(values), t), rows, columns, np.ones(len(values)))):
            sums[:, axis] += np.bincount(values, places, len(sums))
    centres = {}
    for value in np.flatnonzero(sums[:, 3]):
        index = sums[value] / sums[value, 3]
        x, y, z = (float(place) for place in (labels.affine @ index)[:3])
        centres[int(value)] = (x, y, z)
    return centres


def _body_mm(volume: Volume, ct: bool) -> Point | None:
    """The middle of the slices, rows and columns that show the body."""
    array = volume.array
    low, high = (float(value) for value in np.percentile(array.reshape(-1)[:: max(1, array.size // 100_000)], (2, 98)))
    bright = array > (_CT_BODY_HU if ct else low + 0.15 * (high - low))
    index = np.ones(4)
    for axis in range(3):
        shown = np.flatnonzero(bright.mean(axis=tuple({0, 1, 2} - {axis})) > _BODY_SHARE)
        if not len(shown):
            return None
        index[axis] = (shown[0] + shown[-1]) / 2
    across_mm = float((np.abs(volume.affine[0, :3]) * array.shape).max())
    if across_mm < _BODY_LEAST_MM:
        return None
    x, y, z = (float(place) for place in (volume.affine @ index)[:3])
    return x, y, z
