"""Facts of a case that the checks work on: numbers, no voxels."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sautomed.datasets.description import is_ct
from sautomed.errors import SautomedError
from sautomed.scans.grid import NativeGrid, Plane
from sautomed.scans.volume import LabelMap, Volume, corner_distance_mm

Point = tuple[float, float, float]
PERCENTILES = (0.5, 50.0, 99.5)
_SAMPLE = 4_000_000  # voxels that percentiles are computed from
_CT_BODY_HU = -300.0
_BODY_SHARE = 0.05  # ours: share of the voxels of a slice that are brighter than air if it shows the body
_BODY_LEAST_MM = 200.0  # ours: a narrower field of view may not be centred on the patient


@dataclass(frozen=True)
class GridFacts:
    """Grid of a file, in its own axis order."""

    shape: tuple[int, int, int]
    spacing_mm: Point
    axis_codes: str
    first_voxel_mm: Point

    @classmethod
    def of(cls, native: NativeGrid) -> GridFacts:
        """Return the facts of a grid."""
        x, y, z = (float(place) for place in native.affine[:3, 3])
        return cls(native.shape, native.spacing_mm, native.axis_codes, (x, y, z))

    def line(self) -> str:
        """Return the grid as text, worded as in `scans.volume.require_same_grid`."""
        shape = " x ".join(map(str, self.shape))
        spacing = " x ".join(f"{length:.4g}" for length in self.spacing_mm)
        origin = ", ".join(f"{place:.1f}" for place in self.first_voxel_mm)
        return f"{shape} voxels of {spacing} mm, axes {self.axis_codes}, first voxel at ({origin}) mm"


@dataclass(frozen=True)
class Intensities:
    """Intensities of a scan, in its own units; low, median and high are its `PERCENTILES`."""

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
        plane: The plane of the slices as scanned.
        intensities: None if the scan cannot be read.
        voxels: Voxel count of each label value that occurs, without the background.
        millilitres: Volume, likewise.
        centres_mm: Centroid in RAS mm, likewise.
        body_mm: Middle of the region brighter than air, in RAS mm; None if the field of view is too narrow.
        gap_mm: Largest distance between corners of image and label map; inf for different shapes, None if one of them
            is missing.
        image_hash: Hash of the oriented scan.
        label_hash: Hash of the oriented labels.
        label_dtype: Type of the stored labels, or empty if unknown.
        renumbered: Value in the dataset for values that the label map's header names, if it is another.
        warnings: Warnings of reading, as whole sentences.
        faults: Faults that stopped reading, scan first.
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
    renumbered: Mapping[int, int] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    faults: tuple[SautomedError, ...] = ()


def add_scan_facts(facts: CaseFacts, volume: Volume, channel: str) -> CaseFacts:
    """Return the facts with those of the scan filled in."""
    return replace(
        facts,
        image=GridFacts.of(volume.native),
        plane=volume.plane,
        intensities=_intensities(volume.array),
        body_mm=_body_mm(volume, is_ct(channel)),
        image_hash=_hash(volume.array),
    )


def add_label_facts(facts: CaseFacts, labels: LabelMap, volume: Volume | None) -> CaseFacts:
    """Return the facts with those of the label map filled in; `volume` is the scan it belongs to."""
    counts = {value: count for value, count in labels.voxel_counts().items() if value != 0}
    voxel_ml = abs(float(np.linalg.det(labels.affine[:3, :3]))) / 1000
    return replace(
        facts,
        label=GridFacts.of(labels.native),
        voxels=counts,
        millilitres={value: count * voxel_ml for value, count in counts.items()},
        centres_mm=_centres_mm(labels),
        gap_mm=None if volume is None else corner_distance_mm(volume, labels),
        label_hash=_hash(labels.array.astype(np.uint16)),
    )


def _intensities(array: NDArray[np.float32]) -> Intensities:
    sample = array.reshape(-1)[:: max(1, array.size // _SAMPLE)]
    low, median, high = (float(value) for value in np.percentile(sample, PERCENTILES))
    return Intensities(float(array.min()), low, median, high, float(array.max()))


def _hash(array: NDArray[Any]) -> str:
    digest = hashlib.blake2b(str(array.shape).encode(), digest_size=16)
    digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _centres_mm(labels: LabelMap) -> dict[int, Point]:
    """Return the centroids of all values, computed a slice at a time."""
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
    """Return the middle of the slices, rows and columns that show the body, in RAS mm."""
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
