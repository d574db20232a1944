"""Draw docs/method.svg, the method of this package after Fig. 1 of the paper: python docs/make_method_figure.py

Slices and organs are those of a phantom. Lengths are hundredths of an inch; the README shows 80 pixels for an inch.
"""

import argparse
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Polygon, Rectangle

from sautomed.phantom import make_phantom
from sautomed.scans.palette import colour_of

FIGURE = Path(__file__).with_name("method.svg")
WIDTH, HEIGHT = 1000, 600
BODY, SMALL, TITLE = 9.5, 8.8, 10.8  # points; 8.8 is ten pixels in the README
INK = "#1f2937"
PAPER, VOLUME, ENCODE, SHARE, STEP = "#ffffff", "#f3f4f6", "#e6f0fb", "#fdf3d8", "#e6f5ea"
ENCODE_INK, SHARE_INK, STEP_INK, PROMPT_INK = "#1d5fa8", "#8a5a00", "#1b7a3d", "#6a4bb5"
YELLOW, RED, Z_COLOUR, HISTORY, BACKGROUND = "#f2b705", "#d9483b", "#e08a2e", "#7a5bc7", "#d1d5db"
MARGIN = (16, 22)  # pixels around the organs: rows, columns
T = 5  # of the nine slices, the one after the middle
ROWS = (520, 448, 376)  # middles of slices t+1, t and t-1
ORGANS = (1, 2, 3, 6, 8)  # spleen, kidneys, liver and aorta of the phantom
Point = tuple[float, float]


def draw() -> Figure:
    """Return the whole figure."""
    images, labels = phantom_slices()
    figure = Figure(figsize=(WIDTH / 100, HEIGHT / 100), facecolor=PAPER)
    ax = figure.add_axes((0, 0, 1, 1))
    ax.axis("off")
    draw_volume(ax, images)
    draw_encoder(ax, images)
    draw_slice_attention(ax)
    draw_step(ax, images, labels)
    ax.set(xlim=(0, WIDTH), ylim=(0, HEIGHT), aspect="equal")
    return figure


def phantom_slices() -> tuple[np.ndarray, np.ndarray]:
    """Return nine axial slices of a phantom and their labels, both (9 h w), front of the body at the top.

    The slices are windowed to [0, 1].
    """
    case = make_phantom("abdomen-ct", 0, 16)
    image, labels = (np.transpose(array, (2, 1, 0)) for array in (case.image, case.labels))
    if case.affine[1, 1] > 0:  # rows run from back to front
        image, labels = image[:, ::-1], labels[:, ::-1]
    chosen = np.linspace(0.08, 0.5, 9) * (len(image) - 1)
    image, labels = (array[chosen.round().astype(int)] for array in (image, labels))
    organs = np.argwhere(labels.any(0))
    rows, columns = (slice(organs[:, i].min() - m, organs[:, i].max() + m + 1) for i, m in enumerate(MARGIN))
    return np.clip((image[:, rows, columns].astype(float) + 160) / 400, 0, 1), labels[:, rows, columns]


# ------------------------------------------------------------------------------------------------------------- panels


def draw_volume(ax: Axes, images: np.ndarray) -> None:
    """Draw the stack of slices with the middle one marked, and the two walks."""
    panel(ax, (10, 12), (150, 576), VOLUME, "One volume", INK)
    for i, image in enumerate(images):
        y = 130 + 45 * i
        corners = np.array([[22, y], [104, y], [132, y + 46], [50, y + 46]])
        sheared_picture(ax, image, corners, 2 + i)
        edge, width = (RED, 2.4) if i == len(images) // 2 else ("#9ca3af", 0.8)
        ax.add_patch(Polygon(corners, fill=False, edgecolor=edge, linewidth=width, zorder=2 + i))
    arrow(ax, [(146, 342), (146, 530)], RED, 1.8)
    arrow(ax, [(146, 324), (146, 136)], RED, 1.8)
    text(ax, (85, 74), "is walked from the\nmiddle slice to both\nends, by two walkers\nside by side", SMALL)


