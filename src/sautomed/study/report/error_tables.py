"""Errors by cause, and DSC of slices by their place in an organ, as tables and figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from sautomed.report.figures import TEXT_COLOUR
from sautomed.report.table import Cell, Column, Table, TableKind, TableRow
from sautomed.scans.palette import display_name
from sautomed.study.report.cases import ReportedSystem
from sautomed.study.report.grouping import Group
from sautomed.study.report.plotting import PAGE_IN, chart_url, line_style, style_axes, system_colour
from sautomed.study.report.slice_errors import BINS, CAUSES, NEAR_MM, PLACES, WALK_NEAR, SystemErrors

Errors = Mapping[str, SystemErrors]  # by system name
# From pale for errors at the outline to strong for whole organs.
CAUSE_COLOURS = {
    "boundary": "#c9d3dc", "inner": "#8da3b5", "missed_slices": "#f2b66b", "beyond": "#d9702b", "missed": "#a3172a",
    "invented": "#5d2a7a",
}  # fmt: skip
LINE_IN = 0.21  # height of one system
FACETS = 4  # in a row
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


def error_tables(group: Group, systems: Sequence[ReportedSystem], errors: Errors) -> list[Table]:
    """Return tables of causes over all organs, causes by organ, and DSC of slices by place."""
    shown = [system for system in systems if system.name in errors]
    causes = (
        *(Column(cause, words, digits=1) for cause, words in CAUSES.items()),
        Column("total", "all errors", digits=1),
    )
    overall = [_row(system, _cause_cells(_totals(errors[system.name]))) for system in shown]
    by_organ = [
        _row(system, (Cell(text=display_name(name)), *_cause_cells(errors[system.name].ml[label])))
        for label, name in group.labels.items()
        for system in shown
    ]
    places = [_row(s, tuple(Cell(errors[s.name].places[place]) for place in PLACES)) for s in shown]
    organ = Column("organ", "organ", "words")
    place_columns = tuple(Column(place, words, digits=3) for place, words in PLACES.items())
    data = group.caption
    return [
        Table(TableKind.ERRORS, group.name, "Errors by cause, all organs (ml per case)", data, causes, tuple(overall),
              CAUSE_NOTES),
        Table(TableKind.ERRORS_BY_ORGAN, group.name, "Errors by cause and organ (ml per case)", data, (organ, *causes),
              tuple(by_organ), CAUSE_NOTES),
        Table(TableKind.SLICE_PLACES, group.name, "DSC of slices by their place", data, place_columns, tuple(places),
              PLACE_NOTES),
    ]  # fmt: skip


def causes_picture(systems: Sequence[ReportedSystem], errors: Errors, labels: Mapping[int, str]) -> str:
    """Draw a facet per organ with its own scale, a bar per system and a colour per cause; return a data URL."""
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
        axes.set_title(display_name(name), loc="left", fontsize=9, color=TEXT_COLOUR, pad=4, parse_math=False)
    first = grid[0, 0]
    first.set_ylim(len(shown) - 0.45, -0.55)
    first.set_yticks(range(len(shown)), [system.short_name for system in shown], parse_math=False)
    for axes in grid.ravel()[max(len(labels) - columns, 0) : len(labels)]:  # the lowest of each column
        axes.set_xlabel("ml per case", fontsize=8, color=TEXT_COLOUR)
    entries = [Patch(color=CAUSE_COLOURS[cause], label=words) for cause, words in CAUSES.items()]
    figure.legend(handles=entries, loc="outside upper left", frameon=False, fontsize=8, ncols=len(entries))
    return chart_url(figure)


def places_picture(systems: Sequence[ReportedSystem], errors: Errors) -> str:
    """Draw the DSC along an organ from its first to its last slice, a line per system; return a data URL."""
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
    axes.set_title("mean DSC of slices, by their place in the organ", loc="left", fontsize=10, color=TEXT_COLOUR)
    style_axes(axes)
    legend = figure.legend(loc="outside right upper", frameon=False, fontsize=8, labelcolor=TEXT_COLOUR)
    for text in legend.get_texts():
        text.set_parse_math(False)
    return chart_url(figure)


def _totals(errors: SystemErrors) -> dict[str, float]:
    return {cause: errors.total_ml(cause) for cause in CAUSES}


def _cause_cells(ml: Mapping[str, float]) -> tuple[Cell, ...]:
    return *(Cell(ml[cause]) for cause in CAUSES), Cell(sum(ml.values()))


def _row(system: ReportedSystem, cells: tuple[Cell, ...]) -> TableRow:
    return TableRow(system.name, cells, is_oracle=system.is_oracle)


def _draw_bars(axes: Axes, rows: Sequence[Mapping[str, float]]) -> None:
    left = np.zeros(len(rows))
    for cause in CAUSES:
        widths = np.array([row[cause] for row in rows])
        axes.barh(np.arange(len(rows)), widths, 0.7, left, color=CAUSE_COLOURS[cause])
        left += widths
    style_axes(axes, "x")
    axes.set_xlim(left=0)
