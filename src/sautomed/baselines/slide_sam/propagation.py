"""Propagation of one box per organ from slice to slice, to both ends of the volume (Quan et al. 2023).

The true box prompts the slice in which the organ is largest. The three predicted masks are votes for that slice and its
two neighbours. The box of a neighbour's mask, slightly enlarged, prompts the next triplet, until a mask is too small or
the network's confidence too low. All organs are propagated together, first upwards through the volume, then
downwards. Slices are encoded in chunks on the way, so memory holds one chunk and the low-resolution votes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import torch
import torch.nn.functional as nnf
from jaxtyping import Bool, Float
from torch import Tensor

from sautomed.model.boxes import boxes_of_labels
from sautomed.model.values import Features, PredictedSlice, SliceReader

ABSENT = -1e4  # logit of an organ without votes: finite, so that it can be interpolated
STABILITY_OFFSET = 1.0  # offset of the threshold in both directions, for the stability of a mask
RULE_SIDE = 512  # side of the slice whose pixels the rules count
AREA_PER_SIDE = 20  # an opening's side is at most the mask's area divided by this

Boxes = dict[int, Tensor]  # organ 0..k-1 -> xyxy in [0, 1]


@dataclass(frozen=True)
class Rules:
    """Rules of the propagation; `SlideSamSettings` describes each."""

    enlarge: float
    stop_pixels: int
    stop_iou: float
    stop_stability: float
    opening: int


@dataclass(frozen=True)
class TripletMasks:
    """Logits of m organs in the slice below, the middle one and the one above, and their predicted IoU."""

    logits: Float[Tensor, "m 3 h w"]
    iou: Float[Tensor, " m"]


@runtime_checkable
class TripletNetwork(Protocol):
    """The part of a network's interface that the propagation needs."""

    def encode(self, images: Float[Tensor, "n 3 s s"]) -> Features: ...

    def masks_in_boxes(self, features: Features, boxes: Float[Tensor, "m 4"]) -> TripletMasks: ...


@dataclass(frozen=True)
class PassedBoxes:
    """Boxes that a triplet passes to the slices below and above it."""

    below: Boxes = field(default_factory=dict)
    above: Boxes = field(default_factory=dict)


def propagate(
    network: TripletNetwork, volume: SliceReader, classes: int, rules: Rules, chunk: int
) -> Iterator[PredictedSlice]:
    """Yield each slice once, from the first to the last; organs that are not in the truth are never predicted.

    Where triplets overlap, an organ's logit is the largest of theirs, so its mask is the union. Between organs the
    largest logit wins, and the background where none is above 0.
    """
    templates = largest_slices(volume, classes, chunk)
    votes = Votes()
    prompted: dict[int, Boxes] = {t: {} for t in range(volume.depth)}
    visit = Visitor(network, volume, rules, votes, prompted)
    downwards: dict[int, Boxes] = {}
    passed: Boxes = {}
    chunks = FeatureChunks(network, volume, chunk, +1)
    for t in range(volume.depth):
        given = templates.get(t, {})
        after = visit(t, chunks, passed, given)
        passed = after.above
        downwards[t - 1] = {k: box for k, box in after.below.items() if k in given}
    passed, chunks = {}, FeatureChunks(network, volume, chunk, -1)
    for t in reversed(range(volume.depth)):
        passed = visit(t, chunks, passed | downwards.get(t, {}), {}).below
    device = volume.truth([0]).device
    for t in range(volume.depth):
        yield _predicted_slice(t, votes.pop(t), prompted[t], classes, device)


def largest_slices(volume: SliceReader, classes: int, chunk: int) -> dict[int, Boxes]:
    """Return, by slice, the true boxes of the organs that have most pixels there; of equal slices the first counts."""
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


class FeatureChunks:
    """Features of single slices, encoded on request, a chunk at a time.

    Args:
        direction: Of the sweep: +1 or -1.
    """

    def __init__(self, network: TripletNetwork, volume: SliceReader, chunk: int, direction: int):
        self.network, self.volume, self.chunk, self.direction = network, volume, chunk, direction
        self.kept: dict[int, Features] = {}

    def features(self, t: int) -> Features:
        """Return the features of slice t; encode it and those after it if needed."""
        if t not in self.kept:
            ahead = (t + self.direction * i for i in range(self.chunk))
            rows = [n for n in ahead if 0 <= n < self.volume.depth]
            self.kept = {}  # frees the memory for the next chunk
            encoded = self.network.encode(self.volume.images(rows))
            self.kept = dict(zip(rows, encoded.split(1), strict=True))
        return self.kept[t]


class Votes:
    """Low-resolution logits of each organ in each slice of a triplet, in half precision; the largest vote counts."""

    def __init__(self) -> None:
        self._kept: dict[int, dict[int, Tensor]] = {}

    def add(self, t: int, organ: int, logits: Float[Tensor, "h w"]) -> None:
        here, new = self._kept.setdefault(t, {}), logits.clamp(ABSENT, -ABSENT).half()
        here[organ] = torch.maximum(here[organ], new) if organ in here else new

    def pop(self, t: int) -> Mapping[int, Float[Tensor, "h w"]]:
        return self._kept.pop(t, {})


