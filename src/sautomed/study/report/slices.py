"""Figure of a case in 2D: one slice with the outlines of truth and every system, and the boxes that prompted it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.patheffects import Normal, Stroke

from sautomed.inference.preview_slice import EDGES, display_window, draw_outlines
from sautomed.scans.palette import colour_of
from sautomed.scans.volume import LabelMap, Volume
from sautomed.study.report.cases import Boxes, ShownCase
from sautomed.study.report.plotting import COLUMNS, panel_grid, photo_url, title_panel

MARGIN_MM = 14.0  # ours: of tissue around the organs
SMALLEST_MM = 90.0  # ours: so that a single small organ is shown with its surroundings


@dataclass(frozen=True)
class Cut:
    """The shown part of a slice: rows and columns in pixels, and the height of a pixel over its width."""

    index: int
    rows: slice
    columns: slice
    aspect: float


def choose_slice(truth: LabelMap, predictions: Mapping[str, LabelMap]) -> int:
    """Choose, among the slices with most organs in the truth, the one where most pixels are disputed by systems."""
    organs = np.array([len(np.unique(plane[plane > 0])) for plane in truth.array])
    disputed = np.zeros(len(organs))
    for found in predictions.values():
        disputed += (found.array != truth.array).sum(axis=(1, 2))
    return int(np.argmax(np.where(organs == organs.max(), disputed, -1.0)))


def cut_around(shown: ShownCase, index: int) -> Cut:
    """Return the region of a slice that holds the outlines and boxes of all systems, with a margin."""
    maps = [shown.truth, *shown.predictions.values()]
    occupied = np.any([labels.array[index] > 0 for labels in maps], axis=0)
    rows, columns = ([float(place) for place in np.flatnonzero(occupied.any(axis=axis))] for axis in (1, 0))
    for boxes in shown.boxes.values():
        for x0, y0, x1, y1 in boxes.get(index, {}).values():
            rows, columns = [*rows, y0, y1 - 1], [*columns, x0, x1 - 1]
    _, row_mm, column_mm = shown.truth.spacing_mm
    height, width = occupied.shape
    return Cut(index, _span(rows, row_mm, height), _span(columns, column_mm, width), row_mm / column_mm)


def slices_picture(shown: ShownCase, notes: Mapping[str, str]) -> str:
    """Draw truth and systems on one slice, outlines in the organs' colours, the truth dashed; return a data URL.

    Args:
        shown: Boxes that prompted this slice are drawn in the organ's colour.
        notes: A few words by system name, such as its DSC.
    """
    scan = shown.scan
    cut = cut_around(shown, choose_slice(shown.truth, shown.predictions))
    panels = len(shown.predictions) + 1
    rows = -(-panels // COLUMNS)
    aspect = (cut.rows.stop - cut.rows.start) * cut.aspect / (cut.columns.stop - cut.columns.start)
    figure, grid = panel_grid(rows, -(-panels // rows), aspect)
    window = display_window(scan.array)
    first, *others = grid
    _draw_panel(first, scan, cut, window, None, shown.truth, {})
    title_panel(first, "truth", f"slice {cut.index + 1} of {len(scan.array)}")
    _name_sides(first, scan)
    for axes, (name, labels) in zip(others, shown.predictions.items(), strict=False):
        _draw_panel(axes, scan, cut, window, labels, shown.truth, shown.boxes.get(name, {}))
        title_panel(axes, name, notes.get(name, ""))
    return photo_url(figure)


def _span(places: list[float], pixel_mm: float, length: int) -> slice:
    if not len(places):
        return slice(0, length)
    low, high = min(places), max(places) + 1
    margin = max(MARGIN_MM, (SMALLEST_MM - (high - low) * pixel_mm) / 2) / pixel_mm
    return slice(max(int(low - margin), 0), min(int(np.ceil(high + margin)), length))


def _draw_panel(
    axes: Axes,
    scan: Volume,
    cut: Cut,
    window: tuple[float, float],
    found: LabelMap | None,
    truth: LabelMap,
    boxes: Boxes,
) -> None:
    part = (cut.index, cut.rows, cut.columns)
    low, high = window
    axes.imshow(scan.array[part], cmap="gray", vmin=low, vmax=high, aspect=cut.aspect, interpolation="bilinear")
    if found is None:
        draw_outlines(axes, truth.array[part], "dashed", 1.4)
        return
    draw_outlines(axes, truth.array[part], "dashed", 0.8, "white")
    draw_outlines(axes, found.array[part], "solid", 1.3)
    for value, (x0, y0, x1, y1) in boxes.get(cut.index, {}).items():
        # A pixel's index is at its middle, a corner of a box at the edge of a pixel.
        corner = (x0 - 0.5 - cut.columns.start, y0 - 0.5 - cut.rows.start)
        axes.add_patch(Rectangle(corner, x1 - x0, y1 - y0, fill=False, edgecolor=colour_of(value), linewidth=0.8))


def _name_sides(axes: Axes, scan: Volume) -> None:
    rim = [Stroke(linewidth=2, foreground="black"), Normal()]
    left, top = EDGES[scan.plane]
    for x, y, text, across, along in ((0.015, 0.5, left, "left", "center"), (0.5, 0.98, top, "center", "top")):
        axes.text(x, y, text, ha=across, va=along, color="#c3d2de", fontsize=8, transform=axes.transAxes,
                  path_effects=rim)  # fmt: skip
