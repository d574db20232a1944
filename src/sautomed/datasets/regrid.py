"""Bring a label map onto the grid of its scan.

Labels are resampled by nearest neighbour, with the positions from both headers. A label map of the scan's shape whose
header was lost takes the scan's header instead.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sautomed.errors import GridMismatch
from sautomed.scans.grid import NativeGrid, Plane, corner_gap_mm, orient
from sautomed.scans.volume import CORNER_TOLERANCE_MM, LabelMap

LOST_LIMIT = 0.01  # ours: share of the labelled voxels that may lie outside the scan
_HEADER_TOLERANCE = 1e-4


@dataclass(frozen=True)
class Regridding:
    """Record of one regridding.

    Args:
        method: "none" (the grids agree), "resampled", or "header taken from the scan".
        gap_mm: Largest distance between corresponding corners of the two fields of view.
        voxels_before: Labelled voxels, on the old grid.
        voxels_after: Labelled voxels, on the new grid.
        outside: Of `voxels_before`, those that lie outside the scan.
    """

    method: str
    gap_mm: float
    voxels_before: int
    voxels_after: int
    outside: int

    def line(self) -> str:
        """Return the record as text, without a full stop."""
        return (
            f"label map brought onto the scan's grid ({self.method}): the fields of view differed by up to "
            f"{self.gap_mm:.3g} mm; {self.voxels_before} labelled voxels became {self.voxels_after}, "
            f"{self.outside} lay outside the scan"
        )


def regrid_labels(labels: LabelMap, native: NativeGrid, plane: Plane, where: str = "") -> tuple[LabelMap, Regridding]:
    """Bring a label map onto the grid of its scan.

    Args:
        labels: As read, on its own grid.
        native: The scan's grid.
        plane: The scan's plane.
        where: The case, for the message.
    Returns:
        Labels on `native`, and a record of what was done.
    Raises:
        GridMismatch: More than `LOST_LIMIT` of the labelled voxels lie outside the scan.
    """
    blank, affine = orient(np.broadcast_to(np.uint8(0), native.shape), native, plane)
    gap_mm = _field_gap_mm(labels, affine, blank.shape)
    before = int(np.count_nonzero(labels.array))
    same = labels.array.shape == blank.shape and corner_gap_mm(labels.affine, affine, blank.shape)
    if same is not False and same <= CORNER_TOLERANCE_MM:
        return labels, Regridding("none", gap_mm, before, before, 0)
    if _lost_its_header(labels.native, native):
        turned, _ = orient(labels.to_native(), native, plane)
        taken = replace(labels, array=np.ascontiguousarray(turned), affine=affine, native=native, plane=plane)
        return taken, Regridding("header taken from the scan", gap_mm, before, before, 0)
    outside = _count_outside(labels, affine, blank.shape)
    if before and outside > LOST_LIMIT * before:
        raise GridMismatch(
            f"the label map does not lie on the scan: {outside} of its {before} labelled voxels "
            f"({outside / before:.0%}) are outside the scan's field of view.",
            where=where,
            cure="Use files that belong together; resampling cannot correct this.",
        )
    moved = _resample_nearest(labels, affine, blank.shape)
    done = Regridding("resampled", gap_mm, before, int(np.count_nonzero(moved)), outside)
    return replace(labels, array=moved, affine=affine, native=native, plane=plane), done


def _field_gap_mm(labels: LabelMap, affine: NDArray[np.float64], shape: tuple[int, ...]) -> float:
    """Return the largest distance between corresponding outer corners of the two fields of view."""
    corners = np.array([[i, j, k] for i in (0, 1) for j in (0, 1) for k in (0, 1)], dtype=np.float64)
    places = []
    for matrix, size in ((labels.affine, labels.array.shape), (affine, shape)):
        index = corners * np.array(size) - 0.5
        places.append(index @ matrix[:3, :3].T + matrix[:3, 3])
    return float(np.linalg.norm(places[0] - places[1], axis=1).max())


def _lost_its_header(own: NativeGrid, scan: NativeGrid) -> bool:
    """Return whether a label map of the scan's shape has a default header.

    That is: axes straight, first voxel at 0 mm, and a spacing of 1 mm or the scan's.
    """
    if own.shape != scan.shape or np.abs(own.affine[:3, 3]).max() > _HEADER_TOLERANCE:
        return False
    linear = np.abs(own.affine[:3, :3])
    if np.abs(linear - np.diag(np.diag(linear))).max() > _HEADER_TOLERANCE:
        return False
    lengths = np.diag(linear)
    return bool(
        np.allclose(lengths, 1, atol=_HEADER_TOLERANCE) or np.allclose(lengths, scan.spacing_mm, rtol=_HEADER_TOLERANCE)
    )


def _count_outside(labels: LabelMap, affine: NDArray[np.float64], shape: tuple[int, ...]) -> int:
    """Count the labelled voxels that lie outside the new grid."""
    index = np.argwhere(labels.array)
    to_new = np.linalg.inv(affine) @ labels.affine
    places = index @ to_new[:3, :3].T + to_new[:3, 3]
    # A voxel still touches the new grid if its centre is half a voxel of either grid past the edge.
    margin = 0.5 + 0.5 * np.abs(to_new[:3, :3]).sum(axis=1)
    return int(np.count_nonzero(((places < -margin) | (places > np.array(shape) - 1 + margin)).any(axis=1)))


def _resample_nearest(
    labels: LabelMap, affine: NDArray[np.float64], shape: tuple[int, ...]
) -> NDArray[np.unsignedinteger]:
    """Resample by nearest neighbour, a slice at a time; background where the old grid has no voxel."""
    to_old = np.linalg.inv(labels.affine) @ affine
    plane = np.indices(shape[1:]).reshape(2, -1)
    moved = np.zeros(shape, labels.array.dtype)
    size = np.array(labels.array.shape)[:, None]
    for t in range(shape[0]):
        places = to_old[:3, 1:3] @ plane + (to_old[:3, 0] * t + to_old[:3, 3])[:, None]
        nearest = np.floor(places + 0.5).astype(np.int64)
        inside = ((nearest >= 0) & (nearest < size)).all(axis=0)
        moved[t].reshape(-1)[inside] = labels.array[tuple(nearest[:, inside])]
    return moved