@dataclass(frozen=True)
class Visitor:
    """Prompts a triplet with the boxes of several organs, and records votes and prompts."""

    network: TripletNetwork
    volume: SliceReader
    rules: Rules
    votes: Votes
    prompted: dict[int, Boxes]

    def __call__(self, t: int, chunks: FeatureChunks, passed: Boxes, given: Boxes) -> PassedBoxes:
        """Return the boxes that the triplet around slice t passes on.

        Args:
            passed: Boxes from a neighbouring slice; a triplet that is not trusted ends the propagation and has no vote.
            given: True boxes; the triplet votes in any case.
        """
        boxes = passed | given
        if not boxes:
            return PassedBoxes()
        self.prompted[t].update(boxes)
        found = self.network.masks_in_boxes(chunks.features(t), torch.stack(list(boxes.values())))
        trusted = is_trusted(found, self.rules).tolist()
        cleared = remove_specks(found.logits.float(), self.rules.opening)
        enlarged, large = next_boxes(cleared, self.rules)
        large = large.cpu()  # one transfer for all organs
        after = PassedBoxes()
        for i, k in enumerate(boxes):
            if trusted[i] or k in given:
                self._vote(t, k, cleared[i])
            if trusted[i] and large[i, 0]:
                after.below[k] = enlarged[i, 0]
            if trusted[i] and large[i, 2]:
                after.above[k] = enlarged[i, 2]
        return after

    def _vote(self, t: int, organ: int, logits: Float[Tensor, "3 h w"]) -> None:
        """Record three votes; none past the ends of the volume, where a triplet repeats the edge slice."""
        for place, mask in enumerate(logits, start=t - 1):
            if 0 <= place < self.volume.depth:
                self.votes.add(place, organ, mask)


def is_trusted(found: TripletMasks, rules: Rules) -> Bool[Tensor, " m"]:
    """Whether IoU output and stability of each organ's three masks together are high enough."""
    inner, outer = ((found.logits > at).sum((1, 2, 3)) for at in (STABILITY_OFFSET, -STABILITY_OFFSET))
    stable = inner / outer.clamp(min=1) >= rules.stop_stability
    return (found.iou > rules.stop_iou) & stable & (outer > 0)


def next_boxes(logits: Float[Tensor, "m 3 h w"], rules: Rules) -> tuple[Float[Tensor, "m 3 4"], Bool[Tensor, "m 3"]]:
    """Return each mask's box, enlarged, and whether the mask is large enough to pass it on."""
    masks = logits > 0
    boxes, _ = boxes_of_labels(masks.flatten(0, 1).long(), 1)
    large = masks.sum((2, 3)) / masks[0, 0].numel() > rules.stop_pixels / RULE_SIDE**2
    return enlarge(boxes[:, 0], rules.enlarge).unflatten(0, masks.shape[:2]), large


def enlarge(boxes: Float[Tensor, "*n 4"], margin: float) -> Float[Tensor, "*n 4"]:
    """Move each edge outwards by a fraction of the box's side, within [0, 1]."""
    sides = boxes[..., 2:] - boxes[..., :2]
    return (boxes + margin * torch.cat([-sides, sides], -1)).clamp(0, 1)


def remove_specks(logits: Float[Tensor, "m 3 h w"], largest_side: int) -> Float[Tensor, "m 3 h w"]:
    """Change the sign of logits where the mask's opening with a square removes it.

    The square's side is `largest_side` pixels of a 512 px slice, less for small masks, as in the public code.
    """
    scale = RULE_SIDE / logits.shape[-1]
    masks = logits > 0
    sides = (masks.sum((2, 3)) * scale**2 // AREA_PER_SIDE).clamp(max=largest_side).div(scale).round().long().cpu()
    opened = masks.clone()
    for i, row in enumerate(sides.tolist()):
        for j, side in enumerate(row):
            if side > 1:
                opened[i, j] = opening(masks[i, j], side)
    return torch.where(masks & ~opened, -logits, logits)


def opening(mask: Bool[Tensor, "h w"], side: int) -> Bool[Tensor, "h w"]:
    """Return the union of all squares that fit into the mask; pixels outside the image belong to the mask."""
    outside = nnf.pad((~mask).float()[None, None], [side - 1] * 4)
    fits = nnf.max_pool2d(outside, side, stride=1) == 0  # indexed by the square's first pixel
    return nnf.max_pool2d(fits.float(), side, stride=1)[0, 0] > 0


def _predicted_slice(
    t: int, votes: Mapping[int, Tensor], boxes: Boxes, classes: int, device: torch.device
) -> PredictedSlice:
    side = next(iter(votes.values())).shape if votes else (1, 1)
    logits = torch.full((classes + 1, *side), ABSENT, device=device)
    logits[0] = 0
    for k, vote in votes.items():
        logits[1 + k] = vote.float()
    prompts, present = torch.zeros(classes, 4, device=device), torch.zeros(classes, dtype=torch.bool, device=device)
    for k, box in boxes.items():
        prompts[k], present[k] = box.float(), True
    return PredictedSlice(t, logits, prompts, present)