def draw_encoder(ax: Axes, images: np.ndarray) -> None:
    """Draw three slices on their way through SAM's image encoder."""
    panel(ax, (172, 330), (322, 258), ENCODE, "Encoder: each slice once", ENCODE_INK)
    for name, image, y in zip(("$t{+}1$", "$t$", "$t{-}1$"), images[[T + 1, T, T - 1]], ROWS, strict=True):
        text(ax, (194, y), name, 11)
        picture(ax, image, (216, y - 30), (82, 60))
        arrow(ax, [(299, y), (317, y)])
        arrow(ax, [(411, y), (429, y)])
        feature_map(ax, (432, y - 22), "#a9c8ea")
    block(ax, (318, 346), (92, 204), "", ENCODE_INK)
    text(ax, (364, 484), "SAM's\nimage\nencoder,\nfrozen", BODY)
    block(ax, (330, 372), (68, 34), "+ LoRA", ENCODE_INK, "#bcd5ef")
    text(ax, (454, 341), "$f$", 13)


def draw_slice_attention(ax: Axes) -> None:
    """Draw attention to the same place in three slices, then to all places of one slice."""
    panel(ax, (504, 330), (486, 258), SHARE, "Slice attention: local 3D, Eq. 1-2", SHARE_INK)
    cell, middle = 15, ROWS[1] - 5.5
    for y in ROWS:
        arrow(ax, [(479, y), (529, y)])
        feature_map(ax, (532, y - 22), "#ecdca8", marked={(2, 1): YELLOW})
    arrow(ax, [(559.5, ROWS[0] - 12), (559.5, middle + 8)], SHARE_INK, 1.8)
    arrow(ax, [(559.5, ROWS[2] + 2), (559.5, middle - 8)], SHARE_INK, 1.8)
    text(ax, (588, 520), "Inter-SA:\nthe same place\nin three slices", SMALL, ha="left")
    arrow(ax, [(579, 448), (653, 448)])
    feature_map(ax, (656, 418), "#f3b4ad", cell, {(2, 1): RED})
    for x, y in ((663.5, 425.5), (663.5, 470.5), (708.5, 470.5)):
        arrow(ax, [(x, y), (693.5 + np.sign(x - 693.5) * 5, 440.5 + np.sign(y - 440.5) * 5)], "#8f1d14", 1.1)
    text(ax, (686, 388), "Intra-SA:\nall places of slice $t$", SMALL)
    arrow(ax, [(719, 448), (763, 448)])
    block(ax, (765, 422), (60, 52), "MLP", SHARE_INK)
    arrow(ax, [(827, 448), (883, 448)])
    feature_map(ax, (886, 418), Z_COLOUR, cell)
    text(ax, (962, 448), "$z$", 14)


def draw_step(ax: Axes, images: np.ndarray, labels: np.ndarray) -> None:
    """Draw box prompts, history and mask decoder, and the state that goes on to the next slice."""
    panel(ax, (172, 12), (818, 306), STEP, "", STEP_INK)
    text(ax, (186, 302), "One step of the walk: global 3D, Eq. 3-5", TITLE, STEP_INK, ha="left", weight="bold")
    state(ax, 184, "State after $t{-}1$", images[T - 1], labels[T - 1])
    draw_tokens(ax)
    draw_decoder(ax)
    picture(ax, images[T], (752, 180), (92, 60), labels[T])
    text(ax, (798, 168), "label map of $t$", SMALL)
    state(ax, 872, "State after $t$", images[T], labels[T])
    arrow(ax, [(846, 210), (870, 210)])
    arrow(ax, [(927, 57), (927, 34), (239, 34), (239, 57)], STEP_INK, 2)
    text(ax, (583, 34), "the state goes on to the next slice", BODY, STEP_INK, weight="bold", backgroundcolor=STEP)
    arrow(ax, [(916, 416), (916, 282), (650, 282), (650, 263)], SHARE_INK, 1.6)
    arrow(ax, [(650, 282), (440, 282), (440, 263)], SHARE_INK, 1.6)


