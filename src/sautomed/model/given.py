"""Prompts that a person gives for a slice, and the gate by which the masks of that slice obey them.

A given prompt is another thing than the box of the previous slice: it is for this slice, is not refined, and is
authoritative. Masks obey by a gate on the logits, whatever a network makes of its prompts; losses see the logits before
the gate, which has no gradient outside a box.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from enum import IntEnum

import torch
import torch.nn.functional as nnf
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sautomed.model.boxes import boxes_of_masks, inside_boxes, paired_iou

FILLED = 0.5  # ours: IoU of a given box with that of the mask in it, from which a class gets no help
HELPS = tuple(n / 2 for n in range(1, 19))  # ours: of logits, for a class that does not fill its box
WORTH = 0.05  # ours: of IoU, that more help must bring
MARGIN = 10.0  # ours: of logits, between what is allowed and what is not


class GivenKind(IntEnum):
    """What is given for a class."""

    NOTHING = 0
    HERE = 1  # in a box
    NOT_HERE = 2
    MASK = 3


@dataclass(frozen=True)
class GivenPrompts:
    """What a person gives for the classes of a slice, one slice per row. Make it with `nothing` and the methods below.

    Attributes:
        kinds: A `GivenKind` for each class.
        boxes: Where a class is (HERE), or tight around its mask (MASK), xyxy in [0, 1]; zeros elsewhere.
        masks: Of MASK, at any resolution of the slice; False elsewhere.
    """

    kinds: Int[Tensor, "b k"]
    boxes: Float[Tensor, "b k 4"]
    masks: Bool[Tensor, "b k h w"]

    @staticmethod
    def nothing(classes: int, size: tuple[int, int], device: torch.device | None = None) -> "GivenPrompts":
        """Return one row in which nothing is given for any class.

        Args:
            size: Height and width of masks that may follow; all rows of a walk have one size.
        """
        return GivenPrompts(
            torch.full((1, classes), int(GivenKind.NOTHING), device=device),
            torch.zeros(1, classes, 4, device=device),
            torch.zeros(1, classes, *size, dtype=torch.bool, device=device),
        )

    @staticmethod
    def joined(of_classes: Mapping[int, "GivenPrompts"]) -> "GivenPrompts":
        """Join what is given for each class of a slice; of class k, that which the k-th has."""
        joined = next(iter(of_classes.values())).without()
        for k, given in of_classes.items():
            for f in fields(given):
                getattr(joined, f.name)[:, k] = getattr(given, f.name)[:, k]
        return joined

    def without(self) -> "GivenPrompts":
        """Return rows of the same sizes in which nothing is given."""
        return GivenPrompts(*(torch.zeros_like(x) for x in (self.kinds, self.boxes, self.masks)))

    def here(self, k: int, box: Float[Tensor, " 4"]) -> "GivenPrompts":
        """Return a copy in which class k (0 is the first organ) is in this box, xyxy in [0, 1]."""
        return self._with(k, GivenKind.HERE, box, torch.zeros_like(self.masks[0, 0]))

    def not_here(self, k: int) -> "GivenPrompts":
        """Return a copy in which class k is not in the slice."""
        return self._with(k, GivenKind.NOT_HERE, torch.zeros_like(self.boxes[0, 0]), torch.zeros_like(self.masks[0, 0]))

    def mask(self, k: int, mask: Bool[Tensor, "h w"]) -> "GivenPrompts":
        """Return a copy in which these are the pixels of class k."""
        boxes, present = boxes_of_masks(mask[None, None])
        kind = GivenKind.MASK if present.item() else GivenKind.NOT_HERE
        return self._with(k, kind, boxes[0, 0], mask)

    def _with(self, k: int, kind: GivenKind, box: Tensor, mask: Tensor) -> "GivenPrompts":
        kinds, boxes, masks = (x.clone() for x in (self.kinds, self.boxes, self.masks))
        kinds[:, k], boxes[:, k], masks[:, k] = int(kind), box, mask
        return GivenPrompts(kinds, boxes, masks)

    @staticmethod
    def cat(rows: Sequence["GivenPrompts"]) -> "GivenPrompts":
        """Join the rows of several."""
        return GivenPrompts(**{f.name: torch.cat([getattr(r, f.name) for r in rows]) for f in fields(GivenPrompts)})

    @property
    def is_given(self) -> Bool[Tensor, "b k"]:
        """Whether anything is given for a class."""
        return self.kinds != GivenKind.NOTHING

    def inside(self, h: int, w: int) -> Bool[Tensor, "b k {h} {w}"]:
        """Return the places of a grid that are in a class's given box or mask; none where neither is given."""
        kinds = self.kinds[..., None, None]
        boxed = (kinds == GivenKind.HERE) & inside_boxes(self.boxes * self.boxes.new_tensor([w, h, w, h]), h, w)
        return boxed | self.painted(h, w)

    def outside(self, h: int, w: int) -> Bool[Tensor, "b k {h} {w}"]:
        """Return the places that are not, of classes of which anything is given."""
        return self.is_given[..., None, None] & ~self.inside(h, w)

    def painted(self, h: int, w: int) -> Bool[Tensor, "b k {h} {w}"]:
        """Return the places of a grid that are in a given mask."""
        masked = self.kinds[..., None, None] == GivenKind.MASK
        return masked & (nnf.interpolate(self.masks.float(), (h, w), mode="area") >= 0.5)

    def boxes_or(self, predicted: Float[Tensor, "b k 4"]) -> Float[Tensor, "b k 4"]:
        """Return the given box of each class that has one, and the predicted box of the others."""
        has_box = (self.kinds == GivenKind.HERE) | (self.kinds == GivenKind.MASK)
        return torch.where(has_box[..., None], self.boxes.to(predicted), predicted)


