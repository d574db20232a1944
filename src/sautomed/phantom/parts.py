"""Parts of a body, and the random variation between patients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sautomed.phantom.shapes import Point, Solid


@dataclass(frozen=True)
class Layer:
    """Tissue of a part from `depth_mm` below its surface, and only within `inside` if given.

    A layer carries its part's label unless `unlabelled`: the fat in a kidney's sinus is not kidney.
    """

    tissue: str
    depth_mm: float = 0.0
    inside: Solid | None = None
    unlabelled: bool = False


@dataclass(frozen=True)
class Part:
    """A solid made of one tissue, with layers inside it and a rim of fat of `rim_mm` around it (none if 0 or less).

    `structure` is the name of its label; None is unlabelled. Parts are painted in order: where two overlap, the later
    one gets the voxel, in the image and in the labels.
    """

    tissue: str
    solid: Solid
    structure: str | None = None
    layers: tuple[Layer, ...] = ()
    rim_mm: float = 0.0


SMALLEST_SIZE = 0.1  # of the mean size; a solid without width has no distances


@dataclass(frozen=True)
class Variation:
    """Random variation between patients. Normal values are clipped to 2.5 standard deviations."""

    rng: np.random.Generator

    def chance(self, probability: float) -> bool:
        """Draw True with this probability."""
        return bool(self.rng.random() < probability)

    def between(self, low: float, high: float) -> float:
        """Draw from a uniform distribution."""
        return float(self.rng.uniform(low, high))

    def around(self, value: float, spread: float) -> float:
        """Draw from a normal distribution whose standard deviation is `spread`."""
        return float(value + spread * np.clip(self.rng.standard_normal(), -2.5, 2.5))

    def size(self, value: float, share: float = 0.1) -> float:
        """Draw from a normal distribution whose standard deviation is a share of the value, and not near zero."""
        return max(self.around(value, share * value), SMALLEST_SIZE * value)

    def sizes(self, values: Point, share: float = 0.08) -> Point:
        """Draw three values independently, each as `size`."""
        a, b, c = (self.size(v, share) for v in values)
        return a, b, c

    def near(self, point: Point, spread_mm: float = 4.0) -> Point:
        """Draw a point around another, with standard deviation `spread_mm` along each axis."""
        x, y, z = (self.around(v, spread_mm) for v in point)
        return x, y, z

    def path(self, points: Sequence[Point], spread_mm: float = 3.0) -> list[Point]:
        """Draw a point near each point of a curve."""
        return [self.near(p, spread_mm) for p in points]
