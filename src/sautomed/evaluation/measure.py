"""Scores of two masks of one structure.

Surfaces are measured once; each score is a pure function of the measurement. Lengths are mm. The surface of a mask is
its voxels with a face neighbour outside of the mask (outside of the array counts too), each counted once at its centre,
as in MONAI. The surface-distance package weights boundary elements by their area instead, which changes the scores a
little. Knows nothing of files, cases or models.
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
_ROUNDING_MM = 1e-4  # float32 affines can put a distance that equals the tolerance slightly above it

Mask = NDArray[np.bool_]
Spacing = tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class SurfaceDistances:
    """Distances from each surface voxel to the nearest voxel of the other surface; none if either mask is empty.

    Args:
        to_second_mm: One per surface voxel of the first mask.
        to_first_mm: One per surface voxel of the second mask.
        empty: Number of empty masks: 0, 1 or 2.
    """

    to_second_mm: NDArray[np.float64]
    to_first_mm: NDArray[np.float64]
    empty: int = 0


@dataclass(frozen=True, eq=False)
class Comparison:
    """A prediction and a reference of one structure; surface distances are measured once, when first needed.

    Args:
        prediction: Mask (d h w).
        reference: Mask of the same shape.
        spacing_mm: Per axis.
    """

    prediction: Mask
    reference: Mask
    spacing_mm: Spacing

    @cached_property
    def distances(self) -> SurfaceDistances:
        """Distances between the two surfaces, with the prediction as first mask."""
        return measure_surfaces(self.prediction, self.reference, self.spacing_mm)


def measure_surfaces(first: Mask, second: Mask, spacing_mm: Spacing) -> SurfaceDistances:
    """Measure the distances from each surface to the other.

    A k-d tree of the surface voxels is as exact as a distance transform of the volume, and several times faster for
    organs in CT.

    Args:
        first: Mask (d h w).
        second: Mask of the same shape.
        spacing_mm: Per axis.
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
    """Return the Dice coefficient, 2 |A and B| / (|A| + |B|); nan if both masks are empty, 0 if only one is.

    Source: Dice 1945, Ecology 26(3).
    """
    total = int(np.count_nonzero(prediction)) + int(np.count_nonzero(reference))
    if total == 0:
        return float("nan")
    return 2 * int(np.count_nonzero(prediction & reference)) / total


def hausdorff_mm(distances: SurfaceDistances, percentile: float = 100) -> float:
    """Return the Hausdorff distance: the larger of the two directed percentiles.

    Args:
        distances: From `measure_surfaces`.
        percentile: 100 gives HD, 95 gives HD95.
    Returns:
        Millimetres; nan if a mask is empty, since there is no distance.
    Raises:
        ValueError: `percentile` is outside (0, 100].
    Source: Huttenlocher et al. 1993, IEEE TPAMI 15(9), Eq. 1. Percentiles are taken per direction, not of the pooled
    distances, which would hide errors of the smaller surface.
    """
    if not 0 < percentile <= 100:
        raise ValueError(f"The percentile must be above 0 and at most 100, not {percentile}.")
    if distances.empty:
        return float("nan")
    return float(
        max(np.percentile(distances.to_second_mm, percentile), np.percentile(distances.to_first_mm, percentile))
    )


def nsd(distances: SurfaceDistances, tolerance_mm: float = DEFAULT_TOLERANCE_MM) -> float:
    """Return the normalised surface Dice: the fraction of both surfaces within a tolerance of the other.

    Args:
        distances: From `measure_surfaces`.
        tolerance_mm: Largest distance that counts as agreement.
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
    """Return the comparison of two masks (d h w) of one structure; raises ValueError if their shapes differ."""
    _require_same_shape(prediction, reference)
    return Comparison(prediction, reference, spacing_mm)


def compare_labels(
    prediction: NDArray[Any], reference: NDArray[Any], classes: Iterable[int], spacing_mm: Spacing
) -> Iterator[tuple[int, Comparison]]:
    """Yield the comparison of each class of two label arrays (d h w), cropped to the box that contains both masks.

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
    """Return the smallest box around all boxes; an empty one if there are none."""
    if not boxes:
        return (slice(0, 0),) * 3
    return tuple(
        slice(min(box[axis].start for box in boxes), max(box[axis].stop for box in boxes))
        for axis in range(len(boxes[0]))
    )


def _surface_points_mm(mask: Mask, spacing_mm: Spacing) -> NDArray[np.float64]:
    """Return the centres of the surface voxels (points 3), relative to the first voxel of `mask`."""
    padded = np.pad(mask, 1)  # voxels at the edge of the array are surface
    inner = mask.copy()
    for axis in range(mask.ndim):
        for start in (0, 2):  # the neighbour before and the one after; faster than a general erosion
            here = [slice(1, -1)] * mask.ndim
            here[axis] = slice(start, start + mask.shape[axis])
            inner &= padded[tuple(here)]
    return np.argwhere(mask & ~inner).astype(np.float64) * np.asarray(spacing_mm, dtype=np.float64)
