"""Draw a label map on its scan: a few slices with the organs' outlines, and the volumes.

Reads and writes no medical format.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Literal, cast

import numpy as np
from contourpy import contour_generator
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.patheffects import Normal, Stroke
from numpy.typing import NDArray

from sautomed.inference.preview_marks import draw_marks, legend_of_marks, marks_of
from sautomed.inference.prompts.document import PromptsDocument
from sautomed.scans.files import atomic_write
from sautomed.scans.grid import Plane
from sautomed.scans.palette import colour_of, display_name
from sautomed.scans.volume import LabelMap, Volume, require_same_grid

HAlign = Literal["left", "center", "right"]
VAlign = Literal["top", "center", "bottom"]
SLICES = 6
COLUMNS = 3
PANEL_IN = 3.1  # width of one slice
LEGEND_IN = 2.6  # least width of one column of names
LEGEND_KEY_IN = 0.75  # of that, the coloured key and the space around it
LEGEND_PT = 9
ENTRY_IN = 0.21  # height of one of them
CT_WINDOW_HU = (-160.0, 240.0)  # the usual abdominal window: width 400, level 40
MR_PERCENTILES = (0.5, 99.5)
# The directions of the left and the upper edge of a slice as it is shown.
EDGES: dict[Plane, tuple[str, str]] = {"axial": ("R", "A"), "coronal": ("R", "S"), "sagittal": ("A", "S")}


def draw_preview(
    volume: Volume,
    labels: LabelMap,
    path: Path,
    reference: LabelMap | None = None,
    prompts: PromptsDocument | None = None,
) -> None:
    """Draw six slices spread over the labelled ones, with each organ lightly filled and outlined.

    Boxes that prompted an organ are dashed in its colour; what a person gave has marked corners.

    Args:
        volume: The scan.
        labels: On the grid of `volume`.
        path: The PNG; replaced atomically.
        reference: On the same grid; its outlines are dashed and its volumes are listed too.
        prompts: Of this label map. Slices for which something was given are shown rather than others.
    Raises:
        GridMismatch: The arrays are not on one grid.
        UnwritableTarget: The picture cannot be written.
    """
    where = volume.path or "preview"
    maps = [labels] if reference is None else [labels, reference]
    for item, name in zip(maps, ("labels", "reference"), strict=False):
        require_same_grid(volume, item, first_name="scan", second_name=name, where=where)
    marks = {} if prompts is None else marks_of(prompts)
    given = {index for index, part in marks.items() if part.is_given}
    occupied = np.any([item.array > 0 for item in maps], axis=0)
    shown = choose_slices(occupied, np.maximum.reduce([item.array for item in maps]), given)
    view = _view(volume, maps)
    rows = -(-len(shown) // COLUMNS)
    tall = (view.rows.stop - view.rows.start) * view.aspect / (view.columns.stop - view.columns.start)
    height = max(rows * PANEL_IN * min(tall, 1.3) + 0.6, 3.4)
    entries = [*_legend_entries(labels, reference), *legend_of_marks([marks[i] for i in shown if i in marks])]
    columns = -(-len(entries) // int(height / ENTRY_IN))
    beside = columns * _legend_column_in(entries)
    size = (COLUMNS * PANEL_IN + beside, height)
    figure = Figure(figsize=size, dpi=110, layout="constrained", facecolor="white")
    canvas = FigureCanvasAgg(figure)
    spec = figure.add_gridspec(1, 2, width_ratios=(size[0] - beside, beside))
    panels, legend = figure.add_subfigure(spec[0]), figure.add_subfigure(spec[1])
    grid = panels.subplots(rows, COLUMNS, squeeze=False)
    for axes in grid.ravel():
        axes.set_axis_off()
    for axes, index in zip(grid.ravel(), shown, strict=False):
        _draw_slice(axes, volume, labels, reference, index, view)
        if index in marks:
            draw_marks(axes, marks[index], (view.rows.start, view.columns.start))
    panels.suptitle(_title(volume), x=0.01, ha="left", fontsize=10, color="#26323d", parse_math=False)
    names = legend.legend(handles=entries, loc="center left", frameon=False, fontsize=LEGEND_PT, ncols=columns)
    for text in names.get_texts():
        text.set_parse_math(False)  # a dollar sign in a name starts no formula
    _round_layout(figure)
    with atomic_write(path) as temporary:
        canvas.print_png(temporary)


def thumbnail_png(volume: Volume, labels: LabelMap | None, width_px: int = 190) -> bytes:
    """Draw the middle slice of the labelled ones, or of the scan, with outlines as a small PNG.

    Args:
        volume: The scan.
        labels: On the grid of `volume`, or None.
        width_px: Width of the picture; the height follows the slice, up to a quarter more.
    Returns:
        The bytes of the file.
    """
    shown = labels if labels is not None else _empty_labels(volume)
    with_labels = np.flatnonzero(shown.array.any(axis=(1, 2)))
    index = int(with_labels[len(with_labels) // 2]) if len(with_labels) else len(volume.array) // 2
    view = _view(volume, [shown])
    tall = (view.rows.stop - view.rows.start) * view.aspect / (view.columns.stop - view.columns.start)
    size = (width_px / 100, width_px / 100 * min(max(tall, 0.4), 1.25))
    figure = Figure(figsize=size, dpi=100, facecolor="black")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    _draw_slice(axes, volume, shown, None, index, view)
    stream = BytesIO()
    FigureCanvasAgg(figure).print_png(stream)
    return stream.getvalue()


def _empty_labels(volume: Volume) -> LabelMap:
    return LabelMap(np.zeros(volume.array.shape, np.uint8), volume.affine, volume.native, volume.plane)


def _round_layout(figure: Figure) -> None:
    """Solve the layout once and round it: the solver's last digits depend on earlier figures of this process."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for part in figure.subfigs:
        part.bbox_relative.p0, part.bbox_relative.p1 = np.round(part.bbox_relative.get_points(), 5)
    for axes in figure.get_axes():
        left, bottom, width, height = axes.get_position().bounds
        axes.set_position((round(left, 5), round(bottom, 5), round(width, 5), round(height, 5)))


