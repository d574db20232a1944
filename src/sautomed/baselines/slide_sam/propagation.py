"""One box of each organ, passed on from slice to slice to both ends of the volume (Quan et al. 2023).

The box of the truth prompts the slice on which the organ is largest. Its three masks vote for the slice and its two
neighbours, and the box of a neighbour's mask, a little larger, prompts the next triplet, until a mask is too small or
the network doubts itself. All organs go together: upwards once through the volume, then downwards, slices passing the
trunk in chunks on the way, so that memory holds one chunk and the low-resolution votes of where organs were found.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import torch
import torch.nn.functional as nnf
from jaxtyping import Bool, Float
from torch import Tensor

from sautomed.model.boxes import boxes_of_labels
from sautomed.model.segmenter import Features, PredictedSlice, SliceReader

ABSENT = -1e4  # logit of an organ that nothing voted for: finite, so that it can be interpolated
STABLE = 1.0  # how far the threshold moves either way for the stability of a mask
RULED_SIDE = 512  # the rules count pixels of a slice of this side
SPECKS = 20  # an opening's side is at most the mask's area divided by this

Boxes = dict[int, Tensor]  # organ 0..k-1 -> xyxy in [0, 1]


@dataclass(frozen=True)
class Rules:
    """How a box is passed on, and when it is not; the settings of the same names say what each is."""

    enlarge: float
    stop_pixels: int
    stop_iou: float
    stop_stability: float
    opening: int


@dataclass(frozen=True)
class TripletMasks:
    """Logits of the slice below, the middle one and the one above, and the predicted IoU, of m organs."""

    logits: Float[Tensor, "m 3 h w"]
    iou: Float[Tensor, " m"]


class TripletNetwork(Protocol):
    """What the propagation asks of a network."""

    def encode(self, images: Float[Tensor, "n 3 s s"]) -> Features: ...

    def masks_in_boxes(self, features: Features, boxes: Float[Tensor, "m 4"]) -> TripletMasks: ...


@dataclass(frozen=True)
class Passed:
    """The boxes that a triplet hands to the slices below and above it."""

    below: Boxes = field(default_factory=dict)
    above: Boxes = field(default_factory=dict)


def propagate(
    network: TripletNetwork, volume: SliceReader, classes: int, rules: Rules, chunk: int
) -> Iterator[PredictedSlice]:
    """Each slice once, from the first to the last; organs that the truth does not show are never predicted.

    Where triplets overlap, an organ's mask is the union of theirs: its logit is the largest one. Between organs the
    largest logit wins, and the background where none is above 0.
    """
    templates = largest_slices(volume, classes, chunk)
    votes = Votes()
    prompted: dict[int, Boxes] = {t: {} for t in range(volume.depth)}
    visit = Visitor(network, volume, rules, votes, prompted)
    downwards: dict[int, Boxes] = {}
    passed: Boxes = {}
    stream = Chunks(network, volume, chunk, +1)
    for t in range(volume.depth):
        given = templates.get(t, {})
        after = visit(t, stream, passed, given)
        passed = after.above
        downwards[t - 1] = {k: box for k, box in after.below.items() if k in given}
    passed, stream = {}, Chunks(network, volume, chunk, -1)
    for t in reversed(range(volume.depth)):
        passed = visit(t, stream, passed | downwards.get(t, {}), {}).below
    device = volume.truth([0]).device
    for t in range(volume.depth):
        yield _predicted(t, votes.of(t), prompted[t], classes, device)


def largest_slices(volume: SliceReader, classes: int, chunk: int) -> dict[int, Boxes]:
    """Slice -> the true boxes of the organs that have most pixels there (the first such slice)."""
    most: dict[int, tuple[int, int, Tensor]] = {}
    for first in range(0, volume.depth, chunk):
        rows = range(first, min(first + chunk, volume.depth))
        truth = volume.truth(rows)
        boxes, _ = boxes_of_labels(truth, classes)
        for k in range(classes):
            areas = (truth == k + 1).sum((1, 2))
            i = int(areas.argmax())
            if areas[i] > most.get(k, (0,))[0]:
                most[k] = (int(areas[i]), rows[i], boxes[i, k])
    templates: dict[int, Boxes] = {}
    for k, (_, t, box) in most.items():
        templates.setdefault(t, {})[k] = box
    return templates


class Chunks:
    """Features of single slices, encoded a chunk ahead in the direction of a sweep when one of them is asked for."""

    def __init__(self, network: TripletNetwork, volume: SliceReader, chunk: int, direction: int):
        self.network, self.volume, self.chunk, self.direction = network, volume, chunk, direction
        self.kept: dict[int, Features] = {}

    def features(self, t: int) -> Features:
        if t not in self.kept:
            ahead = (t + self.direction * i for i in range(self.chunk))
            rows = [n for n in ahead if 0 <= n < self.volume.depth]
            self.kept = {}  # before the next chunk comes
            encoded = self.network.encode(self.volume.images(rows))
            self.kept = dict(zip(rows, encoded.split(1), strict=True))
        return self.kept[t]


class Votes:
    """Low-resolution logits of each organ on each slice that a triplet showed, in half precision."""

    def __init__(self) -> None:
        self._kept: dict[int, dict[int, Tensor]] = {}

    def add(self, t: int, organ: int, logits: Float[Tensor, "h w"]) -> None:
        here, new = self._kept.setdefault(t, {}), logits.clamp(ABSENT, -ABSENT).half()
        here[organ] = torch.maximum(here[organ], new) if organ in here else new

    def of(self, t: int) -> Mapping[int, Float[Tensor, "h w"]]:
        return self._kept.pop(t, {})


@dataclass(frozen=True)
class Visitor:
    """Prompts one triplet with the boxes of several organs; notes votes and prompts."""

    network: TripletNetwork
    volume: SliceReader
    rules: Rules
    votes: Votes
    prompted: dict[int, Boxes]

    def __call__(self, t: int, stream: Chunks, passed: Boxes, given: Boxes) -> Passed:
        """What goes on from slice t.

        Args:
            passed: Boxes from a neighbouring slice; a triplet that is not trusted ends the way, without a vote.
            given: Boxes of the truth; the triplet votes in any case.
        """
        boxes = passed | given
        if not boxes:
            return Passed()
        self.prompted[t].update(boxes)
        found = self.network.masks_in_boxes(stream.features(t), torch.stack(list(boxes.values())))
        trusted = is_trusted(found, self.rules).tolist()
        cleared = without_specks(found.logits.float(), self.rules.opening)
        going, large = next_boxes(cleared, self.rules)
        large = large.cpu()  # once, not organ by organ
        after = Passed()
        for i, k in enumerate(boxes):
            if trusted[i] or k in given:
                self._vote(t, k, cleared[i])
            if trusted[i] and large[i, 0]:
                after.below[k] = going[i, 0]
            if trusted[i] and large[i, 2]:
                after.above[k] = going[i, 2]
        return after

    def _vote(self, t: int, organ: int, logits: Float[Tensor, "3 h w"]) -> None:
        """At either end of the volume one of the three is the edge slice once more; that one has no vote."""
        for place, mask in enumerate(logits, start=t - 1):
            if 0 <= place < self.volume.depth:
                self.votes.add(place, organ, mask)


def is_trusted(found: TripletMasks, rules: Rules) -> Bool[Tensor, " m"]:
    """Whether the network is sure enough of each organ's three masks together."""
    inner, outer = ((found.logits > at).sum((1, 2, 3)) for at in (STABLE, -STABLE))
    stable = inner / outer.clamp(min=1) >= rules.stop_stability
    return (found.iou > rules.stop_iou) & stable & (outer > 0)


