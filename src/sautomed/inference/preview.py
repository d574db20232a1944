"""Draw a label map on its scan: a few slices with the organs' outlines, and the volumes.

Reads and writes no medical format.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from io import BytesIO
from itertools import pairwise
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import NDArray

from sautomed.inference.preview_marks import draw_marks, legend_of_marks, marks_of
from sautomed.inference.preview_slice import draw_slice, view_of
from sautomed.inference.prompts.document import PromptsDocument
from sautomed.scans.files import atomic_write
from sautomed.scans.palette import colour_of, display_name
from sautomed.scans.volume import LabelMap, Volume, require_same_grid

SLICES = 6
COLUMNS = 3
PANEL_IN = 3.1  # width of one slice
LEGEND_IN = 2.6  # least width of one column of names
LEGEND_KEY_IN = 0.75  # of that, the coloured key and the space around it
LEGEND_PT = 9
ENTRY_IN = 0.21  # height of one of them


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
    view = view_of(volume, maps)
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
        draw_slice(axes, volume, labels, reference, index, view)
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
    view = view_of(volume, [shown])
    tall = (view.rows.stop - view.rows.start) * view.aspect / (view.columns.stop - view.columns.start)
    size = (width_px / 100, width_px / 100 * min(max(tall, 0.4), 1.25))
    figure = Figure(figsize=size, dpi=100, facecolor="black")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    draw_slice(axes, volume, shown, None, index, view)
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
