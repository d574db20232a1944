"""How the pictures of a study's page look: colours of the systems, plain axes, and pictures as data URLs."""

from __future__ import annotations

import base64
from io import BytesIO

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

LineStyle = str | tuple[float, tuple[float, ...]]
INK, QUIET, FAINT = "#26323d", "#66737f", "#d8dee4"
PAGE_IN = 11.2  # width of a picture that fills the page; a point of type is then as large as beside it
# Far apart in hue or lightness on white; the first is for the system that a study lists first. Pairs that are alike to
# the colour-blind (blue and violet, orange and olive, green and brown) are of different `_LINES`.
SYSTEM_COLOURS = (
    "#b0182b", "#1f6fb4", "#e08a1e", "#2f8f4e", "#7a4fb0", "#12a5b8", "#c25b9c", "#7d6a52", "#5f6b78", "#a3a11a",
    "#0b3d63", "#e2574c",
)  # fmt: skip
_LINES = ("solid", "dashed", "dashdot", (0, (9, 1.5)))  # four systems each
_ORACLE_LINE = "dotted"
COLUMNS = 5  # panels beside each other; more would be too small to see an outline's place
TITLE_IN = 0.42  # two lines above each panel
_WEBP_QUALITY = 86  # ours: grey tissue without visible blocks, and lines stay sharp


def system_colour(place: int) -> str:
    """The colour of the system at a place of the study's order, the same in every picture."""
    return SYSTEM_COLOURS[place % len(SYSTEM_COLOURS)]


def line_style(place: int, is_oracle: bool) -> LineStyle:
    """The line of the system at a place; dotted for those that the truth told something."""
    return _ORACLE_LINE if is_oracle else _LINES[place // 4 % len(_LINES)]


def shortened(name: str, length: int = 34) -> str:
    """A system's name, cut where it would run into its neighbour."""
    return name if len(name) <= length else f"{name[: length - 1].rstrip()}…"


def plain(axes: Axes, grid: str = "both") -> None:
    """Axes without a frame, over a faint grid."""
    axes.grid(axis=grid, color=FAINT, linewidth=0.6)  # type: ignore[arg-type]
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(FAINT)
    axes.tick_params(colors=INK, labelsize=8, length=0)


def panel_grid(rows: int, columns: int, tall: float) -> tuple[Figure, list[Axes]]:
    """A figure of panels with room for a title above each; never more than `COLUMNS` beside each other.

    Args:
        tall: Height of a panel over its width.
    Returns:
        The figure, and its panels row by row.
    """
    width_in = PAGE_IN / COLUMNS
    height_in = rows * (width_in * tall + TITLE_IN)
    figure = Figure(figsize=(columns * width_in, height_in), dpi=150, facecolor="white")
    figure.subplots_adjust(0.002, 0.002, 0.998, 1 - TITLE_IN / height_in, 0.02, TITLE_IN / (width_in * tall))
    panels = list(figure.subplots(rows, columns, squeeze=False).ravel())
    for axes in panels:
        axes.set_axis_off()
    return figure, panels


def title_panel(axes: Axes, name: str, note: str) -> None:
    """Write a name and, smaller, a note above a panel of `PAGE_IN / COLUMNS`."""
    for text, above_pt, size, colour in ((shortened(name), 14, 9, INK), (note, 4, 7.5, QUIET)):
        axes.annotate(text, (0, 1), (1, above_pt), xycoords="axes fraction", textcoords="offset points",
                      fontsize=size, color=colour, parse_math=False)  # fmt: skip


def chart_url(figure: Figure) -> str:
    """A chart as a PNG in a data URL; its texts are taken as they are, a dollar begins no formula."""
    stream = BytesIO()
    FigureCanvasAgg(figure).print_png(stream)
    picture = Image.open(stream).convert("RGB").quantize(128, dither=Image.Dither.NONE)  # few colours: a third as large
    return _data_url(picture, "png", optimize=True)


def photo_url(figure: Figure) -> str:
    """A picture with grey tissue or shaded surfaces as a WebP in a data URL."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    picture = Image.frombytes("RGBA", canvas.get_width_height(), bytes(canvas.buffer_rgba())).convert("RGB")
    return _data_url(picture, "webp", quality=_WEBP_QUALITY, method=4)


def _data_url(picture: Image.Image, kind: str, **options: object) -> str:
    stream = BytesIO()
    picture.save(stream, kind, **options)
    return f"data:image/{kind};base64,{base64.b64encode(stream.getvalue()).decode('ascii')}"
