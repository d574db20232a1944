"""What an edit changed, and what all edits together changed since the automatic result."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, UInt


@dataclass(frozen=True)
class Change:
    """What an edit changed.

    Attributes:
        slices: Whose labels changed, in order.
        voxels: Of each organ, how many it gained or lost.
    """

    slices: tuple[int, ...]
    voxels: dict[str, int]


@dataclass(frozen=True)
class PropagatedSlice:
    """A slice that a correction came to.

    Attributes:
        index: In the oriented volume.
        labels: As they are now.
        changed: Whether they were others before.
    """

    index: int
    labels: UInt[np.ndarray, "h w"]
    changed: bool


@dataclass(frozen=True)
class Comparison:
    """How much of an organ is not as in the automatic result.

    Attributes:
        gained: Voxels that it has now and had not.
        lost: Voxels that it had and has not now.
        ml: Volume of both together.
    """

    gained: int
    lost: int
    ml: float

    @property
    def voxels(self) -> int:
        """Voxels gained or lost."""
        return self.gained + self.lost


def count_change(
    before: Mapping[int, UInt[np.ndarray, "h w"]],
    after: Mapping[int, UInt[np.ndarray, "h w"]],
    organs: Mapping[int, str],
) -> Change:
    """Count what changed on the slices of `after`.

    Args:
        organs: Value in the label map -> organ.
    """
    voxels = {
        organ: sum(_count((before[t] == value) != (labels == value)) for t, labels in after.items())
        for value, organ in organs.items()
    }
    return Change(tuple(sorted(after)), voxels)


def compare_slices(
    pairs: Iterable[tuple[UInt[np.ndarray, "h w"], UInt[np.ndarray, "h w"]]],
    organs: Mapping[int, str],
    spacing_mm: tuple[float, float, float],
) -> dict[str, Comparison]:
    """Compare slices as they were and as they are now, by organ."""
    changed = [(was, now) for was, now in pairs if was is not now]
    voxel_ml, found = float(np.prod(spacing_mm)) / 1000, {}
    for value, organ in organs.items():
        gained = sum(_count((now == value) & (was != value)) for was, now in changed)
        lost = sum(_count((was == value) & (now != value)) for was, now in changed)
        found[organ] = Comparison(gained, lost, (gained + lost) * voxel_ml)
    return found


def _count(mask: Bool[np.ndarray, "h w"]) -> int:
    return int(np.count_nonzero(mask))