def next_boxes(logits: Float[Tensor, "m 3 h w"], rules: Rules) -> tuple[Float[Tensor, "m 3 4"], Bool[Tensor, "m 3"]]:
    """Each mask's box, enlarged, and whether the mask is large enough to pass it on."""
    masks = logits > 0
    boxes, _ = boxes_of_labels(masks.flatten(0, 1).long(), 1)
    large = masks.sum((2, 3)) / masks[0, 0].numel() > rules.stop_pixels / RULED_SIDE**2
    return enlarge(boxes[:, 0], rules.enlarge).unflatten(0, masks.shape[:2]), large


def enlarge(boxes: Float[Tensor, "*n 4"], margin: float) -> Float[Tensor, "*n 4"]:
    """Each side moved outwards by a fraction of the box's length along it, within [0, 1]."""
    sides = boxes[..., 2:] - boxes[..., :2]
    return (boxes + margin * torch.cat([-sides, sides], -1)).clamp(0, 1)


def without_specks(logits: Float[Tensor, "m 3 h w"], largest_side: int) -> Float[Tensor, "m 3 h w"]:
    """Logits whose masks have lost what no square of the opening fits into; what is lost changes its sign.

    The square's side is `largest_side` pixels of a 512 px slice, less for small masks (as in the public code).
    """
    if not largest_side:
        return logits
    scale = RULED_SIDE / logits.shape[-1]
    masks = logits > 0
    sides = (masks.sum((2, 3)) * scale**2 // SPECKS).clamp(max=largest_side).div(scale).round().long().cpu()
    opened = masks.clone()
    for i, row in enumerate(sides.tolist()):
        for j, side in enumerate(row):
            if side > 1:
                opened[i, j] = opening(masks[i, j], side)
    return torch.where(masks & ~opened, -logits, logits)


def opening(mask: Bool[Tensor, "h w"], side: int) -> Bool[Tensor, "h w"]:
    """All squares of so many pixels that fit into the mask; pixels beyond the image count as the mask's."""
    outside = nnf.pad((~mask).float()[None, None], [side - 1] * 4)
    fits = nnf.max_pool2d(outside, side, stride=1) == 0  # by the square's first pixel
    return nnf.max_pool2d(fits.float(), side, stride=1)[0, 0] > 0


def _predicted(t: int, votes: Mapping[int, Tensor], boxes: Boxes, classes: int, device: torch.device) -> PredictedSlice:
    side = next(iter(votes.values())).shape if votes else (1, 1)
    logits = torch.full((classes + 1, *side), ABSENT, device=device)
    logits[0] = 0
    for k, vote in votes.items():
        logits[1 + k] = vote.float()
    prompts, present = torch.zeros(classes, 4, device=device), torch.zeros(classes, dtype=torch.bool, device=device)
    for k, box in boxes.items():
        prompts[k], present[k] = box.float(), True
    return PredictedSlice(t, logits, prompts, present)
