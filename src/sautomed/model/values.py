"""Values that pass between a model and the loops that drive it: features, states, outputs, inputs.

In shapes, k is the number of classes and k1 = k + 1 that of classes and background.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from enum import IntEnum
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Features:
    """Features f of n slices: the trunk's map, and finer maps (finest last) if the trunk has them."""

    coarse: Float[Tensor, "n c h w"]
    fine: tuple[Float[Tensor, "n _ _ _"], ...] = ()

    def split(self, rows: int) -> list["Features"]:
        """Split into parts of so many slices each."""
        maps = (self.coarse, *self.fine)
        return [Features(coarse, tuple(fine)) for coarse, *fine in zip(*(m.split(rows) for m in maps), strict=True)]

    def row(self, index: int) -> "Features":
        """Copy one slice, so that it does not hold the memory of the others."""
        rows = slice(index, index + 1)
        return Features(self.coarse[rows].clone(), tuple(m[rows].clone() for m in self.fine))

    @staticmethod
    def of(maps: "Tensor | Features") -> "Features":
        """Return the features of a trunk that gives one map, or features already."""
        return maps if isinstance(maps, Features) else Features(maps)

    @property
    def nbytes(self) -> int:
        """Memory of all maps."""
        return sum(m.nbytes for m in (self.coarse, *self.fine))

    @staticmethod
    def cat(parts: Sequence["Features"]) -> "Features":
        """Join the slices of several features."""
        return Features(
            torch.cat([p.coarse for p in parts]),
            tuple(torch.cat(maps) for maps in zip(*(p.fine for p in parts), strict=True)),
        )


@dataclass(frozen=True)
class SharedFeatures:
    """Features after the slice attention: z for the decoder, f for a generator that reads it."""

    z: Float[Tensor, "n c h w"]
    f: Float[Tensor, "n c h w"]
    fine: tuple[Float[Tensor, "n _ _ _"], ...] = ()

    def split(self, rows: int) -> list["SharedFeatures"]:
        """Split into parts of so many slices each."""
        maps = (self.z, self.f, *self.fine)
        return [SharedFeatures(z, f, tuple(rest)) for z, f, *rest in zip(*(m.split(rows) for m in maps), strict=True)]


class Seen(IntEnum):
    """State of a class on the previous slice; the values index embeddings.

    "Unknown" and "absent" are two things: before the first slice an organ may well be there.
    """

    UNKNOWN = 0  # there is no previous slice (t = 0 of Eq. 4)
    ABSENT = 1
    PRESENT = 2

    @staticmethod
    def of(present: Bool[Tensor, "*n"]) -> Int[Tensor, "*n"]:
        """Return PRESENT or ABSENT for classes of a slice that was seen."""
        return torch.where(present, int(Seen.PRESENT), int(Seen.ABSENT))


@dataclass(frozen=True)
class SliceState:
    """Memory of earlier slices: plain tensors, one row per walker. Edit it with `dataclasses.replace`.

    Attributes:
        history: History tokens (Eq. 3).
        boxes: Box of each class on the previous slice, xyxy in [0, 1]; zeros where it is not present (Eq. 4).
        seen: Whether class k was on the previous slice, a `Seen`; all UNKNOWN before the first.
        masks: Probability of each class on the previous slice; one pixel of zeros where there is none, or no need.
        carried: What a person's prompts changed of it, from -1 (all removed) to 1 (all added); zeros where nothing.
    """

    history: Float[Tensor, "b tokens c"]
    boxes: Float[Tensor, "b k 4"]
    seen: Int[Tensor, "b k"]
    masks: Float[Tensor, "b k h w"]
    carried: Float[Tensor, "b k h2 w2"]

    @staticmethod
    def unknown(history: Float[Tensor, "b tokens c"], classes: int) -> "SliceState":
        """Return a state before the first slice: no boxes, and nothing is known of any class."""
        boxes = torch.zeros(len(history), classes, 4, device=history.device)
        seen = torch.full_like(boxes[..., 0], int(Seen.UNKNOWN), dtype=torch.long)
        nothing = boxes.new_zeros(len(history), classes, 1, 1)
        return SliceState(history, boxes, seen, nothing, nothing)

    @property
    def present(self) -> Bool[Tensor, "b k"]:
        """Which classes were on the previous slice, and so have a box."""
        return self.seen == Seen.PRESENT

    def take(self, rows: Sequence[int]) -> "SliceState":
        """Select rows; a row may be taken several times."""
        index = torch.as_tensor(rows, device=self.boxes.device)
        return replace(self, **{f.name: getattr(self, f.name)[index] for f in fields(self)})

    def differs(self, other: "SliceState", tolerance: float = 0.0) -> bool:
        """Whether what was seen differs, or any number by more than `tolerance`."""
        pairs = [(getattr(self, f.name), getattr(other, f.name)) for f in fields(self) if f.name != "seen"]
        return not torch.equal(self.seen, other.seen) or any(
            not torch.equal(a, b) if tolerance == 0 else bool(((a - b).abs() > tolerance).any()) for a, b in pairs
        )

    @staticmethod
    def cat(parts: Sequence["SliceState"]) -> "SliceState":
        """Join the rows of several states; maps of one pixel grow to the size of the others."""
        grown = {name: _of_one_size([getattr(p, name) for p in parts]) for name in ("masks", "carried")}
        rest = {f.name: [getattr(p, f.name) for p in parts] for f in fields(SliceState) if f.name not in grown}
        return SliceState(**{name: torch.cat(rows) for name, rows in (rest | grown).items()})


