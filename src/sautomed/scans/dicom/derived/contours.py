"""Masks as polygons and back: outlines along the edges of pixels, and even-odd filling.

Pixel (row, column) covers [column, column + 1] x [row, row + 1], and corners are (x, y) = (column, row). An outline
runs along these edges, so the area that it encloses is that of its pixels, to the last one; a single pixel is a
square. Pixels that touch only at a corner are islands of their own. Knows nothing of DICOM or of the patient.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Directions, clockwise on a picture whose rows grow downwards; the mask lies at the right hand of each edge.
_RIGHT, _DOWN, _LEFT, _UP = range(4)


def outlines(mask: NDArray[np.bool_]) -> list[NDArray[np.int64]]:
    """One closed polygon per island, with its holes joined in by channels.

    A channel (the "keyhole") runs from the first corner of a hole straight to the left, along edges between pixels,
    there and back. It has no width: the polygon's area is exact, and every way of filling it (even-odd, winding,
    union with other polygons) leaves the hole open.

    Args:
        mask: (rows columns).
    Returns:
        Corners (n 2) as (x, y), n >= 4; the last is joined to the first. No corner lies on a straight line, except
        at the ends of channels.
    """
    starts, directions, width = _edges(mask)
    if starts.size == 0:
        return []
    leaving = np.full(((mask.shape[0] + 1) * width, 4), -1, np.int64)
    leaving[starts, directions] = np.arange(starts.size)
    follower = _followers(starts, directions, leaving, width)
    loops = _loops(follower.tolist())
    chain = _Chain(starts.tolist(), directions.tolist(), follower.tolist())
    is_corner: NDArray[np.bool_] = np.any(leaving >= 0, axis=1)
    outer = []
    for loop in loops:
        first = min(loop, key=chain.starts.__getitem__)  # the top-left corner; an outer loop leaves it to the right
        if directions[first] == _RIGHT:
            outer.append(first)
            continue
        corner = chain.starts[first]
        line = corner - corner % width
        hit = line + int(np.flatnonzero(is_corner[line:corner])[-1])
        # Both pixels at the right of the hit are in the mask, so exactly one edge leaves it.
        chain.join(int(leaving[hit].max()), first)
    return [chain.corners(first, width) for first in outer]


def fill(polygon: NDArray[np.float64], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """The pixels whose centres lie inside a polygon, by the even-odd rule.

    Args:
        polygon: Corners (n 2) as (x, y), in coordinates where the centre of pixel (row, column) is (column, row).
        shape: (rows, columns).
    """
    rows, columns = shape
    start, end = polygon, np.roll(polygon, -1, axis=0)
    first = np.clip(np.ceil(np.minimum(start[:, 1], end[:, 1])), 0, rows).astype(np.int64)
    stop = np.clip(np.ceil(np.maximum(start[:, 1], end[:, 1])), 0, rows).astype(np.int64)
    counts = stop - first
    edge = np.repeat(np.arange(len(polygon)), counts)
    row = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts) + first[edge]
    if row.size == 0:
        return np.zeros(shape, dtype=bool)
    slope = (end[edge, 0] - start[edge, 0]) / (end[edge, 1] - start[edge, 1])
    crossing = start[edge, 0] + (row - start[edge, 1]) * slope
    column = np.clip(np.ceil(crossing), 0, columns).astype(np.int64)
    # Each crossing turns everything at its right; only the lines that the polygon spans are worked on.
    top, bottom = int(row.min()), int(row.max()) + 1
    turns = np.zeros((bottom - top, columns + 1), np.int32)
    np.add.at(turns, (row - top, column), 1)
    inside = np.zeros(shape, dtype=bool)
    inside[top:bottom] = np.cumsum(turns[:, :columns], axis=1) % 2 == 1
    return inside


def area(polygon: NDArray[np.float64]) -> float:
    """The area that a polygon (n 2) encloses, in squares of its unit."""
    # Relative to a corner of its own, since far from the origin the products would lose digits.
    x, y = (polygon - polygon[0]).T
    return float(abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2)


def _edges(mask: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
    """Where mask meets background: first corner (numbered line by line) and direction of each edge, line length."""
    width = mask.shape[1] + 1
    padded = np.pad(mask, 1)
    inner = padded[1:-1, 1:-1]
    borders = (
        (inner & ~padded[:-2, 1:-1], 0, 0),  # top edge, rightwards, from the pixel's top-left corner
        (inner & ~padded[1:-1, 2:], 0, 1),  # right edge, downwards, from its top-right corner
        (inner & ~padded[2:, 1:-1], 1, 1),  # bottom edge, leftwards, from its bottom-right corner
        (inner & ~padded[1:-1, :-2], 1, 0),  # left edge, upwards, from its bottom-left corner
    )
    starts, directions = [], []
    for direction, (border, down, right) in enumerate(borders):
        row, column = np.nonzero(border)
        starts.append((row + down) * width + column + right)
        directions.append(np.full(row.size, direction))
    return np.concatenate(starts).astype(np.int64), np.concatenate(directions).astype(np.int64), width


def _followers(
    starts: NDArray[np.int64], directions: NDArray[np.int64], leaving: NDArray[np.int64], width: int
) -> NDArray[np.int64]:
    """The edge after each edge. Where two leave a corner, the one to the right: it stays with the same pixel."""
    step = np.array([1, width, -1, -width])
    ends = starts + step[directions]
    follower = np.full(starts.size, -1, np.int64)
    for turn in (3, 0, 1):  # left, straight on, right: the last one found wins
        candidate = leaving[ends, (directions + turn) % 4]
        follower = np.where(candidate >= 0, candidate, follower)
    return follower


def _loops(follower: list[int]) -> list[list[int]]:
    """The closed ways through all edges."""
    seen = bytearray(len(follower))
    loops = []
    for first in range(len(follower)):
        if seen[first]:
            continue
        loop, edge = [], first
        while not seen[edge]:
            seen[edge] = 1
            loop.append(edge)
            edge = follower[edge]
        loops.append(loop)
    return loops


class _Chain:
    """Edges as a linked list, so that loops can be joined without moving any."""

    def __init__(self, starts: list[int], directions: list[int], follower: list[int]) -> None:
        self.starts = starts
        self._directions = directions
        self._follower = follower
        self._leader = [0] * len(follower)
        for edge, after in enumerate(follower):
            self._leader[after] = edge

    def join(self, edge: int, hole: int) -> None:
        """Go from the start of `edge` to the start of `hole` at its right, round the hole, and back."""
        there, back = len(self.starts), len(self.starts) + 1
        self.starts += [self.starts[edge], self.starts[hole]]
        self._directions += [_RIGHT, _LEFT]
        self._follower += [-1, -1]
        self._leader += [-1, -1]
        before, last = self._leader[edge], self._leader[hole]
        for first, second in ((before, there), (there, hole), (last, back), (back, edge)):
            self._follower[first] = second
            self._leader[second] = first

    def corners(self, first: int, width: int) -> NDArray[np.int64]:
        """The corners of the loop through `first`, (n 2) as (x, y), without those on a straight line."""
        kept, edge = [], first
        while True:
            if self._directions[edge] != self._directions[self._leader[edge]]:
                kept.append(self.starts[edge])
            edge = self._follower[edge]
            if edge == first:
                break
        numbers = np.array(kept, np.int64)
        return np.stack([numbers % width, numbers // width], axis=1)
