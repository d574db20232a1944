"""Solids made of other solids: union, intersection, difference, growth, roughness."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sautomed.phantom.grid import Array, Grid, Window, inside, overlap
from sautomed.phantom.shapes import Bounds, Solid, far


@dataclass(frozen=True)
class Union(Solid):
    """Union of solids, blended over `blend_mm` where they meet."""

    solids: Sequence[Solid]
    blend_mm: float = 0.0

    def bounds(self) -> Bounds:
        lows, highs = zip(*(solid.bounds() for solid in self.solids), strict=True)
        return np.min(lows, axis=0) - self.blend_mm / 4, np.max(highs, axis=0) + self.blend_mm / 4

    def distance(self, grid: Grid, window: Window) -> Array:
        out = far(window)
        for solid in self.solids:
            local = _window_around(solid, self.blend_mm, grid, window)
            if local is not None:
                part = out[inside(window, local)]
                part[...] = _soft_min(part, solid.distance(grid, local), self.blend_mm)
        return out


@dataclass(frozen=True)
class Intersection(Solid):
    """Intersection of two solids."""

    a: Solid
    b: Solid
    blend_mm: float = 0.0

    def bounds(self) -> Bounds:
        (low_a, high_a), (low_b, high_b) = self.a.bounds(), self.b.bounds()
        return np.maximum(low_a, low_b), np.minimum(high_a, high_b)

    def distance(self, grid: Grid, window: Window) -> Array:
        return -_soft_min(-self.a.distance(grid, window), -self.b.distance(grid, window), self.blend_mm)


@dataclass(frozen=True)
class Difference(Solid):
    """`solid` without `tool`."""

    solid: Solid
    tool: Solid
    blend_mm: float = 0.0

    def bounds(self) -> Bounds:
        return self.solid.bounds()

    def distance(self, grid: Grid, window: Window) -> Array:
        out = self.solid.distance(grid, window)
        local = _window_around(self.tool, self.blend_mm, grid, window)
        if local is not None:
            part = out[inside(window, local)]
            part[...] = -_soft_min(-part, self.tool.distance(grid, local), self.blend_mm)
        return out


@dataclass(frozen=True)
class Grown(Solid):
    """`solid` with its surface moved outwards by `by_mm` (inwards if negative)."""

    solid: Solid
    by_mm: float

    def bounds(self) -> Bounds:
        low, high = self.solid.bounds()
        return low - self.by_mm, high + self.by_mm

    def distance(self, grid: Grid, window: Window) -> Array:
        return self.solid.distance(grid, window) - np.float32(self.by_mm)


@dataclass(frozen=True)
class Rough(Solid):
    """`solid` with an uneven surface: lobes of about a centimetre, `by_mm` high (standard deviation)."""

    solid: Solid
    by_mm: float

    def bounds(self) -> Bounds:
        low, high = self.solid.bounds()
        return low - 2 * self.by_mm, high + 2 * self.by_mm

    def distance(self, grid: Grid, window: Window) -> Array:
        return self.solid.distance(grid, window) + np.float32(self.by_mm) * np.clip(grid.lobes[window], -2, 2)


@dataclass(frozen=True, eq=False)
class Cached(Solid):
    """`solid`, evaluated once for the whole grid because many other solids use it."""

    solid: Solid

    def bounds(self) -> Bounds:
        return self.solid.bounds()

    def distance(self, grid: Grid, window: Window) -> Array:
        if id(self) not in grid.cache:
            grid.cache[id(self)] = self.solid.distance(grid, grid.everything())
        return grid.cache[id(self)][window].copy()


def _window_around(solid: Solid, margin_mm: float, grid: Grid, window: Window) -> Window | None:
    """Return the part of `window` within `margin_mm` of `solid`, or None."""
    low, high = solid.bounds()
    return overlap(window, grid.window(low - margin_mm, high + margin_mm))


def _soft_min(a: Array, b: Array, blend_mm: float) -> Array:
    """Return the minimum of two distances, smoothed over `blend_mm` (quadratic smooth minimum)."""
    if blend_mm <= 0:
        return np.minimum(a, b)
    width = np.float32(blend_mm)
    share = np.maximum(width - np.abs(a - b), 0) / width
    return np.minimum(a, b) - share * share * (width / 4)
