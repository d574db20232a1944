"""What Slide-SAM learns from a triplet: the draw of an organ with its prompts, and the loss of the best hypothesis.

Nothing here knows the network.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as nnf
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sautomed.model.boxes import boxes_of_labels

FOCAL_WEIGHT, FOCAL_ALPHA, FOCAL_GAMMA = 20.0, 0.2, 2.0
DICE_SMOOTH = 1e-5
BOX_NOISE = 0.01  # standard deviation, in units of the mean side
MOST_NOISE = 20 / 1024  # of the slice

IouOf = Literal["best", "all"]


@dataclass(frozen=True)
class Drawn:
    """One organ of each triplet, and the two prompts for it on the middle slice.

    Attributes:
        truth: Its masks.
        shown: Whether there was an organ to draw; where not, the rest of the row means nothing.
        points: xy in [0, 1], in the middle of a pixel.
        boxes: xyxy in [0, 1].
    """

    truth: Float[Tensor, "b 3 s s"]
    shown: Bool[Tensor, " b"]
    points: Float[Tensor, "b 2"]
    boxes: Float[Tensor, "b 4"]


def draw_examples(
    labels: Int[Tensor, "b 3 s s"], classes: int, smallest_part: float, generator: torch.Generator
) -> Drawn:
    """Any of the organs that the middle slice shows well, each with the same chance; a random pixel; a shaken box.

    Args:
        smallest_part: Of the slice; the public code leaves out what is smaller.
        generator: On the CPU; its state and the labels decide everything.
    """
    middle = labels[:, 1]
    sizes = torch.stack([(middle == k).sum((1, 2)) for k in range(1, classes + 1)], 1)
    worth = sizes > smallest_part * middle[0].numel()
    shown = worth.any(1)
    chances = torch.where(shown[:, None], worth, True).float().cpu()
    organ = 1 + torch.multinomial(chances, 1, generator=generator)[:, 0].to(labels.device)
    truth = labels == organ[:, None, None, None]
    tight, _ = boxes_of_labels(truth[:, 1].long(), 1)
    return Drawn(truth.float(), shown, random_pixels(truth[:, 1], generator), shaken(tight[:, 0], generator))


def random_pixels(masks: Bool[Tensor, "b s s"], generator: torch.Generator) -> Float[Tensor, "b 2"]:
    """The middle (xy in [0, 1]) of one pixel of each mask, all with the same chance; of an empty one the last."""
    b, h, w = masks.shape
    counted = masks.flatten(1).cumsum(1)
    chance = torch.rand(b, generator=generator).to(masks.device)
    # float32 rounds the product up to the whole count in rare cases
    rank = torch.minimum((chance * counted[:, -1]).long(), (counted[:, -1] - 1).clamp(min=0))
    place = torch.searchsorted(counted, rank[:, None] + 1)[:, 0].clamp(max=h * w - 1)
    return torch.stack([(place % w + 0.5) / w, (place // w + 0.5) / h], -1)


def shaken(boxes: Float[Tensor, "b 4"], generator: torch.Generator) -> Float[Tensor, "b 4"]:
    """Moved a little as a whole, as in the public code, whose cap only held to the right and down; within [0, 1]."""
    sides = boxes[:, 2:] - boxes[:, :2]
    noise = torch.randn(len(boxes), 2, generator=generator).to(boxes)
    moved = (BOX_NOISE * sides.mean(1, keepdim=True) * noise).clamp(-MOST_NOISE, MOST_NOISE)
    return (boxes + moved.repeat(1, 2)).clamp(0, 1)


def prompt_losses(
    masks: Float[Tensor, "2*b 3 3 h w"], iou: Float[Tensor, "2*b 3"], drawn: Drawn, iou_of: IouOf = "best"
) -> dict[str, Tensor]:
    """`loss` and its parts, summed over point and box; the mean of the rows that show an organ, 0 if none does.

    `focal`, `dice` and `iou` are those of the best hypothesis; `loss` is 20 focal + dice + iou.
    """
    times = len(masks) // len(drawn.truth)
    best = hypothesis_losses(masks, iou, drawn.truth.repeat(times, 1, 1, 1), iou_of)
    shown = drawn.shown.repeat(times)
    # a row without an organ counts nothing, but stays in the graph: every step has a gradient
    focal, dice, miss = ((part * shown).sum() / drawn.shown.sum().clamp(min=1) for part in best)
    return {"loss": FOCAL_WEIGHT * focal + dice + miss, "focal": focal, "dice": dice, "iou": miss}


def hypothesis_losses(
    masks: Float[Tensor, "m 3 3 h w"],
    iou: Float[Tensor, "m 3"],
    truth: Float[Tensor, "m 3 s s"],
    iou_of: IouOf = "best",
) -> tuple[Float[Tensor, " m"], Float[Tensor, " m"], Float[Tensor, " m"]]:
    """Focal loss, Dice loss and squared error of the IoU, of each row's hypothesis with the least 20 focal + Dice.

    Dice is taken slice by slice, the IoU over the three slices, all at the truth's resolution.

    Args:
        iou_of: Whose error of the IoU: the best hypothesis's as published, or the mean of all three.
    Source: Quan et al. 2023 and its public code.
    """
    logits = nnf.interpolate(masks.flatten(0, 1).float(), truth.shape[-2:], mode="bilinear", align_corners=False)
    logits = logits.unflatten(0, masks.shape[:2])
    wanted = truth[:, None].expand_as(logits)
    focal, dice = _focal(logits, wanted).mean((2, 3, 4)), _dice(logits, wanted).mean(2)
    best = (FOCAL_WEIGHT * focal + dice).argmin(1, keepdim=True)
    error = (iou.float() - _reached_iou(logits.detach(), wanted)).square()
    if iou_of == "all":
        error = error.mean(1, keepdim=True).expand_as(error)
    focal, dice, error = (part.gather(1, best)[:, 0] for part in (focal, dice, error))
    return focal, dice, error


def _focal(logits: Tensor, truth: Tensor) -> Tensor:
    """Lin et al. 2017, with one alpha for both sides."""
    entropy = nnf.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    return FOCAL_ALPHA * (1 - torch.exp(-entropy)) ** FOCAL_GAMMA * entropy


def _dice(logits: Tensor, truth: Tensor) -> Tensor:
    probability = logits.sigmoid()
    shared = (probability * truth).sum((-2, -1))
    return 1 - (2 * shared + DICE_SMOOTH) / ((probability + truth).sum((-2, -1)) + DICE_SMOOTH)


def _reached_iou(logits: Tensor, truth: Tensor) -> Tensor:
    found, real = logits > 0, truth > 0
    shared, either = (x.sum((2, 3, 4)) for x in (found & real, found | real))
    return shared / either.clamp(min=1)
