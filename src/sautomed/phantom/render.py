"""Paint parts onto a grid: an image with partial volumes, and labels that are exact at the voxel centres.

Each slice is painted as `SUB_SLICES` thin ones. The image is their mean, like a scanner's slice profile; the labels are
those of the middle one. Edges are softened over `EDGE_MM` around the surface.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from sautomed.phantom.grid import Array, Grid, Window, inside, overlap, smooth_field
from sautomed.phantom.parts import Part
from sautomed.phantom.tissues import Brightness

SUB_SLICES = 3
EDGE_MM = np.float32(1.6)


def paint(
    parts: Sequence[Part],
    grid: Grid,
    brightness: dict[str, Brightness],
    labels: dict[str, int],
    rng: np.random.Generator,
) -> tuple[Array, Array]:
    """Paint `parts` in order over air.

    Args:
        grid: Refined by `SUB_SLICES` along z.
        labels: Structure name to label; a structure that is not listed is background.
    Returns:
        Image (s, r, c) float32 without noise, and labels uint8, on the unrefined slices.
    """
    values = {
        name: look.mean + look.between * np.clip(rng.standard_normal(), -2, 2) for name, look in brightness.items()
    }
    texture = 0.75 * smooth_field(grid.lattice, 7, rng) + 0.66 * smooth_field(grid.lattice, 20, rng)
    image = np.full(grid.lattice.shape, values["air"], dtype=np.float32)
    truth = np.zeros((grid.lattice.shape[0] // SUB_SLICES, *grid.lattice.shape[1:]), dtype=np.uint8)
    for part in parts:
        low, high = part.solid.bounds()
        rim = max(part.rim_mm, 0.0)
        window = grid.window(low - rim, high + rim)
        if any(s.stop <= s.start for s in window):
            continue
        for tissue, here, distance, structure in _strokes(part, grid, window):
            share = np.float32(0.5) - distance / EDGE_MM
            np.clip(share, 0, 1, out=share)
            colour = texture[here] * np.float32(brightness[tissue].within)
            colour += np.float32(values[tissue])
            colour -= image[here]
            colour *= share
            image[here] += colour
            _set_label(truth, here, distance, labels.get(structure or "", 0))
    return image.reshape(-1, SUB_SLICES, *image.shape[1:]).mean(axis=1), truth


def _strokes(part: Part, grid: Grid, window: Window) -> Iterator[tuple[str, Window, Array, str | None]]:
    """Yield tissue, window, signed distance and structure of the rim, the part and its layers."""
    surface = part.solid.distance(grid, window)
    if part.rim_mm > 0:
        yield "fat", window, surface - np.float32(part.rim_mm), None
    yield part.tissue, window, surface, part.structure
    for layer in part.layers:
        here: Window | None = window
        if layer.inside is not None:
            here = overlap(window, grid.window(*layer.inside.bounds()))
        if here is None:
            continue
        deep = surface[inside(window, here)] + np.float32(layer.depth_mm)
        if layer.inside is not None:
            np.maximum(deep, layer.inside.distance(grid, here), out=deep)
        yield layer.tissue, here, deep, None if layer.unlabelled else part.structure


def _set_label(truth: Array, window: Window, distance: Array, label: int) -> None:
    """Set the label of the voxels whose centre is inside."""
    middle = SUB_SLICES // 2
    first = (middle - window[0].start) % SUB_SLICES  # the window's first sub-slice that is the middle of a slice
    start = (window[0].start + first) // SUB_SLICES
    inside_slices = distance[first::SUB_SLICES] < 0
    truth[start : start + len(inside_slices), window[1], window[2]][inside_slices] = label
