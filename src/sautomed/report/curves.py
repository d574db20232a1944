"""The learning curve of a training: loss and validation DSC over time, read from log.csv and drawn."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sautomed.errors import BadTable
from sautomed.report.figures import GRID_COLOUR, TEXT_COLOUR, figure_png
from sautomed.scans.files import atomic_write
from sautomed.scans.paths import require_file

LOSSES = (
    ("loss", "loss", "#1f4e79", 1.8),
    ("ce", "cross-entropy", "#d98324", 1.1),
    ("dice", "Dice loss", "#4c9a62", 1.1),
)
QUIET_COLOUR = "#6b7885"
SMOOTH_OVER = 25  # ours: rows in the moving mean, at most a tenth of the log


@dataclass(frozen=True)
class Curve:
    """The columns of a training log, (rows,) each; nan where nothing was measured."""

    columns: dict[str, np.ndarray]

    def measured(self, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return seconds, steps and values of the rows in which `name` was measured."""
        values = self.columns.get(name, np.full(len(self.columns["step"]), np.nan))
        seen = np.isfinite(values)
        return self.columns["elapsed_s"][seen], self.columns["step"][seen], values[seen]


def read_log(path: Path) -> Curve:
    """Read log.csv.

    Raises:
        MissingFile: There is no such file.
        BadTable: A column is missing, or a field is not a number.
    """
    require_file(path)
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        rows = list(reader)
    there = reader.fieldnames or []
    missing = [name for name in ("step", "elapsed_s", "loss", "val_dsc") if name not in there]
    if missing:
        raise BadTable(
            f"has no column {', '.join(missing)}.", where=path, cure="Name the log.csv that sautomed train wrote."
        )
    try:
        columns = {name: np.array([_number(row[name]) for row in rows], dtype=float) for name in there}
    except ValueError as error:
        raise BadTable(
            f"holds a field that is not a number ({error}).",
            where=path,
            cure="Correct that field, or name another log.csv that sautomed train wrote.",
        ) from error
    return Curve(columns)


def draw_learning_curve(log_csv: Path, png: Path) -> None:
    """Draw loss and validation DSC over time, with the steps along the upper edge.

    Args:
        log_csv: Log of the training; columns step, elapsed_s, loss, val_dsc and, if the system has them, ce and dice;
            blank where not measured.
        png: The picture; replaced atomically.
    Raises:
        MissingFile, BadTable: As `read_log`.
        UnwritableTarget: The picture cannot be written.
    """
    picture = learning_curve_png(read_log(log_csv))
    with atomic_write(png) as temporary:
        temporary.write_bytes(picture)


def learning_curve_png(curve: Curve) -> bytes:
    """Draw loss and validation DSC over time as PNG."""
    figure = Figure(figsize=(10, 3.6), dpi=110, layout="constrained")
    left, right = figure.subplots(1, 2)
    unit_s, unit = _time_unit(curve)
    _draw_losses(left, curve, unit_s)
    _draw_dsc(right, curve, unit_s)
    for axes in (left, right):
        axes.set_xlabel(f"time ({unit})", color=TEXT_COLOUR)
        axes.set_xlim(0, max(_last_s(curve) / unit_s, 1e-3) * 1.02)
        _style(axes)
        _mark_steps(axes, curve, unit_s)
    return figure_png(figure)


def _draw_losses(axes: Axes, curve: Curve, unit_s: float) -> None:
    for name, label, colour, width in LOSSES:
        seconds, _, values = curve.measured(name)
        if not len(values):
            continue
        if name == "loss":
            axes.plot(seconds / unit_s, values, color=colour, alpha=0.25, linewidth=0.8)
        axes.plot(seconds / unit_s, moving_mean(values), color=colour, linewidth=width, label=label)
    axes.set_title("training loss", loc="left", color=TEXT_COLOUR, fontsize=11)
    axes.set_ylim(bottom=0)
    if axes.lines:
        axes.legend(frameon=False, fontsize=8)
    else:
        _write_not_measured(axes)


def _draw_dsc(axes: Axes, curve: Curve, unit_s: float) -> None:
    seconds, steps, values = curve.measured("val_dsc")
    axes.set_title("validation DSC", loc="left", color=TEXT_COLOUR, fontsize=11)
    axes.set_ylim(0, 1)
    if not len(values):
        _write_not_measured(axes)
        return
    axes.plot(seconds / unit_s, values, color="#8c2d3f", linewidth=1.8, marker="o", markersize=3.5)
    best = int(values.argmax())
    axes.annotate(
        f"best {values[best]:.3f} at step {steps[best]:.0f}",
        (seconds[best] / unit_s, values[best]),
        xytext=(0.97, 0.06),
        textcoords="axes fraction",
        ha="right",
        fontsize=9,
        color=TEXT_COLOUR,
        arrowprops={"arrowstyle": "-", "color": GRID_COLOUR},
    )


def moving_mean(values: np.ndarray) -> np.ndarray:
    """Smooth values by the mean over neighbouring rows, fewer at the ends; the length stays."""
    width = max(1, min(SMOOTH_OVER, len(values) // 10)) | 1
    window = np.ones(width)
    return np.convolve(values, window, "same") / np.convolve(np.ones(len(values)), window, "same")


def _mark_steps(axes: Axes, curve: Curve, unit_s: float) -> None:
    """Show at most five steps along the upper edge."""
    seconds, steps = curve.columns["elapsed_s"], curve.columns["step"]
    if len(steps) < 2 or not np.isfinite(steps).all() or steps[-1] <= steps[0]:
        return
    upper = axes.secondary_xaxis("top")
    shown = np.linspace(0, len(steps) - 1, 5).round().astype(int)
    upper.set_xticks(seconds[shown] / unit_s, [f"{steps[i]:.0f}" for i in shown], fontsize=7, color=QUIET_COLOUR)
    upper.set_xlabel("step", fontsize=7, color=QUIET_COLOUR, loc="right", labelpad=1)
    upper.tick_params(length=2, color=GRID_COLOUR)
    upper.spines["top"].set_visible(False)


def _last_s(curve: Curve) -> float:
    return float(np.nanmax(curve.columns["elapsed_s"], initial=0.0))


def _time_unit(curve: Curve) -> tuple[float, str]:
    last = _last_s(curve)
    if last > 3 * 3600:
        return 3600.0, "hours"
    return (60.0, "minutes") if last > 120 else (1.0, "seconds")


def _style(axes: Axes) -> None:
    axes.grid(color=GRID_COLOUR, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(GRID_COLOUR)
    axes.tick_params(colors=TEXT_COLOUR, labelsize=8)


def _write_not_measured(axes: Axes) -> None:
    axes.text(0.5, 0.5, "not measured yet", transform=axes.transAxes, ha="center", color=QUIET_COLOUR)


def _number(field: str | None) -> float:
    return float(field) if field else math.nan