def choose_slices(
    occupied: NDArray[np.bool_], classes: NDArray[np.unsignedinteger], preferred: Collection[int] = ()
) -> list[int]:
    """Choose slices spread evenly over the labelled ones; of each section, the one with most classes.

    Args:
        occupied: (d h w), where there is any label.
        classes: (d h w), the labels.
        preferred: Slices that are chosen rather than others of their section.
    Returns:
        At most `SLICES` indices, in order; spread over the whole volume if there is no label.
    """
    with_labels = np.flatnonzero(occupied.any(axis=(1, 2)))
    low, high = (with_labels[0], with_labels[-1] + 1) if len(with_labels) else (0, len(occupied))
    edges = np.linspace(low, high, min(SLICES, high - low) + 1).round().astype(int)
    class_counts = np.array([len(np.unique(plane)) for plane in classes])
    chosen = []
    for start, stop in pairwise(edges):
        middle_first = sorted(range(start, stop), key=lambda i: abs(i - (start + stop - 1) / 2))
        chosen.append(max(middle_first, key=lambda i: (i in preferred, class_counts[i])))
    return [int(index) for index in chosen]


@dataclass(frozen=True)
class _View:
    """What all panels share: rows and columns of the body, height over width of a pixel, and intensity window."""

    rows: slice
    columns: slice
    aspect: float
    window: tuple[float, float]


def _view(volume: Volume, maps: list[LabelMap]) -> _View:
    window = display_window(volume.array)
    faint = window[0] + 0.12 * (window[1] - window[0])
    # A share of bright voxels, not a single one, so that noise and the table do not widen the view.
    inside = (volume.array > faint).mean(axis=0) > 0.15
    inside |= np.any([item.array > 0 for item in maps], axis=(0, 1))
    rows, columns = (_extent(inside.any(axis=axis)) for axis in (1, 0))
    return _View(rows, columns, volume.spacing_mm[1] / volume.spacing_mm[2], window)


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


def _draw_slice(
    axes: Axes, volume: Volume, labels: LabelMap, reference: LabelMap | None, index: int, view: _View
) -> None:
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


def _title(volume: Volume) -> str:
    name = volume.path.name if volume.path is not None else "scan"
    name = name.encode("utf-8", "replace").decode()  # bytes that are not UTF-8 cannot be drawn
    slice_mm, row_mm, column_mm = volume.spacing_mm
    count = len(volume.array)
    return (
        f"{name}    {volume.plane}, {count} slice{'s' if count > 1 else ''} of {slice_mm:.3g} mm, "
        f"pixels {row_mm:.3g} x {column_mm:.3g} mm"
    )


def _legend_column_in(entries: Sequence[Patch | Line2D]) -> float:
    """Return the width in inches of a column of the legend that cuts no text off."""
    canvas, font = FigureCanvasAgg(Figure(dpi=100)), FontProperties(size=LEGEND_PT)
    renderer = canvas.get_renderer()
    widths = [
        renderer.get_text_width_height_descent(str(entry.get_label()), font, ismath=False)[0] for entry in entries
    ]
    return max(LEGEND_IN, max(widths) / 100 + LEGEND_KEY_IN)


def _legend_entries(labels: LabelMap, reference: LabelMap | None) -> list[Patch | Line2D]:
    voxel_ml = abs(float(np.linalg.det(labels.affine[:3, :3]))) / 1000
    counts = labels.voxel_counts()
    reference_counts = reference.voxel_counts() if reference is not None else {}
    names = labels.names | {value: f"label {value}" for value in labels.unknown_values()}
    entries: list[Patch | Line2D] = []
    for class_id, name in sorted(names.items()):
        count = counts.get(class_id, 0)
        text = f"{display_name(name)}  {_volume_text(count * voxel_ml)}"
        if reference is not None:
            text += f"  ({_volume_text(reference_counts.get(class_id, 0) * voxel_ml, none='none')})"
        entries.append(Patch(color=colour_of(class_id) if count else "#e3e7ea", label=text))
    if reference is not None:
        entries.append(Line2D([], [], color="#7d8a96", linestyle="dashed", label="reference (its volume)"))
    return entries or [Patch(color="#e3e7ea", label="no organ")]


def _volume_text(volume_ml: float, none: str = "not found") -> str:
    if volume_ml == 0:
        return none
    return f"{volume_ml:.0f} ml" if volume_ml >= 10 else f"{volume_ml:.1f} ml"
