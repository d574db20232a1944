"""What training minimises: 0.2 CE + 0.8 Dice (SAMed's weights), and the generator's boxes and presence.

Pure functions of tensors.
"""

from typing import Literal

import torch
import torch.nn.functional as nnf
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sautomed.model.boxes import paired_iou

L1_WEIGHT, GIOU_WEIGHT = 5.0, 2.0  # DAB-DETR's


def cross_entropy(logits: Float[Tensor, "b k+1 h w"], labels: Int[Tensor, "b h w"]) -> Float[Tensor, ""]:
    return nnf.cross_entropy(logits.float(), labels)


def dice_loss(
    logits: Float[Tensor, "b k+1 h w"], labels: Int[Tensor, "b h w"], over: Literal["shown", "all"] = "shown"
) -> Float[Tensor, ""]:
    """1 - soft Dice, over the batch, mean of the classes that the batch shows (background too).

    A class that is absent everywhere is left out: its Dice would be 0 / 0, and smoothing would make it a loss of 1.
    `over="all"` keeps it nevertheless, as SAMed's, MA-SAM's and TransUNet's code does.
    Squared denominator (Milletari et al. 2016, section 3).
    """
    classes = logits.shape[1]
    probability = logits.float().softmax(1).transpose(0, 1).flatten(1)
    truth = nnf.one_hot(labels, classes).permute(3, 0, 1, 2).flatten(1).to(probability)
    shared = (probability * truth).sum(1)
    total = probability.square().sum(1) + truth.sum(1)
    dice = (2 * shared + 1e-5) / (total + 1e-5)
    return 1 - (dice if over == "all" else dice[truth.sum(1) > 0]).mean()


def box_loss(
    boxes: Float[Tensor, "layers b k 4"], truth: Float[Tensor, "b k 4"], present: Bool[Tensor, "b k"]
) -> Float[Tensor, ""]:
    """5 L1 + 2 (1 - GIoU) of the classes that are there, mean over boxes and layers (DAB-DETR, without matching)."""
    if not present.any():
        return boxes.sum() * 0.0
    found, wanted = boxes[:, present], truth[present].expand(len(boxes), -1, -1)
    distance = (found - wanted).abs().sum(-1)
    _, giou = paired_iou(found, wanted)
    return (L1_WEIGHT * distance + GIOU_WEIGHT * (1 - giou)).mean()


def presence_loss(presence: Float[Tensor, "b k"], present: Bool[Tensor, "b k"]) -> Float[Tensor, ""]:
    return nnf.binary_cross_entropy_with_logits(presence.float(), present.to(torch.float32))
