"""One training step of any Segmenter: runs of slices walked with gradient, stacks at once, and what is minimised.

Nothing here knows files, data sets or Lightning.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
import torch.nn.functional as nnf
from jaxtyping import Float, Int
from torch import Tensor

from sautomed.config import TrainSettings
from sautomed.model.boxes import boxes_of_labels, jitter
from sautomed.model.losses import box_loss, cross_entropy, dice_loss, presence_loss
from sautomed.model.segmenter import (
    Features,
    PlainSegmenter,
    PromptedSegmenter,
    Segmenter,
    SharedFeatures,
    SliceWalker,
    StackSegmenter,
    StepOutput,
)
from sautomed.training.runs import Run


def run_losses(model: Segmenter, run: Run, settings: TrainSettings, generator: torch.Generator) -> dict[str, Tensor]:
    """`loss`, which is minimised, and its parts by name."""
    if isinstance(model, SliceWalker):
        return walk_losses(walk_run(model, run, settings, generator), run.labels, settings)
    if isinstance(model, StackSegmenter):
        return stack_losses(model.in_training(run.images[:, 1:-1]), run.labels, settings)
    if isinstance(model, PromptedSegmenter):
        return model.losses(run, generator)
    raise TypeError(f"{type(model).__name__} is no walker, no stack and no prompted segmenter")


def walk_losses(
    outputs: Sequence[StepOutput], labels: Int[Tensor, "b n h w"], settings: TrainSettings
) -> dict[str, Tensor]:
    """The target slice counts 1, earlier ones `earlier_weight`."""
    s = settings
    names = ("ce", "dice", "box", "presence")
    weights = torch.tensor([s.earlier_weight] * (len(outputs) - 1) + [1.0], device=labels.device)
    rows = torch.stack([torch.stack(_slice_losses(out, labels[:, t], s)) for t, out in enumerate(outputs)])
    means = (rows * weights[:, None]).sum(0) / weights.sum()
    shares = torch.tensor([s.ce_weight, s.dice_weight, s.box_weight, s.presence_weight], device=labels.device)
    return {"loss": (means * shares).sum(), **dict(zip(names, means, strict=True))}


def stack_losses(
    outputs: Sequence[Float[Tensor, "b n2 k+1 h2 w2"]], labels: Int[Tensor, "b n h w"], settings: TrainSettings
) -> dict[str, Tensor]:
    """Deep supervision as nnU-Net's: each output counts half as much as the one before."""
    rows = torch.stack([torch.stack(_stack_losses(logits, labels, settings)) for logits in outputs])
    weights = torch.tensor([0.5**i for i in range(len(outputs))], device=labels.device)
    ce, dice = (rows * weights[:, None]).sum(0) / weights.sum()
    return {"loss": settings.ce_weight * ce + settings.dice_weight * dice, "ce": ce, "dice": dice}


def _stack_losses(logits: Tensor, labels: Tensor, settings: TrainSettings) -> list[Tensor]:
    (n, h, w), wanted = labels.shape[1:], (logits.shape[1], *logits.shape[-2:])
    if wanted[0] != n:
        labels = nnf.interpolate(labels[:, None].float(), (wanted[0], h, w), mode="nearest-exact")[:, 0].long()
    return _segmentation_losses(logits.flatten(0, 1), labels.flatten(0, 1), settings)


def _segmentation_losses(logits: Tensor, labels: Tensor, settings: TrainSettings) -> list[Tensor]:
    """CE and Dice at the labels' resolution, or, as in SAMed, at that of the logits."""
    if settings.loss_at == "logits":
        labels = nnf.interpolate(labels[:, None].float(), logits.shape[-2:], mode="nearest-exact")[:, 0].long()
    else:
        logits = nnf.interpolate(logits, size=labels.shape[-2:], mode="bilinear", align_corners=False)
    return [cross_entropy(logits, labels), dice_loss(logits, labels, settings.dice_classes)]


def walk_run(model: SliceWalker, run: Run, settings: TrainSettings, generator: torch.Generator) -> list[StepOutput]:
    """The run's slices in walk order, with gradient through decoder, filter and generator over all of them.

    Boxes pass on as the model's own predictions, detached, with a little noise.
    """
    shared = share_run(model, run, settings.trunk_gradient)
    state = model.start(len(run.labels))
    outputs = []
    for t in range(run.labels.shape[1]):
        out = model.step(shared[t], state)
        outputs.append(out)
        state = replace(out.state, boxes=jitter(out.state.boxes, settings.box_jitter, generator))
    return outputs


def share_run(model: SliceWalker, run: Run, trunk_gradient: str) -> list[SharedFeatures]:
    """Every image of the run through the trunk once, then the slice attention of all its slices at once."""
    b, n = run.labels.shape[:2]
    if isinstance(model, PlainSegmenter):  # which looks at no neighbours
        own = model.encode(run.images[:, 1:-1].transpose(0, 1).flatten(0, 1))
        return model.share(own, own, own).split(b)
    slices = encode_run(model, run.images, 0 if trunk_gradient == "all" else n - 1)
    before, here, after = (Features.cat(slices[i : i + n]) for i in range(3))
    up = run.upward.repeat(n)[:, None, None, None]
    below = Features(torch.where(up, before.coarse, after.coarse))
    above = Features(torch.where(up, after.coarse, before.coarse))
    return model.share(below, here, above).split(b)


def encode_run(model: SliceWalker, images: Float[Tensor, "b n 3 h w"], without_gradient: int) -> list[Features]:
    """Trunk features of each slice of the runs; the first ones without gradient, which costs most of the memory."""
    b = len(images)
    slices = images.transpose(0, 1)
    features: list[Features] = []
    if without_gradient:
        with torch.no_grad():
            features = model.encode(slices[:without_gradient].flatten(0, 1)).split(b)
    return features + model.encode(slices[without_gradient:].flatten(0, 1)).split(b)


def _slice_losses(out: StepOutput, labels: Tensor, settings: TrainSettings) -> list[Tensor]:
    logits = out.logits
    losses = _segmentation_losses(logits, labels, settings)
    if out.boxes is None or out.presence is None:
        return [*losses, logits.new_zeros(()), logits.new_zeros(())]
    truth, present = boxes_of_labels(labels, out.presence.shape[1])
    return [*losses, box_loss(out.boxes, truth, present), presence_loss(out.presence, present)]