def state(ax: Axes, x: float, title: str, image: np.ndarray, labels: np.ndarray) -> None:
    """Draw the state that one slice passes to the next: a box per organ, and the history tokens."""
    block(ax, (x, 58), (110, 204), "", STEP_INK)
    text(ax, (x + 55, 250), title, SMALL, weight="bold")
    picture(ax, image, (x + 9, 180), (92, 60), labels, boxes=True)
    text(ax, (x + 55, 166), "a box per organ", SMALL)
    text(ax, (x + 55, 114), "history tokens", SMALL)
    tokens(ax, (x + 14, 82), [HISTORY] * 5)


def draw_tokens(ax: Axes) -> None:
    """Draw what the decoder gets beside the image: prompts, output tokens and history tokens."""
    block(ax, (342, 146), (196, 116), "", PROMPT_INK)
    text(ax, (440, 249), "Box Prompt Generator", BODY, weight="bold")
    query = "anchor query: the box of $t{-}1$,\nor a learned default (Eq. 4),\n+ semantic token per organ,"
    text(ax, (440, 194), f"{query}\ncross-attention to $z$ (Eq. 5)", SMALL)
    arrow(ax, [(296, 210), (340, 210)])
    arrow(ax, [(540, 210), (584, 210)])
    text(ax, (388, 123), "output tokens", SMALL)
    tokens(ax, (438, 114), [colour_of(k) for k in ORGANS] + [BACKGROUND])
    arrow(ax, [(540, 123), (584, 123)])
    arrow(ax, [(296, 91), (584, 91)])


def draw_decoder(ax: Axes) -> None:
    """Draw the mask decoder with its heads, and the information filter."""
    block(ax, (586, 58), (128, 204), "", STEP_INK)
    text(ax, (650, 249), "Mask decoder", BODY, weight="bold")
    block(ax, (597, 176), (106, 58), "two-way\ntransformer", STEP_INK, "#cfe9d6")
    text(ax, (650, 146), "one head per organ\nand background", SMALL)
    tokens(ax, (600, 108), [colour_of(k) for k in ORGANS] + [BACKGROUND])
    arrow(ax, [(716, 210), (750, 210)])
    arrow(ax, [(716, 91), (750, 91)])
    block(ax, (752, 64), (92, 54), "information\nfilter", HISTORY)
    arrow(ax, [(846, 91), (870, 91)])


# ------------------------------------------------------------------------------------------------------------- shapes


def panel(ax: Axes, corner: Point, size: Point, colour: str, title: str, ink: str) -> None:
    """Draw a coloured area with a title."""
    shape = FancyBboxPatch(corner, *size, boxstyle="round,pad=0,rounding_size=10", facecolor=colour, edgecolor="none")
    ax.add_patch(shape)
    text(ax, (corner[0] + size[0] / 2, corner[1] + size[1] - 16), title, TITLE, ink, weight="bold")


def block(ax: Axes, corner: Point, size: Point, words: str, ink: str, fill: str = PAPER) -> None:
    """Draw a box of the diagram."""
    style = "round,pad=0,rounding_size=6"
    ax.add_patch(FancyBboxPatch(corner, *size, boxstyle=style, facecolor=fill, edgecolor=ink, linewidth=1.2, zorder=4))
    text(ax, (corner[0] + size[0] / 2, corner[1] + size[1] / 2), words, BODY)


def text(ax: Axes, place: Point, words: str, size: float, colour: str = INK, **style: str) -> None:
    """Write words around a place."""
    ax.text(*place, words, fontsize=size, color=colour, zorder=20, **{"ha": "center", "va": "center", **style})


