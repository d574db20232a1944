"""Slide-SAM's training examples, an organ of a triplet with its prompts, and the loss of the best hypothesis.

Knows nothing of the network.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
import torch.nn.functional as nnf
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sautomed.model.across_ranks import in_whole_batch, own_rows, summed
from sautomed.model.boxes import boxes_of_labels

FOCAL_WEIGHT, FOCAL_ALPHA, FOCAL_GAMMA = 20.0, 0.2, 2.0
DICE_SMOOTH = 1e-5
BOX_NOISE = 0.01  # standard deviation, as a share of the mean side
MOST_NOISE = 20 / 1024  # as a share of the slice


@dataclass(frozen=True)
class Drawn:
    """One organ of each triplet, and two prompts for it in the middle slice.

    Attributes:
        truth: Its masks.
        shown: Whether the middle slice shows an organ; where not, the rest of the row is meaningless.
        points: xy in [0, 1], the centre of a pixel.
        boxes: xyxy in [0, 1].
    """

    truth: Float[Tensor, "b 3 s s"]
    shown: Bool[Tensor, " b"]
    points: Float[Tensor, "b 2"]
    boxes: Float[Tensor, "b 4"]


def draw_examples(
    labels: Int[Tensor, "b 3 s s"], classes: int, smallest_part: float, generator: torch.Generator
) -> Drawn:
    """Draw one of the organs in the middle slice, all with the same chance, one of its pixels, and its box with noise.

    Args:
        smallest_part: Share of the slice; smaller organs are not drawn, as in the public code.
        generator: On the CPU; the only source of randomness.
    """
    middle = labels[:, 1]
    sizes = torch.stack([(middle == k).sum((1, 2)) for k in range(1, classes + 1)], 1)
    large = sizes > smallest_part * middle[0].numel()
    shown = large.any(1)
    chances = torch.where(shown[:, None], large, True).float().cpu()
    whole = in_whole_batch(chances, elsewhere=1.0)
    drawn = own_rows(lambda _: torch.multinomial(whole, 1, generator=generator), len(chances))
    organ = 1 + drawn[:, 0].to(labels.device)
    truth = labels == organ[:, None, None, None]
    tight, _ = boxes_of_labels(truth[:, 1].long(), 1)
    return Drawn(truth.float(), shown, random_pixels(truth[:, 1], generator), add_noise(tight[:, 0], generator))


def random_pixels(masks: Bool[Tensor, "b h w"], generator: torch.Generator) -> Float[Tensor, "b 2"]:
    """Draw one pixel of each mask, all with the same chance, and return its centre, xy in [0, 1].

    An empty mask gives the last pixel of the slice.
    """
    b, h, w = masks.shape
    counted = masks.flatten(1).cumsum(1)
    chance = own_rows(lambda rows: torch.rand(rows, generator=generator), b).to(masks.device)
    # In rare cases float32 rounds the product up to the whole count.
    rank = torch.minimum((chance * counted[:, -1]).long(), (counted[:, -1] - 1).clamp(min=0))
    place = torch.searchsorted(counted, rank[:, None] + 1)[:, 0].clamp(max=h * w - 1)
    return torch.stack([(place % w + 0.5) / w, (place // w + 0.5) / h], -1)


def add_noise(boxes: Float[Tensor, "b 4"], generator: torch.Generator) -> Float[Tensor, "b 4"]:
    """Move each box a little as a whole, within [0, 1].

    The public code limits the noise only to the right and down; here the limit holds in all directions.
    """
    sides = boxes[:, 2:] - boxes[:, :2]
    noise = own_rows(lambda rows: torch.randn(rows, 2, generator=generator), len(boxes)).to(boxes)
    moved = (BOX_NOISE * sides.mean(1, keepdim=True) * noise).clamp(-MOST_NOISE, MOST_NOISE)
    return (boxes + moved.repeat(1, 2)).clamp(0, 1)


def error_of_best(errors: Float[Tensor, "m 3"], best: Int[Tensor, "m 1"]) -> Float[Tensor, " m"]:
    """Select the IoU error of the best hypothesis (paper)."""
    return errors.gather(1, best)[:, 0]


def mean_error(errors: Float[Tensor, "m 3"], best: Int[Tensor, "m 1"]) -> Float[Tensor, " m"]:
    """Average the IoU errors of all hypotheses (ours: from scratch the paper's choice leaves some untrained)."""
    return errors.mean(1)


IouError = Callable[[Tensor, Tensor], Tensor]
IOU_ERRORS: Mapping[str, IouError] = MappingProxyType({"best": error_of_best, "all": mean_error})


def prompt_losses(
    masks: Float[Tensor, "m 3 3 h w"],
    iou: Float[Tensor, "m 3"],
    drawn: Drawn,
    iou_error: IouError = error_of_best,
) -> dict[str, Tensor]:
    """Return `loss`, 20 focal + dice + iou, and its parts.

    Each is summed over point and box, and averaged over the rows that show an organ; 0 if none does.
    """
    prompts = len(masks) // len(drawn.truth)
    parts = hypothesis_losses(masks, iou, drawn.truth.repeat(prompts, 1, 1, 1), iou_error)
    shown = drawn.shown.repeat(prompts)
    # A row without an organ has a weight of 0 but stays in the graph, so that every step has a gradient.
    *sums, count = summed(torch.stack([*((part * shown).sum() for part in parts), drawn.shown.sum().float()]))
    focal, dice, error = (total / count.clamp(min=1) for total in sums)
    return {"loss": FOCAL_WEIGHT * focal + dice + error, "focal": focal, "dice": dice, "iou": error}


def hypothesis_losses(
    masks: Float[Tensor, "m 3 3 h w"],
    iou: Float[Tensor, "m 3"],
    truth: Float[Tensor, "m 3 s s"],
    iou_error: IouError = error_of_best,
) -> tuple[Float[Tensor, " m"], Float[Tensor, " m"], Float[Tensor, " m"]]:
    """Return focal loss, Dice loss and squared error of the IoU of each row's best hypothesis.

    The best has the lowest 20 focal + Dice. Dice is averaged over slices, the IoU is of all three slices together, and
    both are computed at the truth's resolution.

    Args:
        iou_error: Selects the hypotheses whose error of the IoU counts.
    Source: Quan et al. 2023 and its public code.
    """
    logits = nnf.interpolate(masks.flatten(0, 1).float(), truth.shape[-2:], mode="bilinear", align_corners=False)
    logits = logits.unflatten(0, masks.shape[:2])
    wanted = truth[:, None].expand_as(logits)
    focal, dice = _focal(logits, wanted).mean((2, 3, 4)), _dice(logits, wanted).mean(2)
    best = (FOCAL_WEIGHT * focal + dice).argmin(1, keepdim=True)
    errors = (iou.float() - _true_iou(logits.detach(), wanted)).square()
    return focal.gather(1, best)[:, 0], dice.gather(1, best)[:, 0], iou_error(errors, best)


def _focal(logits: Tensor, truth: Tensor) -> Tensor:
    """Return the focal loss of each pixel (Lin et al. 2017), with one alpha for object and background."""
    entropy = nnf.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    return FOCAL_ALPHA * (1 - torch.exp(-entropy)) ** FOCAL_GAMMA * entropy


def _dice(logits: Tensor, truth: Tensor) -> Tensor:
    probability = logits.sigmoid()
    shared = (probability * truth).sum((-2, -1))
    return 1 - (2 * shared + DICE_SMOOTH) / ((probability + truth).sum((-2, -1)) + DICE_SMOOTH)


def _true_iou(logits: Tensor, truth: Tensor) -> Tensor:
    found, real = logits > 0, truth > 0
    shared, either = (x.sum((2, 3, 4)) for x in (found & real, found | real))
    return shared / either.clamp(min=1)
