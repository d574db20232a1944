"""The boxes of a preview: what prompted each organ, dashed, and what a person gave, with marked corners."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.patheffects import Normal, Stroke

from sautomed.inference.prompts.document import PromptsDocument
from sautomed.scans.palette import colour_of, display_name

GREY = "#7d8a96"
CORNER_PT = 4.5
DASHED = (0, (4, 3))


@dataclass(frozen=True)
class Mark:
    """A box of an organ on a slice.

    Attributes:
        value: Of the organ in the label map.
        box: x0 y0 x1 y1 in native pixels, half-open.
        is_given: Whether a person gave it, or the mask that it is around.
    """

    value: int
    box: tuple[float, float, float, float]
    is_given: bool


@dataclass(frozen=True)
class SliceMarks:
    """What is drawn on a slice.

    Attributes:
        absent: Organs of which a person said that they are not there.
        is_locked: Whether the slice stays as it is.
    """

    marks: tuple[Mark, ...] = ()
    absent: tuple[str, ...] = ()
    is_locked: bool = False

    @property
    def is_given(self) -> bool:
        """Whether a person gave anything for the slice, or locked it."""
        return bool(self.absent) or self.is_locked or any(mark.is_given for mark in self.marks)


def marks_of(document: PromptsDocument) -> dict[int, SliceMarks]:
    """Return what is drawn on each slice that has anything to draw, by index."""
    locked = {item.index for item in document.locked}
    found = {}
    for part in document.slices:
        marks = [
            Mark(document.organs[organ], prompt.box, prompt.given is not None)
            for organ, prompt in part.organs.items()
            if prompt.box is not None
        ]
        gone = [organ for organ, prompt in part.organs.items() if prompt.given is not None and prompt.box is None]
        if marks or gone or part.index in locked:
            found[part.index] = SliceMarks(tuple(marks), tuple(gone), part.index in locked)
    return found


def draw_marks(axes: Axes, found: SliceMarks, origin: tuple[int, int]) -> None:
    """Draw the boxes of a slice, and what cannot be drawn as words.

    Args:
        origin: Row and column of the first pixel that the axes show.
    """
    for mark in found.marks:
        # A pixel's index is at its middle, a corner of a box at the edge of a pixel.
        x0, y0 = mark.box[0] - 0.5 - origin[1], mark.box[1] - 0.5 - origin[0]
        x1, y1 = mark.box[2] - 0.5 - origin[1], mark.box[3] - 0.5 - origin[0]
        colour, width = colour_of(mark.value), 1.4 if mark.is_given else 0.8
        box = Rectangle(
            (x0, y0), x1 - x0, y1 - y0, fill=False, edgecolor=colour, linewidth=width, linestyle=(0, (4, 3))
        )
        axes.add_patch(box)
        if mark.is_given:
            axes.plot([x0, x1, x1, x0], [y0, y0, y1, y1], "s", color=colour, markeredgecolor="white",
                      markeredgewidth=0.6, markersize=CORNER_PT, scalex=False, scaley=False)  # fmt: skip
    words = [f"not here: {display_name(organ)}" for organ in found.absent] + ["locked"] * found.is_locked
    if words:
        rim = [Stroke(linewidth=2, foreground="black"), Normal()]
        axes.text(0.015, 0.015, "\n".join(words), ha="left", va="bottom", color="white", fontsize=7,
                  transform=axes.transAxes, path_effects=rim, parse_math=False)  # fmt: skip


def legend_of_marks(shown: Sequence[SliceMarks]) -> list[Line2D]:
    """Return legend entries for what the shown slices have."""
    kinds = {mark.is_given for found in shown for mark in found.marks}
    entries = []
    if False in kinds:
        label = "box that prompted an organ"
        entries.append(Line2D([], [], color=GREY, linestyle=DASHED, linewidth=0.8, label=label))
    if True in kinds:
        entries.append(Line2D([], [], color=GREY, linestyle=DASHED, linewidth=1.4, marker="s",
                              markeredgecolor="white", label="given by a person"))  # fmt: skip
    return entries
