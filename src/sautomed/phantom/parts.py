"""Parts of a body, and the dice that vary them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sautomed.phantom.shapes import Point, Solid


@dataclass(frozen=True)
class Layer:
    """What a part is made of from `depth_mm` under its surface, or only where `inside` is too.

    A layer carries its part's label unless `hollow`: the fat in a kidney's sinus is not kidney.
    """

    tissue: str
    depth_mm: float = 0.0
    inside: Solid | None = None
    hollow: bool = False


@dataclass(frozen=True)
class Part:
    """A solid made of one tissue, with layers inside it, behind a rim of fat of `rim_mm` (none if 0 or less).

    `structure` names the label that it carries; None is unlabelled surroundings. Parts are painted in order: where two
    overlap, the later one owns the voxel, in the image as in the labels.
    """

    tissue: str
    solid: Solid
    structure: str | None = None
    layers: tuple[Layer, ...] = ()
    rim_mm: float = 0.0


@dataclass(frozen=True)
class Dice:
    """Random variation between patients. No throw goes beyond 2.5 standard deviations."""

    rng: np.random.Generator

    def chance(self, probability: float) -> bool:
        """True that often."""
        return bool(self.rng.random() < probability)

    def between(self, low: float, high: float) -> float:
        """Uniform."""
        return float(self.rng.uniform(low, high))

    def around(self, value: float, spread: float) -> float:
        """Normal, `spread` in the value's own unit."""
        return float(value + spread * np.clip(self.rng.standard_normal(), -2.5, 2.5))

    def size(self, value: float, share: float = 0.1) -> float:
        """Normal, the standard deviation a share of the value."""
        return self.around(value, share * value)

    def sizes(self, values: Point, share: float = 0.08) -> Point:
        """Three values, each varied by itself."""
        a, b, c = (self.size(v, share) for v in values)
        return a, b, c

    def near(self, point: Point, spread_mm: float = 4.0) -> Point:
        """A point about `spread_mm` away along each axis."""
        x, y, z = (self.around(v, spread_mm) for v in point)
        return x, y, z

    def path(self, points: Sequence[Point], spread_mm: float = 3.0) -> list[Point]:
        """`near` for each point of a curve."""
        return [self.near(p, spread_mm) for p in points]
