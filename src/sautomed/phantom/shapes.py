"""Continuous solids as signed distances: negative inside, positive outside, roughly in mm near the surface.

A solid is evaluated on a window of a `Grid`; `parts` gives it tissue and label. Coordinates are those of the reference
patient: x to the right, y to the front, z to the head, in mm. Distances are accurate near the surface; beyond the rim
that `Grid.window` adds they are only positive.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from sautomed.phantom.grid import Array, Grid, Window, inside, overlap

Point = tuple[float, float, float]
Bounds = tuple[np.ndarray, np.ndarray]
FAR_MM = np.float32(1e3)


class Solid(ABC):
    """A solid, given by its signed distance."""

    @abstractmethod
    def bounds(self) -> Bounds:
        """Return lowest and highest corner (x, y, z) of a box that holds the solid."""

    @abstractmethod
    def distance(self, grid: Grid, window: Window) -> Array:
        """Return the signed distance at each point of the window, (s, r, c)."""


@dataclass(frozen=True)
class Ellipsoid(Solid):
    """An ellipsoid with half axes `radii`, rotated by `turn` degrees about z, then about y, then about x."""

    centre: Point
    radii: Point
    turn: Point = (0.0, 0.0, 0.0)  # degrees about x, y, z

    def bounds(self) -> Bounds:
        reach = np.sqrt(self._axes() ** 2 @ np.square(self.radii))
        return np.subtract(self.centre, reach), np.add(self.centre, reach)

    def distance(self, grid: Grid, window: Window) -> Array:
        dx, dy, dz = (part - np.float32(c) for part, c in zip(grid.points(window), self.centre, strict=True))
        axes = self._axes().astype(np.float32)
        near = np.zeros_like(dx)
        steep = np.full_like(dx, 1e-12)
        for axis, radius in zip(axes.T, np.array(self.radii, dtype=np.float32), strict=True):
            along = dx * (axis[0] / radius) + dy * (axis[1] / radius) + dz * (axis[2] / radius)
            along *= along
            near += along
            along /= radius * radius
            steep += along
        # Level over gradient is accurate at the surface; (level - 1) * radius is not for a flat ellipsoid.
        near = np.sqrt(near)
        return near * (near - 1) / np.sqrt(steep)

    def _axes(self) -> np.ndarray:
        return rotation(self.turn)


@dataclass(frozen=True)
class Tube(Solid):
    """A tube of changing radius along a smooth curve through `points`; `squash` makes its section oval."""

    points: Sequence[Point]
    radii: Sequence[float]
    pieces: int = 3  # straight pieces between two points
    squash: Point = (1.0, 1.0, 1.0)

    def bounds(self) -> Bounds:
        way, radii = self._way
        reach = radii.max() * np.array(self.squash)
        return way.min(axis=0) - reach, way.max(axis=0) + reach

    def distance(self, grid: Grid, window: Window) -> Array:
        out = far(window)
        way, radii = self._way
        for a, b, ra, rb in zip(way, way[1:], radii, radii[1:], strict=False):
            reach = max(ra, rb) * np.array(self.squash)
            local = overlap(window, grid.window(np.minimum(a, b) - reach, np.maximum(a, b) + reach))
            if local is not None:
                part = out[inside(window, local)]
                np.minimum(part, self._piece(grid, local, a, b, ra, rb), out=part)
        return out

    def _piece(self, grid: Grid, window: Window, a: np.ndarray, b: np.ndarray, ra: float, rb: float) -> Array:
        stretch = [np.float32(1 / s) for s in self.squash]
        px, py, pz = ((p - np.float32(c)) * s for p, c, s in zip(grid.points(window), a, stretch, strict=True))
        step = ((b - a) * stretch).astype(np.float32)
        along = np.clip((px * step[0] + py * step[1] + pz * step[2]) / (step @ step + np.float32(1e-9)), 0, 1)
        px, py, pz = (p - along * s for p, s in zip((px, py, pz), step, strict=True))
        return np.sqrt(px * px + py * py + pz * pz) - (np.float32(ra) + along * np.float32(rb - ra))

    @cached_property
    def _way(self) -> tuple[np.ndarray, np.ndarray]:
        """Ends (n, 3) and radii (n,) of the straight pieces of a Catmull-Rom curve through the points."""
        points = np.asarray(self.points, dtype=float)
        slopes = np.gradient(points, axis=0)
        share = np.arange(self.pieces)[:, None] / self.pieces
        here, there, rise, fall = points[:-1, None], points[1:, None], slopes[:-1, None], slopes[1:, None]
        bend = (1 - share) * rise - share * fall + (2 * share - 1) * (there - here)
        curve = here + share * (there - here) + share * (1 - share) * bend
        radii = np.asarray(self.radii, dtype=float)
        girth = radii[:-1, None] + share[:, 0] * np.diff(radii)[:, None]
        return np.vstack([curve.reshape(-1, 3), points[-1]]), np.append(girth.ravel(), radii[-1])


@dataclass(frozen=True)
class Barrel(Solid):
    """An upright column with a rounded-box section that changes with height, between two heights.

    `levels` are rows of (z, half width x, half depth y, centre y), from low to high.
    """

    levels: Sequence[tuple[float, float, float, float]]
    low: float = -1e4
    high: float = 1e4
    centre_x: float = 0.0

    def bounds(self) -> Bounds:
        _, width, depth, centre = np.array(self.levels, dtype=float).T
        low = [self.centre_x - width.max(), (centre - depth).min(), self.low]
        return np.array(low), np.array([self.centre_x + width.max(), (centre + depth).max(), self.high])

    def distance(self, grid: Grid, window: Window) -> Array:
        x, y, z = grid.points(window)
        heights, *columns = np.array(self.levels, dtype=float).T
        # One height per slice is enough: the section changes slowly with z.
        level = z.mean(axis=(1, 2))
        width, depth, centre = (np.interp(level, heights, c).astype(np.float32)[:, None, None] for c in columns)
        across = np.abs((x - np.float32(self.centre_x)) / width)
        along = np.abs((y - centre) / depth)
        # The cube root of s is slow to compute; near the surface, where s is 1, (s + 2) / 3 approximates it.
        radial = (across * across * across + along * along * along - 1) * (np.minimum(width, depth) / 3)
        return np.maximum(radial, np.maximum(np.float32(self.low) - z, z - np.float32(self.high)))


@dataclass(frozen=True)
class HalfSpace(Solid):
    """Everything behind the plane through `point` with the normal `outward`."""

    point: Point
    outward: Point

    def bounds(self) -> Bounds:
        low, high = np.full(3, -1e4), np.full(3, 1e4)
        if np.count_nonzero(self.outward) == 1:  # the plane is perpendicular to an axis, so it bounds that axis
            axis = int(np.flatnonzero(self.outward)[0])
            (high if self.outward[axis] > 0 else low)[axis] = self.point[axis]
        return low, high

    def distance(self, grid: Grid, window: Window) -> Array:
        normal = (np.array(self.outward) / np.linalg.norm(self.outward)).astype(np.float32)
        x, y, z = (p - np.float32(c) for p, c in zip(grid.points(window), self.point, strict=True))
        return x * normal[0] + y * normal[1] + z * normal[2]


@dataclass(frozen=True)
class Seams(Solid):
    """Thin curved sheets, `width_mm` thick, through all of space: where the random surface field changes sign."""

    width_mm: float

    def bounds(self) -> Bounds:
        return np.full(3, -1e4), np.full(3, 1e4)

    def distance(self, grid: Grid, window: Window) -> Array:
        # The field of unit variance changes by about 1 in 6 mm.
        return np.abs(grid.lobes[window]) * np.float32(6) - np.float32(self.width_mm / 2)


def rotation(degrees: Sequence[float]) -> np.ndarray:
    """Return the 3x3 rotation about x, y and z by `degrees`, z first."""
    a, b, c = np.radians(degrees)
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    about_z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return about_x @ about_y @ about_z


def far(window: Window) -> Array:
    """Return `FAR_MM` everywhere: the distance to an empty solid."""
    return np.full([s.stop - s.start for s in window], FAR_MM, dtype=np.float32)