def gate(logits: Float[Tensor, "b k1 h w"], given: GivenPrompts) -> Float[Tensor, "b k1 h w"]:
    """Make the masks of a slice obey what was given for it; classes of which nothing was given compete as before.

    Outside its box, or where it is not, a class is held below the best other one. Inside its box it is helped if it
    would be missed there. A mask is taken as it is; where two masks overlap, the class with the smaller number wins.
    """
    h, w = logits.shape[-2:]
    boxed = given.inside(h, w) & ~given.painted(h, w)
    if boxed.any():
        help_ = _help(logits, boxed, given.boxes.to(logits)) * boxed
        logits = torch.cat([logits[:, :1], logits[:, 1:] + help_], 1)
    return bounded(logits, given)


def bounded(logits: Float[Tensor, "b k1 h w"], given: GivenPrompts) -> Float[Tensor, "b k1 h w"]:
    """Hold classes below the best other one where they may not be, and above it where they are painted."""
    h, w = logits.shape[-2:]
    background, organs = logits[:, :1], logits[:, 1:]
    masked, allowed = given.painted(h, w), ~given.outside(h, w)
    best = torch.cat([background, organs.masked_fill(~allowed, -torch.inf)], 1).amax(1, keepdim=True)
    organs = torch.where(allowed, organs, torch.minimum(organs, best - MARGIN))
    return torch.cat([background, torch.where(masked, torch.maximum(organs, best + MARGIN), organs)], 1)


def gate_at_masks(logits: Float[Tensor, "b k1 _ _"], given: GivenPrompts) -> Float[Tensor, "b k1 _ _"]:
    """Gate logits at the resolution of the given masks, if that is the finer one.

    The edges of boxes and masks are then where they were given, and not at the nearest place of the logits.
    """
    size = given.masks.shape[-2:]
    if size[0] > logits.shape[-2]:
        logits = nnf.interpolate(logits, size, mode="bilinear", align_corners=False)
    return gate(logits, given)


def _help(
    logits: Float[Tensor, "b k1 h w"], inside: Bool[Tensor, "b k h w"], boxes: Float[Tensor, "b k 4"]
) -> Float[Tensor, "b k 1 1"]:
    """Return what each class gets inside its given box: the least that makes its mask fill the box best.

    Nothing if the mask fills the box more or less already: then the box says nothing of the outline in it, and help
    would only make the mask larger.
    """
    lead = logits[:, 1:] - best_of_others(logits)

    def filled(help_: float) -> Float[Tensor, "b k"]:
        return paired_iou(boxes_of_masks(inside & (lead + help_ > 0))[0], boxes)[0]

    best, chosen = filled(0.0), torch.zeros_like(boxes[..., 0])
    missed = best < FILLED
    for help_ in HELPS if missed.any() else ():
        iou = filled(help_)
        better = missed & (iou > best + WORTH)
        best, chosen = torch.where(better, iou, best), chosen.masked_fill(better, help_)
    return chosen[..., None, None]


def best_of_others(logits: Float[Tensor, "b k1 h w"]) -> Float[Tensor, "b k1-1 h w"]:
    """Return, for each class but the background, the largest logit of all others."""
    first, second = logits.topk(2, dim=1).values.split(1, dim=1)
    return torch.where(logits[:, 1:] == first, second, first)
