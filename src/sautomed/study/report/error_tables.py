"""The causes of errors, and DSC by a slice's place, as tables and pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from sautomed.scans.palette import display_name
from sautomed.study.report.cases import System
from sautomed.study.report.cells import Cell, Column, Table, TableRow, number_cell
from sautomed.study.report.grouping import Group
from sautomed.study.report.plotting import INK, PAGE_IN, chart_url, line_style, plain, system_colour
from sautomed.study.report.slice_errors import BINS, CAUSES, NEAR_MM, PLACES, WALK_NEAR, SystemErrors

Errors = Mapping[str, SystemErrors]
# From a matter of the outline to a whole organ: from pale to strong.
CAUSE_COLOURS = {
    "boundary": "#c9d3dc", "inner": "#8da3b5", "missed_slices": "#f2b66b", "beyond": "#d9702b", "missed": "#a3172a",
    "invented": "#5d2a7a",
}  # fmt: skip
LINE_IN = 0.21
FACETS = 4
CAUSE_NOTES = (
    "Millilitres per case in which prediction and truth differ, each voxel under one cause. A voxel given to the wrong "
    "organ counts for both organs.",
    f"Outline: at most one voxel in the plane or {NEAR_MM:g} mm from the true surface. Farther off: the rest between "
    "the organ's first and last slice. Missed slices: slices between them on which nothing of it was found. Past its "
    "ends: false organ before its first or after its last slice. Missed organ: nothing of it was found. Invented "
    "organ: the truth has none of it.",
)
PLACE_NOTES = (
    "Mean DSC of single slices that have the organ in the truth, over organs and cases; 0 where nothing was found. "
    "First and last slice: of the organ, counted as the slices are (axial: from the feet).",
    f"Walk's first: the middle slice of the volume, where 3D-SAutoMed begins without history; beside it: the same "
    f"organs on the {WALK_NEAR} slices to either side. For systems without a walk the two show how much of a "
    "difference is due to the anatomy.",
)


def error_tables(group: Group, systems: Sequence[System], errors: Errors) -> list[Table]:
    """Causes over all organs, causes by organ, and DSC by place."""
    shown = [system for system in systems if system.name in errors]
    causes = tuple(Column(cause, words) for cause, words in CAUSES.items())
    total = Column("total", "all errors")
    overall = [_row(system, _cause_cells(_totals(errors[system.name]))) for system in shown]
    by_organ = [
        _row(system, (Cell(display_name(name)), *_cause_cells(errors[system.name].ml[label])))
        for label, name in group.labels.items()
        for system in shown
    ]
    places = [_row(s, tuple(number_cell(errors[s.name].places[place], 3) for place in PLACES)) for s in shown]
    place_columns = tuple(Column(place, words) for place, words in PLACES.items())
    where = group.caption
    return [
        Table(f"{group.name}_errors", "errors", f"Errors by cause, all organs (ml per case): {where}", (*causes, total),
              tuple(overall), CAUSE_NOTES),
        Table(f"{group.name}_errors_by_organ", "errors_by_organ", f"Errors by cause and organ (ml per case): {where}",
              (Column("organ", "organ", is_text=True), *causes, total), tuple(by_organ), CAUSE_NOTES),
        Table(f"{group.name}_slice_places", "slice_places", f"DSC of slices by their place: {where}", place_columns,
              tuple(places), PLACE_NOTES),
    ]  # fmt: skip


def causes_picture(systems: Sequence[System], errors: Errors, labels: Mapping[int, str]) -> str:
    """A facet per organ, a bar per system, a colour per cause, as a data URL. Every facet has a scale of its own."""
    shown = [system for system in systems if system.name in errors]
    columns = min(FACETS, len(labels))
    rows = -(-len(labels) // columns)
    figure = Figure(figsize=(PAGE_IN, rows * (LINE_IN * len(shown) + 0.62) + 0.4), dpi=150, layout="constrained",
                    facecolor="white")  # fmt: skip
    grid = figure.subplots(rows, columns, sharey=True, squeeze=False)
    for axes in grid.ravel()[len(labels) :]:
        axes.set_axis_off()
    for axes, (label, name) in zip(grid.ravel(), labels.items(), strict=False):
        _draw_bars(axes, [errors[system.name].ml[label] for system in shown])
        axes.set_title(display_name(name), loc="left", fontsize=9, color=INK, pad=4, parse_math=False)
    first = grid[0, 0]
    first.set_ylim(len(shown) - 0.45, -0.55)
    first.set_yticks(range(len(shown)), [system.short_name for system in shown], parse_math=False)
    for axes in grid.ravel()[max(len(labels) - columns, 0) : len(labels)]:  # the lowest of each column
        axes.set_xlabel("ml per case", fontsize=8, color=INK)
    entries = [Patch(color=CAUSE_COLOURS[cause], label=words) for cause, words in CAUSES.items()]
    figure.legend(handles=entries, loc="outside upper left", frameon=False, fontsize=8, ncols=len(entries))
    return chart_url(figure)


def places_picture(systems: Sequence[System], errors: Errors) -> str:
    """DSC along an organ from its first to its last slice, a line per system, as a data URL."""
    shown = [system for system in systems if system.name in errors]
    figure = Figure(figsize=(PAGE_IN, 3.4), dpi=150, layout="constrained", facecolor="white")
    axes = figure.add_subplot()
    at = (np.arange(BINS) + 0.5) / BINS
    for system in shown:
        along = errors[system.name].along
        known = np.isfinite(along)
        axes.plot(at[known], along[known], color=system_colour(system.place), linewidth=1.5, marker="o",
                  markersize=2.6, linestyle=line_style(system.place, system.is_oracle),
                  label=system.short_name)  # fmt: skip
    axes.set_xlim(0.02, 0.98)
    axes.set_ylim(0, 1)
    axes.set_xticks([at[0], 0.5, at[-1]], ["first tenth", "middle of the organ", "last tenth"])
    axes.set_title("mean DSC of slices, by their place in the organ", loc="left", fontsize=10, color=INK)
    plain(axes)
    legend = figure.legend(loc="outside right upper", frameon=False, fontsize=8, labelcolor=INK)
    for text in legend.get_texts():
        text.set_parse_math(False)
    return chart_url(figure)


def _totals(errors: SystemErrors) -> dict[str, float]:
    return {cause: errors.total_ml(cause) for cause in CAUSES}


def _cause_cells(ml: Mapping[str, float]) -> tuple[Cell, ...]:
    return *(number_cell(ml[cause], 1) for cause in CAUSES), number_cell(sum(ml.values()), 1)


def _row(system: System, cells: tuple[Cell, ...]) -> TableRow:
    return TableRow(system.name, cells, is_oracle=system.is_oracle)


def _draw_bars(axes: Axes, rows: Sequence[Mapping[str, float]]) -> None:
    left = np.zeros(len(rows))
    for cause in CAUSES:
        widths = np.array([row[cause] for row in rows])
        axes.barh(np.arange(len(rows)), widths, 0.7, left, color=CAUSE_COLOURS[cause])
        left += widths
    plain(axes, "x")
    axes.set_xlim(left=0)
