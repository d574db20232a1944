"""Parts of `walk_state.py`: a case that was walked, prompts that contradict its image, and states that were changed."""

from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from typing import NamedTuple

import torch
import torch.nn.functional as nnf
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sautomed.model.boxes import boxes_of_labels
from sautomed.model.given import GivenPrompts
from sautomed.model.sautomed import SAutoMed
from sautomed.model.values import Seen, SharedFeatures, SliceReader, SliceState
from sautomed.model.walk import Walk
from sautomed.model.walk_order import mid_to_ends, neighbours

ChangeState = Callable[[int, SliceState], SliceState]  # of the state before a slice, given the slice's index

FEATURE_BYTES = 2**30  # of features that are kept, so that no slice is encoded twice


class WalkedCase:
    """A case that was walked from its middle to both ends without given prompts.

    Attributes:
        truth: Classes of every slice (d h w).
        boxes: True box of each class on each slice, xyxy in [0, 1] (d k 4); zeros where it is not present.
        present: Which of them exist (d k).
        unprompted: Classes that the walk predicted (d h w).
        states: The state before each slice, of one row.
    """

    def __init__(self, network: SAutoMed, view: SliceReader, chunk: int):
        self.network, self.depth, self.middle = network, view.depth, view.depth // 2
        self.truth = view.truth(range(self.depth))
        self.boxes, self.present = boxes_of_labels(self.truth, network.classes)
        walk = Walk(network, view, mid_to_ends(self.depth), chunk, FEATURE_BYTES)
        predicted = {part.index: self._classes(part.logits[None])[0] for part in walk}
        self.unprompted = torch.stack([predicted[t] for t in range(self.depth)])
        self.states = [walk.state(t) for t in range(self.depth)]
        self._shared = [self._share(walk, t) for t in range(self.depth)]

    @torch.inference_mode()
    def predict(
        self, t: int, state: SliceState, given: GivenPrompts | None = None
    ) -> tuple[Int[Tensor, "b h w"], SliceState]:
        """Return the classes of slice t for each row of a state, and the states after it."""
        rows, shared = len(state.boxes), self._shared[t]
        z, f, *fine = (m.expand(rows, -1, -1, -1) for m in (shared.z, shared.f, *shared.fine))
        out = self.network.step(SharedFeatures(z, f, tuple(fine)), state, given)
        return self._classes(out.logits), out.state

    def prompted(self, t: int, given: Sequence[GivenPrompts]) -> tuple[Int[Tensor, "b h w"], SliceState]:
        """Return the classes of slice t after the unprompted walk for each of several prompts, and the states."""
        return self.predict(t, self.states[t].take([0] * len(given)), GivenPrompts.cat(given))

    def nothing_given(self) -> GivenPrompts:
        """Return prompts to fill in, one row."""
        h, w = self.truth.shape[-2:]
        return GivenPrompts.nothing(self.network.classes, (h, w), self.truth.device)

    def following(self, t: int) -> range:
        """List the slices that the walk visits after slice t; upward from the middle."""
        return range(t + 1, self.depth) if t >= self.middle else range(t - 1, -1, -1)

    @torch.inference_mode()
    def walked_with(self, change: ChangeState) -> Int[Tensor, "d h w"]:
        """Return the classes of another walk, with a change of the state before every slice."""
        classes = torch.empty_like(self.truth)
        middle, start = self.middle, self.network.start(1)
        classes[[middle]], after_middle = self.predict(middle, change(middle, start))
        for way in (range(middle + 1, self.depth), range(middle - 1, -1, -1)):
            state = after_middle
            for t in way:
                classes[[t]], state = self.predict(t, change(t, state))
        return classes

    def _classes(self, logits: Float[Tensor, "b k1 _ _"]) -> Int[Tensor, "b h w"]:
        return nnf.interpolate(logits.float(), self.truth.shape[-2:], mode="bilinear").argmax(1)

    @torch.inference_mode()
    def _share(self, walk: Walk, t: int) -> SharedFeatures:
        before, here, after = (walk.features.of([n]) for n in neighbours(t, self.depth))
        return self.network.share(before, here, after)


class Half(NamedTuple):
    """Half of a box, and all of the slice that lies beyond the cut."""

    box: Float[Tensor, " 4"]
    beyond: Bool[Tensor, "h w"]


def halves(box: Float[Tensor, " 4"], size: tuple[int, int]) -> list[Half]:
    """Return the left, right, upper and lower half of a box; it is cut between two pixels of a slice of this size."""
    h, w = size
    result = []
    for axis, n in enumerate((w, h)):
        cut = torch.round((box[axis] + box[axis + 2]) / 2 * n).item()
        after_cut = (
            (torch.arange(n, device=box.device) >= cut).expand(h, w)
            if axis == 0
            else (torch.arange(n, device=box.device)[:, None] >= cut).expand(h, w)
        )
        for edge, beyond in ((axis + 2, after_cut), (axis, ~after_cut)):
            half = box.clone()
            half[edge] = cut / n
            result.append(Half(half, beyond))
    return result


def inside(box: Float[Tensor, " 4"], size: tuple[int, int]) -> Bool[Tensor, "h w"]:
    """Return which pixels of a slice of this size have their centre in a box."""
    y, x = ((torch.arange(n, device=box.device) + 0.5) / n for n in size)
    return ((y > box[1]) & (y < box[3]))[:, None] & ((x > box[0]) & (x < box[2]))


def mirrored(boxes: Float[Tensor, "*n 4"]) -> Float[Tensor, "*n 4"]:
    """Return boxes xyxy in [0, 1], mirrored left to right in the slice."""
    x0, y0, x1, y1 = boxes.unbind(-1)
    return torch.stack([1 - x1, y0, 1 - x0, y1], -1)


def permuted(boxes: Float[Tensor, "k 4"], present: Bool[Tensor, " k"]) -> Float[Tensor, "k 4"]:
    """Return the boxes of one slice, in which each class that is present has the box of the next one that is."""
    classes = present.nonzero()[:, 0]
    result = boxes.clone()
    result[classes] = boxes[classes.roll(-1)]
    return result


def with_mirrored_boxes(state: SliceState) -> SliceState:
    """Mirror the previous boxes."""
    return replace(state, boxes=mirrored(state.boxes) * state.present[..., None])


def with_permuted_boxes(state: SliceState) -> SliceState:
    """Give each class the previous box, or the absence, of another one."""
    return replace(state, boxes=state.boxes.roll(1, 1), seen=state.seen.roll(1, 1))


def without_boxes(state: SliceState) -> SliceState:
    """Let every class be absent on the previous slice."""
    return replace(state, boxes=torch.zeros_like(state.boxes), seen=torch.full_like(state.seen, int(Seen.ABSENT)))


def mirrored_state(state: SliceState) -> SliceState:
    """Mirror all that has a place: the previous boxes, and maps if the state has any."""
    tensors = {f.name: getattr(state, f.name) for f in fields(state)}
    maps = {name: x.flip(-1) for name, x in tensors.items() if x.ndim >= 4}  # (b k ... h w)
    return replace(with_mirrored_boxes(state), **maps)


def permuted_state(state: SliceState) -> SliceState:
    """Give each class what the state holds of another one; history tokens are of no class."""
    tensors = {f.name: getattr(state, f.name) for f in fields(state) if f.name != "history"}
    classes = state.boxes.shape[1]
    return replace(state, **{name: x.roll(1, 1) for name, x in tensors.items() if x.shape[1] == classes})