def arrow(ax: Axes, points: Sequence[Point], colour: str = INK, width: float = 1.4) -> None:
    """Draw a line through points, with a head at the last."""
    for (x0, y0), (x1, y1) in pairwise(points[:-1]):
        ax.plot([x0, x1], [y0, y1], color=colour, linewidth=width, solid_capstyle="round", zorder=14)
    head = "-|>,head_length=5,head_width=2.8"
    style = {"arrowstyle": head, "linewidth": width, "color": colour, "shrinkA": 0, "shrinkB": 0}
    ax.add_patch(FancyArrowPatch(points[-2], points[-1], zorder=15, **style))


def tokens(ax: Axes, corner: Point, colours: Sequence[str]) -> None:
    """Draw a row of tokens."""
    for i, colour in enumerate(colours):
        place = (corner[0] + 17 * i, corner[1])
        ax.add_patch(Rectangle(place, 13, 18, facecolor=colour, edgecolor=INK, linewidth=0.7, zorder=6))


def feature_map(
    ax: Axes, corner: Point, fill: str, cell: float = 11, marked: Mapping[tuple[int, int], str] | None = None
) -> None:
    """Draw a map of four by four places; `marked` colours some by (column, row)."""
    for column, row in np.ndindex(4, 4):
        colour = (marked or {}).get((column, row), fill)
        place = (corner[0] + column * cell, corner[1] + row * cell)
        ax.add_patch(Rectangle(place, cell, cell, facecolor=colour, edgecolor=PAPER, linewidth=0.9, zorder=6))


def picture(
    ax: Axes, image: np.ndarray, corner: Point, size: Point, labels: np.ndarray | None = None, boxes: bool = False
) -> None:
    """Draw a slice, with its organs filled or the boxes around them."""
    (x, y), (w, h) = corner, size
    coloured = np.repeat(image[..., None], 3, 2)
    ax.add_patch(Rectangle(corner, w, h, fill=False, edgecolor="#4b5563", linewidth=0.8, zorder=7))
    for k in ORGANS if labels is not None else ():
        mask = labels == k
        if not mask.any():
            continue
        colour = np.array(mpl.colors.to_rgb(colour_of(k)))
        if not boxes:
            coloured[mask] = 0.25 * coloured[mask] + 0.75 * colour
            continue
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        left, right = (x + w * edge / mask.shape[1] for edge in (columns[0], columns[-1] + 1))
        top, bottom = (y + h * (1 - edge / mask.shape[0]) for edge in (rows[0], rows[-1] + 1))
        box = Rectangle((left, bottom), right - left, top - bottom, fill=False, edgecolor=colour, linewidth=1.5)
        ax.add_patch(box).set_zorder(8)
    ax.imshow(coloured, extent=(x, x + w, y, y + h), interpolation="bilinear", aspect="auto", zorder=5)


def sheared_picture(ax: Axes, image: np.ndarray, corners: np.ndarray, zorder: float) -> None:
    """Draw a slice into a parallelogram, given from its lower left corner counter-clockwise."""
    down, right = (np.linspace(0, 1, n + 1) for n in image.shape)
    across, up = corners[1] - corners[0], corners[3] - corners[0]
    places = corners[0] + right[None, :, None] * across + (1 - down)[:, None, None] * up
    ax.pcolormesh(places[..., 0], places[..., 1], image, cmap="gray", rasterized=True, zorder=zorder)


def save(path: Path) -> Path:
    """Draw the figure into a file, the same bytes every time; return its path."""
    with mpl.rc_context({"svg.hashsalt": "sautomed", "svg.fonttype": "path"}):
        draw().savefig(path, dpi=150, metadata={"Date": None} if path.suffix == ".svg" else None)
    return path


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, default=FIGURE, help="another name ending in .svg or .png")
    save(parser.parse_args().output)
