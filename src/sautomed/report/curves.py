"""The learning curve of a training as a picture: loss and validation DSC over time, from log.csv."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from sautomed.errors import BadTable
from sautomed.scans.files import atomic_write
from sautomed.scans.paths import require_file

LOSSES = (
    ("loss", "loss", "#1f4e79", 1.8),
    ("ce", "cross-entropy", "#d98324", 1.1),
    ("dice", "Dice loss", "#4c9a62", 1.1),
)
INK, FAINT = "#26323d", "#d8dee4"
SMOOTH_OVER = 25  # rows in the moving mean, at most a tenth of the log


@dataclass(frozen=True)
class Curve:
    """A training as it went: one entry per row of the log, nan where nothing was measured."""

    columns: dict[str, np.ndarray]

    def measured(self, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Seconds, steps and values of the rows that hold `name`."""
        values = self.columns[name]
        seen = np.isfinite(values)
        return self.columns["elapsed_s"][seen], self.columns["step"][seen], values[seen]


def read_log(path: Path) -> Curve:
    """Read log.csv.

    Raises:
        MissingFile: There is none.
        BadTable: A column is absent or holds something that is not a number.
    """
    require_file(path)
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        rows = list(reader)
    needed = ["step", "elapsed_s", "val_dsc", *(name for name, *_ in LOSSES)]
    absent = [name for name in needed if name not in (reader.fieldnames or [])]
    if absent:
        raise BadTable(
            f"has no column {', '.join(absent)}.", where=path, cure="Name the log.csv that sautomed train wrote."
        )
    try:
        columns = {name: np.array([_number(row[name]) for row in rows], dtype=float) for name in needed}
    except ValueError as error:
        raise BadTable(f"holds a field that is no number ({error}).", where=path, cure="Train again.") from error
    return Curve(columns)


def draw_learning_curve(log_csv: Path, png: Path) -> None:
    """Draw loss and validation DSC over time, with the steps along the upper edge.

    Args:
        log_csv: Columns step, elapsed_s, lr, loss, ce, dice, box, presence, val_dsc; blank where not measured.
        png: The picture; replaced atomically.
    Raises:
        MissingFile, BadTable: As `read_log`.
        UnwritableTarget: The picture cannot be written.
    """
    picture = learning_curve_png(read_log(log_csv))
    with atomic_write(png) as temporary:
        temporary.write_bytes(picture)


def learning_curve_png(curve: Curve) -> bytes:
    """The picture itself."""
    figure = Figure(figsize=(10, 3.6), dpi=110, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    unit_s, unit = _time_unit(curve)
    _draw_losses(left, curve, unit_s)
    _draw_dsc(right, curve, unit_s)
    for axes in (left, right):
        axes.set_xlabel(f"time ({unit})", color=INK)
        axes.set_xlim(0, max(_last_s(curve) / unit_s, 1e-3) * 1.02)
        _plain(axes)
        _mark_steps(axes, curve, unit_s)
    picture = io.BytesIO()
    canvas.print_png(picture)
    return picture.getvalue()


def _draw_losses(axes: Axes, curve: Curve, unit_s: float) -> None:
    for name, label, colour, width in LOSSES:
        seconds, _, values = curve.measured(name)
        if not len(values):
            continue
        if name == "loss":
            axes.plot(seconds / unit_s, values, color=colour, alpha=0.25, linewidth=0.8)
        axes.plot(seconds / unit_s, moving_mean(values), color=colour, linewidth=width, label=label)
    axes.set_title("training loss", loc="left", color=INK, fontsize=11)
    axes.set_ylim(bottom=0)
    if axes.lines:
        axes.legend(frameon=False, fontsize=8)
    else:
        _say_nothing(axes)


def _draw_dsc(axes: Axes, curve: Curve, unit_s: float) -> None:
    seconds, steps, values = curve.measured("val_dsc")
    axes.set_title("validation DSC", loc="left", color=INK, fontsize=11)
    axes.set_ylim(0, 1)
    if not len(values):
        _say_nothing(axes)
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
        color=INK,
        arrowprops={"arrowstyle": "-", "color": FAINT},
    )


def moving_mean(values: np.ndarray) -> np.ndarray:
    """Mean over the neighbouring rows, fewer at the ends; same length."""
    width = max(1, min(SMOOTH_OVER, len(values) // 10)) | 1
    window = np.ones(width)
    return np.convolve(values, window, "same") / np.convolve(np.ones(len(values)), window, "same")


def _mark_steps(axes: Axes, curve: Curve, unit_s: float) -> None:
    """Steps along the upper edge, at most five of them."""
    seconds, steps = curve.columns["elapsed_s"], curve.columns["step"]
    if len(steps) < 2 or not np.isfinite(steps).all() or steps[-1] <= steps[0]:
        return
    upper = axes.secondary_xaxis("top")
    shown = np.linspace(0, len(steps) - 1, 5).round().astype(int)
    upper.set_xticks(seconds[shown] / unit_s, [f"{steps[i]:.0f}" for i in shown], fontsize=7, color="#6b7885")
    upper.set_xlabel("step", fontsize=7, color="#6b7885", loc="right", labelpad=1)
    upper.tick_params(length=2, color=FAINT)
    upper.spines["top"].set_visible(False)


def _last_s(curve: Curve) -> float:
    return float(np.nanmax(curve.columns["elapsed_s"], initial=0.0))


def _time_unit(curve: Curve) -> tuple[float, str]:
    last = _last_s(curve)
    if last > 3 * 3600:
        return 3600.0, "hours"
    return (60.0, "minutes") if last > 120 else (1.0, "seconds")


def _plain(axes: Axes) -> None:
    axes.grid(color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(FAINT)
    axes.tick_params(colors=INK, labelsize=8)


def _say_nothing(axes: Axes) -> None:
    axes.text(0.5, 0.5, "not measured yet", transform=axes.transAxes, ha="center", color="#6b7885")


def _number(field: str | None) -> float:
    return float(field) if field else math.nan
