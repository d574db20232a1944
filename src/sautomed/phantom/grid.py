"""Positions of a phantom's voxels in the reference patient.

A pose (rotation, scale, shift) and a smooth random warp map the scanner's straight lattice into the reference patient,
so each solid is described once and still differs between cases. Arrays are (slice z, row y, column x); their indices
increase to the head, the front and the patient's right.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy.interpolate import BSpline

Array = np.ndarray
Window = tuple[slice, slice, slice]
BLOCK = 6  # voxels per side
SLACK_MM = 1.0  # the warp changes by less than this between two sampled voxels
RIM_MM = 3.0  # added around a solid, for its soft edge and a rim of fat


@dataclass(frozen=True)
class Lattice:
    """The scanner's voxel centres: `shape` (s, r, c); `spacing_mm` and `origin_mm` of index 0, in (z, y, x) order."""

    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    origin_mm: tuple[float, float, float]

    def refined(self, times: int) -> Lattice:
        """Return a lattice with `times` sub-slices (an odd number) per slice, the middle one at the slice's centre."""
        step = self.spacing_mm[0] / times
        start = self.origin_mm[0] - step * (times // 2)
        return Lattice(
            (self.shape[0] * times, *self.shape[1:]), (step, *self.spacing_mm[1:]), (start, *self.origin_mm[1:])
        )

    def axes_mm(self) -> tuple[Array, Array, Array]:
        """Return the positions along z, y and x."""
        z, y, x = (
            (o + s * np.arange(n)).astype(np.float32)
            for n, s, o in zip(self.shape, self.spacing_mm, self.origin_mm, strict=True)
        )
        return z, y, x


@dataclass(frozen=True)
class Pose:
    """Position and size of a patient: scanner = turn @ (scale * reference) + shift; all (x, y, z)."""

    scale: np.ndarray  # (3,)
    turn: np.ndarray  # (3, 3)
    shift_mm: np.ndarray  # (3,)

    def to_scanner(self, point: np.ndarray) -> np.ndarray:
        """Map a point (3,) of the reference patient into the scanner."""
        return np.asarray(self.turn @ (point * self.scale) + self.shift_mm)


@dataclass(frozen=True)
class Grid:
    """Reference coordinates of each voxel, with the random surface field `lobes` (unit variance)."""

    lattice: Lattice
    pose: Pose
    x: Array  # (s, r, c), mm, as y and z
    y: Array
    z: Array
    lobes: Array  # (s, r, c)
    drift_mm: Array  # (2, 3, blocks of z, y, x): least and greatest warp along x, y and z in each block
    cache: dict[int, Array] = field(default_factory=dict)  # distances of `Cached` solids on the whole grid

    def points(self, window: Window) -> tuple[Array, Array, Array]:
        """Return x, y and z of the window's voxels."""
        return self.x[window], self.y[window], self.z[window]

    def everything(self) -> Window:
        """Return the window of all voxels."""
        z, y, x = (slice(0, n) for n in self.lattice.shape)
        return z, y, x

    def window(self, low: np.ndarray, high: np.ndarray) -> Window:
        """Return a window that holds the reference box from `low` to `high` (x, y, z).

        Computed twice: with the bounds of the warp in the whole grid, then with the much narrower ones of the blocks
        found.
        """
        low, high = np.clip(low, -2e3, 2e3) - RIM_MM, np.clip(high, -2e3, 2e3) + RIM_MM
        window = self._straight_window(low, high, self.drift_mm)
        near = tuple(slice(s.start // BLOCK, -(-s.stop // BLOCK)) for s in window)
        drift = self.drift_mm[(slice(None), slice(None), *near)]
        return self._straight_window(low, high, drift) if drift.size else window

    def _straight_window(self, low: np.ndarray, high: np.ndarray, drift_mm: Array) -> Window:
        """Return the window of the box if the warp stays within `drift_mm`."""
        low = low - drift_mm[1].max(axis=(1, 2, 3)) - SLACK_MM
        high = high - drift_mm[0].min(axis=(1, 2, 3)) + SLACK_MM
        centre = self.pose.to_scanner((low + high) / 2)
        reach = np.abs(self.pose.turn * self.pose.scale) @ ((high - low) / 2)
        origin, spacing, shape = (
            np.array(v) for v in (self.lattice.origin_mm, self.lattice.spacing_mm, self.lattice.shape)
        )
        start = np.clip(np.floor(((centre - reach)[::-1] - origin) / spacing), 0, shape).astype(int)
        stop = np.clip(np.ceil(((centre + reach)[::-1] - origin) / spacing) + 1, start, shape).astype(int)
        return slice(start[0], stop[0]), slice(start[1], stop[1]), slice(start[2], stop[2])


def make_grid(lattice: Lattice, pose: Pose, rng: np.random.Generator) -> Grid:
    """Map `lattice` into the reference patient, with a random warp."""
    z, y, x = lattice.axes_mm()
    inverse = (pose.turn.T / pose.scale[:, None]).astype(np.float32)
    px, py, pz = (axis - np.float32(s) for axis, s in zip((x, y, z), pose.shift_mm, strict=True))
    straight = [row[0] * px[None, None, :] + row[1] * py[None, :, None] + row[2] * pz[:, None, None] for row in inverse]
    warps = [3.5 * smooth_field(lattice, 70, rng) + 1.2 * smooth_field(lattice, 32, rng) for _ in range(3)]
    bent_x, bent_y, bent_z = ((s + w).astype(np.float32) for s, w in zip(straight, warps, strict=True))
    drift = np.array([[_reduce_blocks(w, reduce) for w in warps] for reduce in (np.minimum, np.maximum)])
    return Grid(lattice, pose, bent_x, bent_y, bent_z, smooth_field(lattice, 11, rng), drift)


def _reduce_blocks(field: Array, reduce: np.ufunc) -> Array:
    """Reduce each block of `BLOCK` voxels per side; every third voxel is enough, since the field is smooth."""
    sampled = field[::3, ::3, ::3]
    for axis, length in enumerate(sampled.shape):
        sampled = reduce.reduceat(sampled, np.arange(0, length, BLOCK // 3), axis=axis)
    return sampled


def smooth_field(lattice: Lattice, scale_mm: float, rng: np.random.Generator) -> Array:
    """Return a smooth random field of about unit variance that varies over `scale_mm`: (s, r, c) float32."""
    bases = [_spline_basis(n * s / scale_mm, n) for n, s in zip(lattice.shape, lattice.spacing_mm, strict=True)]
    coefficients = rng.standard_normal([b.shape[1] for b in bases], dtype=np.float32)
    for axis, basis in enumerate(bases):
        coefficients = np.moveaxis(np.tensordot(basis, coefficients, axes=(1, axis)), 0, axis)
    return np.ascontiguousarray(coefficients)


def _spline_basis(knots_across: float, count: int) -> Array:
    """Return cubic B-splines at `count` places over `knots_across` knots, scaled to unit variance: (count, k)."""
    places = np.linspace(0, knots_across, count, endpoint=False) + knots_across / count / 2
    knots = np.arange(-3, int(np.ceil(knots_across)) + 4, dtype=float)
    basis = BSpline.design_matrix(places, knots, 3).toarray()
    return (basis / np.sqrt((basis**2).sum(axis=1, keepdims=True))).astype(np.float32)


def overlap(a: Window, b: Window) -> Window | None:
    """Return the intersection of two windows, or None."""
    shared = [slice(max(p.start, q.start), min(p.stop, q.stop)) for p, q in zip(a, b, strict=True)]
    return (shared[0], shared[1], shared[2]) if all(s.stop > s.start for s in shared) else None


def inside(outer: Window, inner: Window) -> Window:
    """Return `inner` relative to the corner of `outer`."""
    z, y, x = (slice(i.start - o.start, i.stop - o.start) for o, i in zip(outer, inner, strict=True))
    return z, y, x
