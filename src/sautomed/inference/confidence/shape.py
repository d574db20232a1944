"""Size and pieces of organs, and how they compare with those of the training cases."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from sautomed.scans.volume import LabelMap

SMALLEST_SPREAD = 0.1  # ours: of the logarithms of sizes, so that a few alike training cases do not make all others odd
LARGEST_Z = 5.0  # ours: beyond that, more says nothing more


@dataclass(frozen=True)
class OrganSize:
    """Size of an organ that a scan shows.

    Attributes:
        volume_ml: Of its voxels.
        extent_mm: Slices that show it, times their distance.
    """

    volume_ml: float
    extent_mm: float


@dataclass(frozen=True)
class OrganShape:
    """Size of an organ, and its pieces.

    Attributes:
        pieces: Connected parts; voxels that share a corner are connected.
        stray: Share of the voxels that is not in the largest part.
    """

    size: OrganSize
    pieces: int
    stray: float


def organ_sizes(labels: LabelMap) -> dict[str, OrganSize]:
    """Return the size of each organ that a label map shows."""
    return {name: _size(mask, labels) for name, mask in _cropped_masks(labels)}


def organ_shapes(labels: LabelMap) -> dict[str, OrganShape]:
    """Return the shape of each organ that a label map shows."""
    shapes = {}
    for name, mask in _cropped_masks(labels):
        parts, pieces = ndimage.label(mask, np.ones((3, 3, 3)))
        # slice by slice, because bincount makes a copy with eight bytes per voxel
        voxels = np.zeros(pieces + 1, np.int64)
        for plane in parts:
            voxels += np.bincount(plane.ravel(), minlength=pieces + 1)
        voxels = voxels[1:]  # without what is outside of the organ
        shapes[name] = OrganShape(_size(mask, labels), pieces, 1 - int(voxels.max()) / int(voxels.sum()))
    return shapes


def size_z(found: OrganSize, trained: Sequence[OrganSize]) -> tuple[float, float] | None:
    """Return by how many standard deviations an organ's volume and extent differ from the training cases' means.

    Logarithms are compared. None if fewer than two cases show the organ, or a size cannot be computed.
    """
    sizes = [(size.volume_ml, size.extent_mm) for size in (found, *trained)]
    if len(trained) < 2 or not all(math.isfinite(x) and x > 0 for size in sizes for x in size):
        return None
    here, *others = np.log(sizes)
    spread = np.std(others, axis=0, ddof=1).clip(min=SMALLEST_SPREAD)
    volume_z, extent_z = ((here - np.mean(others, axis=0)) / spread).clip(-LARGEST_Z, LARGEST_Z)
    return float(volume_z), float(extent_z)


def sizes_of(organ: str, cases: Sequence[Mapping[str, OrganSize]]) -> list[OrganSize]:
    """Return the sizes of an organ in the cases that show it."""
    return [case[organ] for case in cases if organ in case]


def _cropped_masks(labels: LabelMap) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the name of each organ that is there, and its mask in its own box; masks can be large, so one at a time."""
    places = ndimage.find_objects(labels.array, max_label=max(labels.names))
    for value, name in sorted(labels.names.items()):
        place = places[value - 1]
        if place is not None:
            yield name, labels.array[place] == value


def _size(mask: np.ndarray, labels: LabelMap) -> OrganSize:
    voxel_ml = abs(float(np.linalg.det(labels.affine[:3, :3]))) / 1000
    slices = int(mask.any((1, 2)).sum())
    return OrganSize(int(mask.sum()) * voxel_ml, slices * float(labels.spacing_mm[0]))
