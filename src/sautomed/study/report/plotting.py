"""Style of the figures of a study's page: colours and lines of systems, axes, panels, and encoding as data URLs."""

from __future__ import annotations

from io import BytesIO

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from sautomed.report.figures import GRID_COLOUR, TEXT_COLOUR, figure_png, image_url

LineStyle = str | tuple[float, tuple[float, ...]]
QUIET_COLOUR = "#66737f"  # --quiet of style.css
PAGE_IN = 11.2  # width of the page; figures of this width have text as large as the page's
# Far apart in hue or lightness on white, in the order of the study's systems. Pairs that are alike to the colour-blind
# (blue and violet, orange and olive, green and brown) have different `_LINES`.
SYSTEM_COLOURS = (
    "#b0182b", "#1f6fb4", "#e08a1e", "#2f8f4e", "#7a4fb0", "#12a5b8", "#c25b9c", "#7d6a52", "#5f6b78", "#a3a11a",
    "#0b3d63", "#e2574c",
)  # fmt: skip
_LINES = ("solid", "dashed", "dashdot", (0, (9, 1.5)))  # four systems each
_ORACLE_LINE = "dotted"
COLUMNS = 5  # panels in a row; in smaller ones outlines could not be told apart
TITLE_IN = 0.42  # height of two lines above each panel
_WEBP_QUALITY = 86  # ours: no visible blocks in grey tissue, and sharp lines


def system_colour(place: int) -> str:
    """Return the colour of the system at a place in the study's order, the same in all figures."""
    return SYSTEM_COLOURS[place % len(SYSTEM_COLOURS)]


def line_style(place: int, is_oracle: bool) -> LineStyle:
    """Return the line style of the system at a place in the study's order; dotted if it is prompted from the truth."""
    return _ORACLE_LINE if is_oracle else _LINES[place // 4 % len(_LINES)]


def shortened(name: str, length: int = 34) -> str:
    """Cut a system's name to a length, so that it does not run into its neighbour."""
    return name if len(name) <= length else f"{name[: length - 1].rstrip()}…"


def style_axes(axes: Axes, grid: str = "both") -> None:
    """Remove the frame of axes and draw a pale grid below the data."""
    axes.grid(axis=grid, color=GRID_COLOUR, linewidth=0.6)  # type: ignore[arg-type]
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(GRID_COLOUR)
    axes.tick_params(colors=TEXT_COLOUR, labelsize=8, length=0)


def panel_grid(rows: int, columns: int, aspect: float) -> tuple[Figure, list[Axes]]:
    """Make a figure of panels with room for a title above each.

    Args:
        rows, columns: Number of panels; at most `COLUMNS` in a row.
        aspect: Height of a panel over its width.
    Returns:
        The figure, and its panels row by row.
    """
    width_in = PAGE_IN / COLUMNS
    height_in = rows * (width_in * aspect + TITLE_IN)
    figure = Figure(figsize=(columns * width_in, height_in), dpi=150, facecolor="white")
    figure.subplots_adjust(0.002, 0.002, 0.998, 1 - TITLE_IN / height_in, 0.02, TITLE_IN / (width_in * aspect))
    panels = list(figure.subplots(rows, columns, squeeze=False).ravel())
    for axes in panels:
        axes.set_axis_off()
    return figure, panels


def title_panel(axes: Axes, name: str, note: str) -> None:
    """Write a name, and a note in smaller print below it, above a panel."""
    for text, above_pt, size, colour in ((shortened(name), 14, 9, TEXT_COLOUR), (note, 4, 7.5, QUIET_COLOUR)):
        axes.annotate(text, (0, 1), (1, above_pt), xycoords="axes fraction", textcoords="offset points",
                      fontsize=size, color=colour, parse_math=False)  # fmt: skip


def chart_url(figure: Figure) -> str:
    """Return a chart as a PNG in a data URL."""
    picture = Image.open(BytesIO(figure_png(figure))).convert("RGB")
    few_colours = picture.quantize(128, dither=Image.Dither.NONE)  # a third as large
    return _encode(few_colours, "png", optimize=True)


def photo_url(figure: Figure) -> str:
    """Return a figure with grey tissue or shaded surfaces as a WebP in a data URL."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    picture = Image.frombytes("RGBA", canvas.get_width_height(), bytes(canvas.buffer_rgba())).convert("RGB")
    return _encode(picture, "webp", quality=_WEBP_QUALITY, method=4)


def _encode(picture: Image.Image, kind: str, **options: object) -> str:
    stream = BytesIO()
    picture.save(stream, kind, **options)
    return image_url(stream.getvalue(), kind)
