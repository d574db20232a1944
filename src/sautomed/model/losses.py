"""Losses: 0.2 CE + 0.8 Dice (SAMed's weights), and the generator's boxes and presence.

Pure functions of tensors and settings. Means over classes or boxes of a batch are those of the batch of all ranks; of
means over pixels and rows, of which each rank has as many, training takes the average.
"""

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as nnf
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sautomed.config import TrainSettings
from sautomed.model.across_ranks import summed
from sautomed.model.boxes import boxes_of_labels, paired_iou
from sautomed.model.values import StepOutput

L1_WEIGHT, GIOU_WEIGHT = 5.0, 2.0  # DAB-DETR's


def walk_losses(
    outputs: Sequence[StepOutput],
    labels: Int[Tensor, "b n h w"],
    settings: TrainSettings,
    shown: Int[Tensor, "b n h w"] | None = None,
) -> dict[str, Tensor]:
    """Average the losses of consecutive slices: the target (the last) counts 1, earlier ones `earlier_weight`.

    Args:
        shown: What the images show, where prompts ask for other masks; by default `labels`. Presence is of the image,
            and so are boxes and the logits that a prompt head starts from.
    Returns:
        `loss`, and its parts `ce`, `dice`, `box` and `presence`.
    """
    s = settings
    names = ("ce", "dice", "box", "presence")
    weights = torch.tensor([s.earlier_weight] * (len(outputs) - 1) + [1.0], device=labels.device)
    shown = labels if shown is None else shown
    losses = [_slice_losses(out, labels[:, t], shown[:, t], s) for t, out in enumerate(outputs)]
    rows = torch.stack([torch.stack(row) for row in losses])
    means = (rows * weights[:, None]).sum(0) / weights.sum()
    shares = torch.tensor([s.ce_weight, s.dice_weight, s.box_weight, s.presence_weight], device=labels.device)
    return {"loss": (means * shares).sum(), **dict(zip(names, means, strict=True))}


def _slice_losses(
    out: StepOutput, labels: Int[Tensor, "b h w"], shown: Int[Tensor, "b h w"], settings: TrainSettings
) -> list[Tensor]:
    """Return CE, Dice, box and presence loss; CE and Dice are sums over the logits behind and before a prompt head."""
    losses = _segmentation_losses(out.logits if out.ungated is None else out.ungated, labels, settings)
    boxed = labels
    if out.image_alone is not None:
        alone, boxed = _segmentation_losses(out.image_alone, shown, settings), shown
        losses = [asked + of_image for asked, of_image in zip(losses, alone, strict=True)]
    if out.boxes is None or out.presence is None:
        return [*losses, out.logits.new_zeros(()), out.logits.new_zeros(())]
    truth, present = boxes_of_labels(boxed, out.presence.shape[1])
    in_image = boxes_of_labels(shown, out.presence.shape[1])[1]
    return [*losses, box_loss(out.boxes, truth, present), presence_loss(out.presence, in_image)]


def stack_losses(
    outputs: Sequence[Float[Tensor, "b _ k1 _ _"]], labels: Int[Tensor, "b n h w"], settings: TrainSettings
) -> dict[str, Tensor]:
    """Average the losses of several outputs, as nnU-Net's deep supervision: each counts half as much as the one before.

    Returns:
        `loss`, and its parts `ce` and `dice`.
    """
    rows = torch.stack([torch.stack(_stack_losses(logits, labels, settings)) for logits in outputs])
    weights = torch.tensor([0.5**i for i in range(len(outputs))], device=labels.device)
    ce, dice = (rows * weights[:, None]).sum(0) / weights.sum()
    return {"loss": settings.ce_weight * ce + settings.dice_weight * dice, "ce": ce, "dice": dice}


def _stack_losses(logits: Tensor, labels: Tensor, settings: TrainSettings) -> list[Tensor]:
    (n, h, w), slices = labels.shape[1:], logits.shape[1]
    if slices != n:
        labels = nnf.interpolate(labels[:, None].float(), (slices, h, w), mode="nearest-exact")[:, 0].long()
    return _segmentation_losses(logits.flatten(0, 1), labels.flatten(0, 1), settings)


def _segmentation_losses(logits: Tensor, labels: Tensor, settings: TrainSettings) -> list[Tensor]:
    """CE and Dice at the labels' resolution, or, as in SAMed, at that of the logits."""
    if settings.loss_at == "logits":
        labels = nnf.interpolate(labels[:, None].float(), logits.shape[-2:], mode="nearest-exact")[:, 0].long()
    else:
        # small logits are brought into one layout: with many classes a softmax of the large ones is slow in another
        logits = nnf.interpolate(logits.contiguous(), size=labels.shape[-2:], mode="bilinear", align_corners=False)
    log_probability = logits.float().log_softmax(1)
    return [nnf.nll_loss(log_probability, labels), dice_loss(log_probability, labels, settings.dice_classes)]


def dice_loss(
    log_probability: Float[Tensor, "b k1 h w"],
    labels: Int[Tensor, "b h w"],
    over: Literal["shown", "all"] = "shown",
) -> Float[Tensor, ""]:
    """1 - soft Dice over the batch, mean of the classes that the batch shows (background too).

    A class that is absent everywhere is left out: its Dice is 0 / 0, which smoothing would turn into a loss of 1.
    `over="all"` keeps it nevertheless, as the code of SAMed, MA-SAM and TransUNet does.
    Source: Milletari et al. 2016, section 3 (squared denominator).
    """
    probability = log_probability.exp()
    of_truth = probability.gather(1, labels[:, None])[:, 0]
    shared, true = (_sum_of_classes(x, labels, probability.shape[1]) for x in (of_truth, torch.ones_like(of_truth)))
    shared, total, true = summed(torch.stack([shared, probability.square().sum((0, 2, 3)) + true, true]))
    dice = (2 * shared + 1e-5) / (total + 1e-5)
    return 1 - (dice if over == "all" else dice[true > 0]).mean()


def _sum_of_classes(values: Float[Tensor, "b h w"], labels: Int[Tensor, "b h w"], classes: int) -> Float[Tensor, " k1"]:
    """Sum over each class's pixels: column by column first, since one long sum in float32 would lose small values."""
    columns = values.new_zeros(len(values), classes, values.shape[2])
    return columns.scatter_add(1, labels, values).sum((0, 2))


def box_loss(
    boxes: Float[Tensor, "layers b k 4"], truth: Float[Tensor, "b k 4"], present: Bool[Tensor, "b k"]
) -> Float[Tensor, ""]:
    """5 L1 + 2 (1 - GIoU) of the classes that are present, mean over boxes and layers (DAB-DETR, without matching)."""
    found, wanted = boxes[:, present], truth[present].expand(len(boxes), -1, -1)
    distance = (found - wanted).abs().sum(-1)
    _, giou = paired_iou(found, wanted)
    errors = L1_WEIGHT * distance + GIOU_WEIGHT * (1 - giou)
    total, count = summed(torch.stack([errors.sum(), torch.ones_like(errors).sum()]))
    return total / count.clamp(min=1)


def presence_loss(presence: Float[Tensor, "b k"], present: Bool[Tensor, "b k"]) -> Float[Tensor, ""]:
    """Binary cross-entropy of "class k is in this slice"."""
    return nnf.binary_cross_entropy_with_logits(presence.float(), present.to(torch.float32))
