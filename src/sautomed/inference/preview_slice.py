"""A slice of a scan drawn with its labels: what part of it, in which window, with which outlines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, cast

import numpy as np
from contourpy import contour_generator
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgb
from matplotlib.patheffects import Normal, Stroke
from numpy.typing import NDArray

from sautomed.scans.grid import Plane
from sautomed.scans.palette import colour_of
from sautomed.scans.volume import LabelMap, Volume

HAlign = Literal["left", "center", "right"]
VAlign = Literal["top", "center", "bottom"]
CT_WINDOW_HU = (-160.0, 240.0)  # the usual abdominal window: width 400, level 40
MR_PERCENTILES = (0.5, 99.5)
# The directions of the left and the upper edge of a slice as it is shown.
EDGES: dict[Plane, tuple[str, str]] = {"axial": ("R", "A"), "coronal": ("R", "S"), "sagittal": ("A", "S")}


@dataclass(frozen=True)
class View:
    """What all panels share: rows and columns of the body, height over width of a pixel, and intensity window."""

    rows: slice
    columns: slice
    aspect: float
    window: tuple[float, float]


def view_of(volume: Volume, maps: list[LabelMap]) -> View:
    """Return the view on a scan that shows the body and all labels of some maps on its grid."""
    window = display_window(volume.array)
    faint = window[0] + 0.12 * (window[1] - window[0])
    # A share of bright voxels, not a single one, so that noise and the table do not widen the view.
    inside = (volume.array > faint).mean(axis=0) > 0.15
    inside |= np.any([item.array > 0 for item in maps], axis=(0, 1))
    rows, columns = (_extent(inside.any(axis=axis)) for axis in (1, 0))
    return View(rows, columns, volume.spacing_mm[1] / volume.spacing_mm[2], window)


def display_window(array: NDArray[np.float32]) -> tuple[float, float]:
    """Return the intensities shown black and white: the abdominal window in CT, else percentiles of non-zero voxels."""
    if array.min() < -500:  # only CT has air that far below zero
        return CT_WINDOW_HU
    nonzero = array[array != 0]
    low, high = np.percentile(nonzero if nonzero.size else array, MR_PERCENTILES)
    return (float(low), float(high)) if high > low else (float(array.min()), float(array.min()) + 1)


def _extent(occupied: NDArray[np.bool_]) -> slice:
    places = np.flatnonzero(occupied)
    if not len(places):
        return slice(0, len(occupied))
    margin = max(2, len(occupied) // 40)
    return slice(max(int(places[0]) - margin, 0), min(int(places[-1]) + 1 + margin, len(occupied)))


def draw_slice(
    axes: Axes, volume: Volume, labels: LabelMap, reference: LabelMap | None, index: int, view: View
) -> None:
    """Draw a slice with its labels filled and outlined, and outlines of a reference dashed."""
    part = (index, view.rows, view.columns)
    low, high = view.window
    axes.imshow(volume.array[part], cmap="gray", vmin=low, vmax=high, aspect=view.aspect, interpolation="bilinear")
    classes = labels.array[part]
    tint = np.zeros((*classes.shape, 4), dtype=np.float32)
    for class_id in np.unique(classes[classes > 0]):
        tint[classes == class_id] = (*to_rgb(colour_of(int(class_id))), 0.22)
    axes.imshow(tint, aspect=view.aspect, interpolation="nearest")
    draw_outlines(axes, classes, "solid", 1.1)
    if reference is not None:
        draw_outlines(axes, reference.array[part], "dashed", 0.9, "white")
    left, top = EDGES[volume.plane]
    _note(axes, 0.012, 0.5, left, "left", "center")
    _note(axes, 0.5, 0.985, top, "center", "top")
    _note(axes, 0.985, 0.015, f"{index + 1}/{len(volume.array)}", "right", "bottom")


def _note(axes: Axes, x: float, y: float, text: str, across: HAlign, along: VAlign) -> None:
    """Write small text at a place in axes units, with a dark rim to be legible on bright tissue."""
    rim = [Stroke(linewidth=2, foreground="black"), Normal()]
    axes.text(x, y, text, ha=across, va=along, color="#c3d2de", fontsize=7, transform=axes.transAxes, path_effects=rim)


def draw_outlines(axes: Axes, plane: NDArray[np.unsignedinteger], style: str, width: float, colour: str = "") -> None:
    """Draw the outline of every class of a slice.

    Args:
        plane: (h w) labels.
        style: Line style of matplotlib.
        colour: For all outlines; by default each class has its own.
    """
    if min(plane.shape) < 2:  # contour needs two rows and columns
        return
    for class_id in np.unique(plane[plane > 0]):
        mask = plane == class_id
        # Not `axes.contour`, which keeps three grids of the whole slice for each class.
        rows, columns = _indices_around(mask.any(axis=1)), _indices_around(mask.any(axis=0))
        part = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].astype(np.float32)
        lines = cast(list[NDArray[np.float64]], contour_generator(columns, rows, part).lines(0.5))
        axes.add_collection(
            LineCollection(lines, colors=colour or colour_of(int(class_id)), linewidths=width, linestyles=style),
            autolim=False,
        )


def _indices_around(occupied: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the indices from one before the first occupied one to one after the last."""
    places = np.flatnonzero(occupied)
    return np.arange(max(places[0] - 1, 0), min(places[-1] + 2, len(occupied)))
