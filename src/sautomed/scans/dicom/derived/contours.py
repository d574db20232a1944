"""Convert masks to polygons along the edges of pixels, and back by even-odd filling.

Pixel (row, column) covers [column, column + 1] x [row, row + 1], and corners are (x, y) = (column, row). Outlines run
along these edges, so they enclose exactly the area of their pixels; a single pixel is a square. Pixels that touch only
at a corner are separate islands. Knows nothing of DICOM.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Directions, clockwise in an image whose rows grow downwards; the mask is on the right of each edge.
_RIGHT, _DOWN, _LEFT, _UP = range(4)


def outlines(mask: NDArray[np.bool_]) -> list[NDArray[np.int64]]:
    """Return one closed polygon per island, with its holes joined to it by channels.

    A channel (the "keyhole") runs from the first corner of a hole straight to the left, along edges between pixels, and
    back. It has no width: the polygon's area is exact, and every fill rule (even-odd, winding, union of polygons)
    leaves the hole open.

    Args:
        mask: (rows columns).
    Returns:
        Corners (n 2) as (x, y), n >= 4; the last is joined to the first. No corner is on a straight line, except at
        the ends of channels.
    """
    starts, directions, width = _edges(mask)
    if starts.size == 0:
        return []
    leaving = np.full(((mask.shape[0] + 1) * width, 4), -1, np.int64)
    leaving[starts, directions] = np.arange(starts.size)
    following = _next_edges(starts, directions, leaving, width)
    loops = _loops(following.tolist())
    chain = _Chain(starts.tolist(), directions.tolist(), following.tolist())
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
        # Both pixels right of the hit are in the mask, so exactly one edge leaves it.
        chain.join(int(leaving[hit].max()), first)
    return [chain.corners(first, width) for first in outer]


def fill(polygon: NDArray[np.float64], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Return a mask (rows columns) of the pixels whose centres are inside a polygon, by the even-odd rule.

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
    # Each crossing flips all pixels to its right; only rows that the polygon covers are computed.
    top, bottom = int(row.min()), int(row.max()) + 1
    flips = np.zeros((bottom - top, columns + 1), np.int32)
    np.add.at(flips, (row - top, column), 1)
    inside = np.zeros(shape, dtype=bool)
    inside[top:bottom] = np.cumsum(flips[:, :columns], axis=1) % 2 == 1
    return inside


def area(polygon: NDArray[np.float64]) -> float:
    """Return the area of a polygon (n 2), in squares of its unit."""
    # Relative to its first corner, since products of large coordinates lose digits.
    x, y = (polygon - polygon[0]).T
    return float(abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2)


def _edges(mask: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
    """Return the edges between mask and background.

    Returns:
        Start of each edge (corners are numbered row by row), its direction, and the number of corners per row.
    """
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


def _next_edges(
    starts: NDArray[np.int64], directions: NDArray[np.int64], leaving: NDArray[np.int64], width: int
) -> NDArray[np.int64]:
    """Return the edge after each edge. Where two leave a corner, the right one, which stays with the same pixel."""
    step = np.array([1, width, -1, -width])
    ends = starts + step[directions]
    following = np.full(starts.size, -1, np.int64)
    for turn in (3, 0, 1):  # left, straight on, right: the last one found wins
        candidate = leaving[ends, (directions + turn) % 4]
        following = np.where(candidate >= 0, candidate, following)
    return following


def _loops(following: list[int]) -> list[list[int]]:
    """Return the closed loops of edges."""
    seen = bytearray(len(following))
    loops = []
    for first in range(len(following)):
        if seen[first]:
            continue
        loop, edge = [], first
        while not seen[edge]:
            seen[edge] = 1
            loop.append(edge)
            edge = following[edge]
        loops.append(loop)
    return loops


class _Chain:
    """Linked list of edges, in which loops can be joined without moving edges."""

    def __init__(self, starts: list[int], directions: list[int], following: list[int]) -> None:
        self.starts = starts
        self._directions = directions
        self._following = following
        self._previous = [0] * len(following)
        for edge, after in enumerate(following):
            self._previous[after] = edge

    def join(self, edge: int, hole: int) -> None:
        """Insert a channel from the start of `edge` to the start of `hole` on its right, around the hole, and back."""
        there, back = len(self.starts), len(self.starts) + 1
        self.starts += [self.starts[edge], self.starts[hole]]
        self._directions += [_RIGHT, _LEFT]
        self._following += [-1, -1]
        self._previous += [-1, -1]
        before, last = self._previous[edge], self._previous[hole]
        for first, second in ((before, there), (there, hole), (last, back), (back, edge)):
            self._following[first] = second
            self._previous[second] = first

    def corners(self, first: int, width: int) -> NDArray[np.int64]:
        """Return the corners of the loop through `first`, (n 2) as (x, y), without those on a straight line."""
        kept, edge = [], first
        while True:
            if self._directions[edge] != self._directions[self._previous[edge]]:
                kept.append(self.starts[edge])
            edge = self._following[edge]
            if edge == first:
                break
        numbers = np.array(kept, np.int64)
        return np.stack([numbers % width, numbers // width], axis=1)
