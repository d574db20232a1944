"""How far two masks of one structure agree: what there is to measure.

Surfaces are measured once; each score is a pure function of what was measured. Lengths are mm. The surface of a mask is
its voxels that have a face neighbour outside (the mask minus its erosion with connectivity 1; beyond the array is
outside), each counted once at its centre: MONAI's definition. The surface-distance package instead weights boundary
elements by their area, which moves the scores a little. Knows nothing of files, cases or models.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import KDTree

DEFAULT_TOLERANCE_MM = 2.0
_ROUNDING_MM = (
    1e-4  # affines are stored as float32, so a distance of exactly the tolerance may come out a hair above it
)

Mask = NDArray[np.bool_]
Spacing = tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class SurfaceDistances:
    """From each surface voxel to the nearest one of the other surface; both are empty if either mask is.

    Args:
        to_second_mm: One per surface voxel of the first mask.
        to_first_mm: One per surface voxel of the second mask.
        empty: How many of the two masks are empty: 0, 1 or 2.
    """

    to_second_mm: NDArray[np.float64]
    to_first_mm: NDArray[np.float64]
    empty: int = 0


@dataclass(frozen=True, eq=False)
class Comparison:
    """One structure, to be scored; what scores share is measured once, and only if one of them asks for it.

    Args:
        prediction: Mask (d h w).
        reference: Mask of the same shape.
        spacing_mm: Distance of neighbouring voxels along the three axes.
    """

    prediction: Mask
    reference: Mask
    spacing_mm: Spacing

    @cached_property
    def distances(self) -> SurfaceDistances:
        """Between the two surfaces, prediction first."""
        return measure_surfaces(self.prediction, self.reference, self.spacing_mm)


def measure_surfaces(first: Mask, second: Mask, spacing_mm: Spacing) -> SurfaceDistances:
    """Measure each surface against the other.

    Only surface voxels are looked at: a k-d tree of them is as exact as a distance transform of the volume, and several
    times faster on organs of a CT.

    Args:
        first: Mask (d h w).
        second: Mask of the same shape.
        spacing_mm: Distance of neighbouring voxels along the three axes.
    Raises:
        ValueError: The shapes differ.
    """
    _require_same_shape(first, second)
    points = [_surface_points_mm(mask, spacing_mm) for mask in (first, second)]
    empty = sum(len(surface) == 0 for surface in points)
    if empty:
        return SurfaceDistances(np.empty(0), np.empty(0), empty)
    to_second, _ = KDTree(points[1]).query(points[0])
    to_first, _ = KDTree(points[0]).query(points[1])
    return SurfaceDistances(to_second, to_first)


def dice(prediction: Mask, reference: Mask) -> float:
    """Overlap, 2 |A and B| / (|A| + |B|); nan if both are empty, 0 if only one is.

    Source: Dice 1945, Ecology 26(3).
    """
    total = int(np.count_nonzero(prediction)) + int(np.count_nonzero(reference))
    if total == 0:
        return float("nan")
    return 2 * int(np.count_nonzero(prediction & reference)) / total


def hausdorff_mm(distances: SurfaceDistances, percentile: float = 100) -> float:
    """How far the two surfaces disagree at worst: the larger of the two directed percentiles.

    Args:
        distances: From `measure_surfaces`.
        percentile: 100 gives HD, 95 gives HD95.
    Returns:
        Millimetres; nan if any mask is empty, for then there is no distance.
    Raises:
        ValueError: `percentile` is outside (0, 100].
    Source: Huttenlocher et al. 1993, IEEE TPAMI 15(9), Eq. 1. Percentiles are taken per direction and not of the pooled
    distances, which would hide the errors of the smaller surface.
    """
    if not 0 < percentile <= 100:
        raise ValueError(f"The percentile must be above 0 and at most 100, not {percentile}.")
    if distances.empty:
        return float("nan")
    return float(
        max(np.percentile(distances.to_second_mm, percentile), np.percentile(distances.to_first_mm, percentile))
    )


def nsd(distances: SurfaceDistances, tolerance_mm: float = DEFAULT_TOLERANCE_MM) -> float:
    """Normalised surface dice: the part of both surfaces that lies within a tolerance of the other.

    Args:
        distances: From `measure_surfaces`.
        tolerance_mm: What counts as agreement.
    Returns:
        0 to 1; nan if both masks are empty, 0 if only one is.
    Raises:
        ValueError: `tolerance_mm` is negative.
    Source: Nikolov et al. 2021, J Med Internet Res 23(7), with surface voxels counted instead of areas.
    """
    if tolerance_mm < 0:
        raise ValueError(f"The tolerance cannot be negative: {tolerance_mm} mm.")
    if distances.empty:
        return 0.0 if distances.empty == 1 else float("nan")
    reach = tolerance_mm + _ROUNDING_MM
    close = np.count_nonzero(distances.to_second_mm <= reach) + np.count_nonzero(distances.to_first_mm <= reach)
    return float(close / (len(distances.to_second_mm) + len(distances.to_first_mm)))


def compare(prediction: Mask, reference: Mask, spacing_mm: Spacing) -> Comparison:
    """Two masks (d h w) of one structure, side by side; raises ValueError if their shapes differ."""
    _require_same_shape(prediction, reference)
    return Comparison(prediction, reference, spacing_mm)


def compare_labels(
    prediction: NDArray[Any], reference: NDArray[Any], classes: Iterable[int], spacing_mm: Spacing
) -> Iterator[tuple[int, Comparison]]:
    """Each class of two label arrays (d h w) side by side, within the box that holds it in either.

    Raises:
        ValueError: The shapes differ.
    """
    if prediction.shape != reference.shape:
        raise ValueError(f"Labels of shapes {prediction.shape} and {reference.shape} cannot be compared.")
    boxes = [ndimage.find_objects(labels.astype(np.uint16, copy=False)) for labels in (prediction, reference)]
    for k in classes:
        box = _joint_box([found[k - 1] for found in boxes if k <= len(found) and found[k - 1] is not None])
        yield k, compare(prediction[box] == k, reference[box] == k, spacing_mm)


def _require_same_shape(first: Mask, second: Mask) -> None:
    if first.shape != second.shape:
        raise ValueError(f"Masks of shapes {first.shape} and {second.shape} cannot be compared.")


def _joint_box(boxes: list[tuple[slice, ...]]) -> tuple[slice, ...]:
    """The smallest box around some boxes; an empty one around none."""
    if not boxes:
        return (slice(0, 0),) * 3
    return tuple(
        slice(min(box[axis].start for box in boxes), max(box[axis].stop for box in boxes))
        for axis in range(len(boxes[0]))
    )


def _surface_points_mm(mask: Mask, spacing_mm: Spacing) -> NDArray[np.float64]:
    """Centres of the surface voxels, (points 3), from the first voxel of `mask`."""
    padded = np.pad(mask, 1)  # so that the array's edge counts as outside
    inner = mask.copy()
    for axis in range(mask.ndim):
        for start in (0, 2):  # the neighbour before and the one after; quicker than a general erosion
            here = [slice(1, -1)] * mask.ndim
            here[axis] = slice(start, start + mask.shape[axis])
            inner &= padded[tuple(here)]
    return np.argwhere(mask & ~inner).astype(np.float64) * np.asarray(spacing_mm, dtype=np.float64)