def _of_one_size(maps: Sequence[Float[Tensor, "_ k _ _"]]) -> list[Float[Tensor, "_ k h w"]]:
    size = max(m.shape[-2:] for m in maps)
    return [m.expand(*m.shape[:2], *size) for m in maps]


@dataclass(frozen=True)
class StepOutput:
    """Output of one step of the walk.

    Attributes:
        logits: Before softmax; channel 0 is the background.
        state: For the next slice.
        boxes: The generator's boxes after each of its layers, xyxy in [0, 1]; none without a generator.
        presence: Logit of "class k is in this slice"; none without a generator.
        ungated: Logits before given prompts were enforced, for the loss; none where nothing was given.
        image_alone: Logits before a prompt head changed them, for the loss; none where none did.
        pixels: The decoder's finest features, at the logits' resolution; none without such a decoder.
    """

    logits: Float[Tensor, "b k1 h w"]
    state: SliceState
    boxes: Float[Tensor, "layers b k1-1 4"] | None = None
    presence: Float[Tensor, "b k1-1"] | None = None
    ungated: Float[Tensor, "b k1 h w"] | None = None
    image_alone: Float[Tensor, "b k1 h w"] | None = None
    pixels: Float[Tensor, "b c h w"] | None = None


@dataclass(frozen=True)
class PredictedSlice:
    """Prediction for one slice at the network's resolution.

    Attributes:
        index: Of the slice in the oriented volume.
        logits: Or any other score whose largest channel is the class; channel 0 is the background.
        boxes: Box of each class that prompted this slice, xyxy in [0, 1] of the network's square; None without prompts.
        present: Which of these boxes exist.
        changed: Whether the classes differ from those of an earlier visit; True on the first.
        presence: Logit of "class k is in this slice"; None without prompts, or where they come from the truth.
        predicted_boxes: Box of each class that the model itself predicts for this slice, as `boxes`, whether or not the
            class is there; None of a model that predicts none.
    """

    index: int
    logits: Float[Tensor, "k1 h w"]
    boxes: Float[Tensor, "k1-1 4"] | None = None
    present: Bool[Tensor, " k1-1"] | None = None
    changed: bool = True
    presence: Float[Tensor, " k1-1"] | None = None
    predicted_boxes: Float[Tensor, "k1-1 4"] | None = None


@runtime_checkable
class SliceReader(Protocol):
    """A volume as a network sees it: square slices in [0, 1] on the network's device, read on request."""

    depth: int

    def images(self, rows: Sequence[int]) -> Float[Tensor, "n 3 s s"]:
        """Read the slices of these indices, with the channels that the settings give them."""

    def truth(self, rows: Sequence[int]) -> Int[Tensor, "n s s"]:
        """Read their true classes, for systems that are prompted from them.

        Raises:
            PromptsNeeded: The volume has no label map.
        """


@runtime_checkable
class Examples(Protocol):
    """A batch of training examples: consecutive slices in walk order, the last being the target."""

    @property
    def images(self) -> Float[Tensor, "b m 3 h w"]:
        """Slices with one neighbour more at each end, m = n + 2, or without, m = n."""

    @property
    def labels(self) -> Int[Tensor, "b n h w"]:
        """Classes of the inner slices."""

    @property
    def before(self) -> Int[Tensor, "b h w"]:
        """Classes of the slice before the first of these."""

    @property
    def upward(self) -> Bool[Tensor, " b"]:
        """Whether the slices go towards higher indices."""
