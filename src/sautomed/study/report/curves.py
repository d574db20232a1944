"""Figure of the learning curves of all systems of a table: validation DSC and loss over the minutes of training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from sautomed.errors import SautomedError
from sautomed.report.curves import Curve, moving_mean, read_log
from sautomed.report.figures import TEXT_COLOUR
from sautomed.study.report.cases import ReportedSystem
from sautomed.study.report.plotting import PAGE_IN, chart_url, line_style, style_axes, system_colour

Line = tuple[NDArray[np.float64], NDArray[np.float64]]  # minutes and values
POINTS = 200  # of the mean curve of several trainings


def curves_picture(systems: Sequence[ReportedSystem]) -> str:
    """Draw validation DSC and training loss over time, a line per system; return a data URL, empty without any log.

    With several folds or seeds, thin lines are the trainings, and the strong line is their mean while all of them ran.
    """
    trainings = {system: found for system in systems if (found := _curves_of(system))}
    if not trainings:
        return ""
    figure = Figure(figsize=(PAGE_IN, 4.4), dpi=150, layout="constrained", facecolor="white")
    left, right = figure.subplots(1, 2, width_ratios=(3, 1.15))
    ranked = sorted(trainings, key=lambda system: _last(trainings[system]), reverse=True)
    for system in ranked:
        _draw(left, system, [_line(curve, "val_dsc") for curve in trainings[system]], smooth=False)
        _draw(right, system, [_line(curve, "loss") for curve in trainings[system]], smooth=True)
    left.set_title("validation DSC", loc="left", fontsize=10, color=TEXT_COLOUR)
    right.set_title("training loss (each its own)", loc="left", fontsize=10, color=TEXT_COLOUR)
    left.set_ylim(0, min(1.0, left.dataLim.y1 * 1.06) or 1.0)
    right.set_ylim(bottom=0)
    for axes in (left, right):
        axes.set_xlim(left=0)
        axes.set_xlabel("minutes of training", fontsize=8, color=TEXT_COLOUR)
        axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
        style_axes(axes)
    lines, names = left.get_legend_handles_labels()
    legend = figure.legend(lines, names, loc="outside right upper", frameon=False, fontsize=8, title="last value",
                           title_fontsize=8, alignment="left")  # fmt: skip
    for text in legend.get_texts():
        text.set(parse_math=False, color=TEXT_COLOUR)
    return chart_url(figure)


def _curves_of(system: ReportedSystem) -> list[Curve]:
    """Read the logs of a system's trainings, each once; one that cannot be read is left out."""
    found = []
    for path in dict.fromkeys(run.training_log for run in system.row.runs):
        if path is None:
            continue
        try:
            found.append(read_log(path))
        except SautomedError:  # show the other trainings
            continue
    return [curve for curve in found if len(_line(curve, "val_dsc")[0])]


def _line(curve: Curve, name: str) -> Line:
    seconds, _, values = curve.measured(name)
    return seconds / 60, values


def _last(curves: Sequence[Curve]) -> float:
    return float(np.mean([_line(curve, "val_dsc")[1][-1] for curve in curves]))


def _draw(axes: Axes, system: ReportedSystem, lines: Sequence[Line], *, smooth: bool) -> None:
    lines = [(minutes, moving_mean(values) if smooth else values) for minutes, values in lines if len(values)]
    if not lines:
        return
    strong = _mean(lines) if len(lines) > 1 else lines[0]
    colour, style = system_colour(system.place), line_style(system.place, system.is_oracle)
    if len(lines) > 1 and not smooth:
        for minutes, values in lines:
            axes.plot(minutes, values, color=colour, linewidth=0.5, alpha=0.35)
    dots = "None" if smooth or len(lines) > 1 else "o"
    name = f"{system.short_name}  {np.mean([values[-1] for _, values in lines]):.2f}"
    axes.plot(
        *strong,
        color=colour,
        linestyle=style,
        linewidth=1.6 if not smooth else 1.1,
        label=name,
        marker=dots,
        markersize=2.6,
    )


def _mean(lines: Sequence[Line]) -> Line:
    """Average several lines over the minutes that all of them cover."""
    start, end = max(minutes[0] for minutes, _ in lines), min(minutes[-1] for minutes, _ in lines)
    if end <= start:
        return lines[0]
    at = np.linspace(start, end, POINTS)
    return at, np.mean([np.interp(at, *line) for line in lines], axis=0)
