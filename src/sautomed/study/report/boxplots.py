"""Figure of the DSC of every patient, by organ and system."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cbook import boxplot_stats
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from sautomed.report.figures import GRID_COLOUR, TEXT_COLOUR
from sautomed.scans.palette import display_name
from sautomed.study.report.cases import ReportedSystem
from sautomed.study.report.plotting import PAGE_IN, QUIET_COLOUR, chart_url, style_axes, system_colour
from sautomed.study.report.statistics import patient_table

FACETS = 5  # in a row
BOX_FROM = 5  # ours: patients; quartiles of fewer mean little
LINE_IN = 0.21  # height of one system
HATCH = "////"
GUTTER = 0.09  # share of the axis at the left for a DSC of 0, if the axis does not start at 0


def boxplots_picture(systems: Sequence[ReportedSystem], labels: Mapping[int, str]) -> str:
    """Draw a facet per organ and one for their mean, a line per system and a point per patient; return a data URL.

    Boxes (median, quartiles, whiskers to 1.5 times their distance) are drawn for `BOX_FROM` patients or more, otherwise
    a line at the mean. A cross at the left edge is a DSC of 0. Systems that are prompted from the truth are hatched.
    """
    values = [facets_of(system, labels) for system in systems]
    names = ["mean over organs", *(display_name(name) for name in labels.values())]
    columns = min(FACETS, len(names))
    rows = -(-len(names) // columns)
    height = rows * (LINE_IN * len(systems) + 0.62) + 0.1
    figure = Figure(figsize=(PAGE_IN, height), dpi=150, layout="constrained", facecolor="white")
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    start = _start_of(values)
    for number, axes in enumerate(grid.ravel()):
        if number >= len(names):
            axes.set_axis_off()
            continue
        for line, (system, facets) in enumerate(zip(systems, values, strict=True)):
            _draw_line(axes, line, facets[number], system, start)
        if start:
            axes.axvline(start - GUTTER / 2 * (1 - start), color="white", linewidth=3)  # the axis is broken here
        axes.set_title(names[number], loc="left", fontsize=9, color=TEXT_COLOUR, pad=4, parse_math=False)
        style_axes(axes, "x")
        axes.tick_params(labelbottom=True)
    first = grid[0, 0]
    first.set_xlim(start - GUTTER * 1.4 * (1 - start), 1.005)
    ticks = [tick for tick in np.arange(0, 1.01, 0.2) if tick >= start + 0.05]
    if start:
        first.set_xticks([start - GUTTER * (1 - start), *ticks], ["0", *(f"{tick:.1f}" for tick in ticks)])
    first.set_ylim(len(systems) - 0.45, -0.55)
    first.set_yticks(range(len(systems)), [system.short_name for system in systems], parse_math=False)
    return chart_url(figure)


def facets_of(system: ReportedSystem, labels: Mapping[int, str]) -> list[list[float]]:
    """Return the DSC of each patient, averaged as in the tables: the mean over organs, then each organ."""
    table = patient_table(system.row, "dsc", system.row.patients, list(labels))
    organs = [column[np.isfinite(column)].tolist() for column in table.T]
    return [[float(np.nanmean(values)) for values in table if np.isfinite(values).any()], *organs]


def _start_of(values: Sequence[Sequence[Sequence[float]]]) -> float:
    """Return the start of the axis: below all means, medians and values but 0, which is drawn as a cross."""
    facets = [facet for of_system in values for facet in of_system if facet]
    shown = [
        value for facet in facets for value in (*facet, float(np.mean(facet)), float(np.median(facet))) if value > 0
    ]
    lowest = np.floor(10 * (min(shown, default=0.0) - 0.02)) / 10
    return float(lowest) if lowest > 0.15 else 0.0


def _draw_line(axes: Axes, line: int, values: Sequence[float], system: ReportedSystem, start: float) -> None:
    colour = system_colour(system.place)
    if system.is_oracle:
        axes.axhspan(line - 0.45, line + 0.45, facecolor="none", edgecolor=GRID_COLOUR, hatch=HATCH, linewidth=0)
    zero_at = start - GUTTER * (1 - start) if start else 0.0
    if len(values) >= BOX_FROM:
        (box_of,) = boxplot_stats([values])
        for end in ("whislo", "q1", "med", "q3", "whishi"):  # what is below the axis is drawn where 0 is
            box_of[end] = max(box_of[end], zero_at)
        drawn = axes.bxp(
            [box_of], positions=[line], widths=0.66, vert=False, patch_artist=True, showfliers=False,
            manage_ticks=False, medianprops={"color": TEXT_COLOUR, "linewidth": 1.3},
            whiskerprops={"color": colour, "linewidth": 0.9}, capprops={"color": colour, "linewidth": 0.9},
        )  # fmt: skip
        for box in drawn["boxes"]:
            box.set(facecolor=(*to_rgb(colour), 0.25), edgecolor=colour, linewidth=0.9)
    elif values:
        axes.plot([np.mean(values)] * 2, [line - 0.3, line + 0.3], color=TEXT_COLOUR, linewidth=1.3)
    # Spread points of similar values; the fixed seed gives the same figure each time.
    heights = line + np.random.default_rng(0).uniform(-0.16, 0.16, len(values)) * min(1.0, len(values) / 6)
    known = np.array(values, dtype=float)
    is_zero = known == 0
    axes.scatter(known[~is_zero], heights[~is_zero], s=9, color=colour, edgecolors="white", linewidths=0.3, zorder=3)
    at_zero = np.full(is_zero.sum(), zero_at)
    axes.scatter(at_zero, heights[is_zero], s=22, color=colour, marker="x", linewidths=1.2, zorder=3, clip_on=False)
    if not values:
        axes.text(0.98, line, "no value", transform=axes.get_yaxis_transform(), fontsize=7, color=QUIET_COLOUR,
                  ha="right", va="center")  # fmt: skip
