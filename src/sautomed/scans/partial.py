"""Label maps that cover a part of a scan's grid: DICOM segmentations leave out slices without labels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sautomed.scans.grid import NativeGrid
from sautomed.scans.volume import CORNER_TOLERANCE_MM, LabelMap, Volume

Offset = NDArray[np.int64]


def complete(labels: LabelMap, scan: Volume | LabelMap) -> LabelMap:
    """Return a partial label map on the grid of its scan, with background around it.

    A label map is returned as it is if it is not partial, or its voxels are not voxels of the scan.

    Args:
        labels: In the plane of the scan.
        scan: The scan, or a label map on its whole grid.
    """
    offset = _offset(labels, scan) if labels.partial else None
    if offset is None or (offset < 0).any() or (offset + labels.array.shape > scan.array.shape).any():
        return labels
    array = _embedded(labels, offset, scan.array.shape)
    return replace(labels, array=array, affine=scan.affine, native=scan.native, partial=False)


def on_common_grid(first: LabelMap, second: LabelMap) -> tuple[LabelMap, LabelMap]:
    """Return two label maps on one grid, if that takes no more than background around those that are partial."""
    if not (first.partial and second.partial):
        return complete(first, second), complete(second, first)
    offset = _offset(second, first)
    if offset is None:
        return first, second
    low = np.minimum(offset, 0)
    shape = tuple(int(end) for end in np.maximum(first.array.shape, offset + second.array.shape) - low)
    affine = first.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ low
    native = NativeGrid((shape[0], shape[1], shape[2]), affine)
    placed = (
        replace(labels, array=_embedded(labels, start - low, shape), affine=affine, native=native, partial=False)
        for labels, start in ((first, np.zeros(3, np.int64)), (second, offset))
    )
    return next(placed), next(placed)


def _offset(labels: LabelMap, scan: Volume | LabelMap) -> Offset | None:
    """Return the index in the scan of the first voxel; None if a corner is not on a voxel of the scan's grid."""
    last = np.array(labels.array.shape) - 1
    corners = np.array([[i, j, k] for i in (0, 1) for j in (0, 1) for k in (0, 1)]) * last
    places_mm = corners @ labels.affine[:3, :3].T + labels.affine[:3, 3]
    to_index = np.linalg.inv(scan.affine)
    found = places_mm @ to_index[:3, :3].T + to_index[:3, 3]
    offset = np.rint(found[0]).astype(np.int64)
    gaps_mm = (found - offset - corners) @ scan.affine[:3, :3].T
    return offset if np.linalg.norm(gaps_mm, axis=1).max() <= CORNER_TOLERANCE_MM else None


def _embedded(labels: LabelMap, offset: Offset, shape: tuple[int, ...]) -> NDArray[np.unsignedinteger]:
    array = np.zeros(shape, labels.array.dtype)
    array[tuple(slice(start, start + length) for start, length in zip(offset, labels.array.shape, strict=True))] = (
        labels.array
    )
    return array
