"""Parts of `walk_state.py`: a case that was walked, prompts that contradict its image, and changes of its state."""

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

FEATURE_BYTES = 2**30  # of features that are kept, so that no slice is encoded twice


class WalkedCase:
    """A case that was walked from its middle to both ends, with nothing given.

    Attributes:
        truth: Classes of every slice (d h w).
        boxes: True box of each class on each slice, xyxy in [0, 1] (d k 4); zeros where it is not present.
        present: Which of them exist (d k).
        slices: Those that have a class, for each class that the case has; 0 is the first organ.
        start: State before the first slice.
        states: State before each slice, of one row.
        unprompted: Classes that the walk predicted (d h w).
    """

    def __init__(self, network: SAutoMed, view: SliceReader, chunk: int):
        self.network, self.depth, self.middle = network, view.depth, view.depth // 2
        self.truth = view.truth(range(self.depth))
        self.boxes, self.present = boxes_of_labels(self.truth, network.classes)
        where = {k: self.present[:, k].nonzero()[:, 0].tolist() for k in range(network.classes)}
        self.slices = {k: slices for k, slices in where.items() if slices}
        walk = Walk(network, view, mid_to_ends(self.depth), chunk, FEATURE_BYTES)
        self.start = walk.end_state
        predicted = {part.index: self._classes(part.logits[None]) for part in walk}
        self.unprompted = torch.cat([predicted[t] for t in range(self.depth)])
        self.states = [walk.state(t) for t in range(self.depth)]
        self._shared = [self._share(walk, t) for t in range(self.depth)]

    def prompted(self, t: int, given: Sequence[GivenPrompts]) -> tuple[Int[Tensor, "b h w"], SliceState]:
        """Return the classes of slice t after the walk for each of several prompts, and the states behind it."""
        return self.predict(t, self.states[t].take([0] * len(given)), GivenPrompts.cat(given))

    @torch.inference_mode()
    def predict(
        self, t: int, state: SliceState, given: GivenPrompts | None = None
    ) -> tuple[Int[Tensor, "b h w"], SliceState]:
        """Return the classes of slice t for each row of a state, and the states behind it."""
        rows, shared = len(state.boxes), self._shared[t]
        z, f, *fine = (m.expand(rows, -1, -1, -1) for m in (shared.z, shared.f, *shared.fine))
        out = self.network.step(SharedFeatures(z, f, tuple(fine)), state, given)
        return self._classes(out.logits), out.state

    def following(self, t: int) -> range:
        """List the slices that the walk visits after slice t; those above it for the middle."""
        return range(t + 1, self.depth) if t >= self.middle else range(t - 1, -1, -1)

    def nothing_given(self) -> GivenPrompts:
        """Return one row of prompts to fill in."""
        h, w = self.truth.shape[-2:]
        return GivenPrompts.nothing(self.network.classes, (h, w), self.truth.device)

    def _classes(self, logits: Float[Tensor, "b k1 _ _"]) -> Int[Tensor, "b h w"]:
        return nnf.interpolate(logits.float(), self.truth.shape[-2:], mode="bilinear").argmax(1)

    @torch.inference_mode()
    def _share(self, walk: Walk, t: int) -> SharedFeatures:
        before, here, after = (walk.features.of([n]) for n in neighbours(t, self.depth))
        return self.network.share(before, here, after)


class Half(NamedTuple):
    """Half of a box, and all of the slice that is beyond the cut."""

    box: Float[Tensor, " 4"]
    beyond: Bool[Tensor, "h w"]


def halves(box: Float[Tensor, " 4"], size: tuple[int, int]) -> list[Half]:
    """Return the left, right, upper and lower half of a box; it is cut between two pixels of a slice of this size."""
    rows, columns = torch.meshgrid(*(torch.arange(n, device=box.device) for n in size), indexing="ij")
    result = []
    for low, places, n in ((0, columns, size[1]), (1, rows, size[0])):
        cut = torch.round((box[low] + box[low + 2]) / 2 * n)
        first, second = box.clone(), box.clone()
        first[low + 2] = second[low] = cut / n
        result += [Half(first, places >= cut), Half(second, places < cut)]
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
    """Return the boxes of one slice, where each class that is present has the box of the next one that is."""
    classes = present.nonzero()[:, 0]
    result = boxes.clone()
    result[classes] = boxes[classes.roll(-1)]
    return result


# of a case, the index of a slice, and the state before it, for which it returns another one
ChangeState = Callable[[WalkedCase, int, SliceState], SliceState]


def walk_with(case: WalkedCase, change: ChangeState) -> Int[Tensor, "d h w"]:
    """Walk a case once more, with a change of the state before every slice, and return its classes."""
    classes, middle = torch.empty_like(case.truth), case.middle
    classes[[middle]], behind_middle = case.predict(middle, change(case, middle, case.start))
    for way in (range(middle + 1, case.depth), range(middle - 1, -1, -1)):
        state = behind_middle
        for t in way:
            classes[[t]], state = case.predict(t, change(case, t, state))
    return classes


def mirrored_boxes(case: WalkedCase, t: int, state: SliceState) -> SliceState:
    """Mirror the previous boxes."""
    return replace(state, boxes=mirrored(state.boxes) * state.present[..., None])


def permuted_boxes(case: WalkedCase, t: int, state: SliceState) -> SliceState:
    """Give each class the previous box of another one, or its absence."""
    return replace(state, boxes=state.boxes.roll(1, 1), seen=state.seen.roll(1, 1))


def no_boxes(case: WalkedCase, t: int, state: SliceState) -> SliceState:
    """Let every class be absent on the previous slice."""
    return replace(state, boxes=torch.zeros_like(state.boxes), seen=torch.full_like(state.seen, int(Seen.ABSENT)))


def no_history(case: WalkedCase, t: int, state: SliceState) -> SliceState:
    """Start the history tokens anew."""
    return replace(state, history=case.start.history)


def mirrored_state(case: WalkedCase, t: int, state: SliceState) -> SliceState:
    """Mirror all that has a place: the previous boxes, and every map of the state (b k ... h w)."""
    tensors = {f.name: getattr(state, f.name) for f in fields(state)}
    maps = {name: x.flip(-1) for name, x in tensors.items() if x.ndim >= 4}
    return replace(mirrored_boxes(case, t, state), **maps)


def permuted_state(case: WalkedCase, t: int, state: SliceState) -> SliceState:
    """Give each class all that the state holds of another one; history tokens are of no class."""
    classes = state.boxes.shape[1]
    tensors = {f.name: getattr(state, f.name) for f in fields(state) if f.name != "history"}
    return replace(state, **{name: x.roll(1, 1) for name, x in tensors.items() if x.shape[1] == classes})


def no_state(case: WalkedCase, t: int, state: SliceState) -> SliceState:
    """Start anew."""
    return case.start


def true_boxes_before(case: WalkedCase, t: int, state: SliceState) -> SliceState:
    """Take boxes and presence of the slice before from the truth; the middle has none before it."""
    if t == case.middle:
        return state
    return true_boxes_here(case, t - 1 if t > case.middle else t + 1, state)


def true_boxes_here(case: WalkedCase, t: int, state: SliceState) -> SliceState:
    """Take boxes and presence of slice t itself from the truth."""
    return replace(state, boxes=case.boxes[[t]], seen=Seen.of(case.present[[t]]))
