"""One training step of any Segmenter: a run of slices walked with gradient, its losses, the schedule, the average.

Lightning drives it; nothing here knows files or data sets.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import lightning
import torch
import torch.nn.functional as nnf
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from sautomed.boxes import boxes_of_labels, jitter
from sautomed.config import SegmentSettings, TrainSettings
from sautomed.errors import TrainingDiverged
from sautomed.inference import walk_slices
from sautomed.losses import box_loss, cross_entropy, dice_loss, presence_loss
from sautomed.model.segmenter import Features, Segmenter, SharedFeatures, StepOutput
from sautomed.sampling.prepare import PreparedCase
from sautomed.sampling.runs import Run


@dataclass
class Budget:
    """How far training is: by the clock if there is a limit in seconds, else by steps.

    Attributes:
        steps: So many, unless `seconds` rules.
        seconds: So long, from the command to the finished model.
        spent_s: Seconds gone before `start`: earlier parts of a resumed training, and preparing.
        reserve_s: Seconds to keep for the final validation; known once a validation was timed.
    """

    steps: int
    seconds: float | None = None
    spent_s: float = 0.0
    reserve_s: float = 0.0
    _since: float | None = None

    def start(self) -> None:
        self._since = time.monotonic()

    def elapsed_s(self) -> float:
        return self.spent_s + (0.0 if self._since is None else time.monotonic() - self._since)

    def progress(self, step: int) -> float:
        """0 at the start, 1 at the end."""
        if self.seconds is None:
            return min(step / self.steps, 1.0)
        return min(self.elapsed_s() / max(self.seconds - self.reserve_s, 1e-9), 1.0)


class Learner(lightning.LightningModule):
    """Trains `model`; validates and hands out the averaged weights if there are any.

    Args:
        channels: As in `DataSettings`.
        final_cases: Cases that will be segmented once training is over, for which a timed budget keeps a reserve.
    """

    def __init__(
        self,
        model: Segmenter,
        settings: TrainSettings,
        budget: Budget,
        channels: str,
        walking: SegmentSettings,
        seed: int,
        final_cases: int,
    ):
        super().__init__()
        self.model = model
        self.settings, self.budget, self.seed = settings, budget, seed
        self.channels, self.walking, self.final_cases = channels, walking, final_cases
        self._validation_began = 0.0
        self._case_dsc: list[Tensor] = []
        self.average = None
        if settings.ema:
            self.average = AveragedModel(model, multi_avg_fn=warming_average(settings.ema), use_buffers=True)
            self.average.requires_grad_(False)

    @property
    def best_model(self) -> Segmenter:
        return self.model if self.average is None else cast(Segmenter, self.average.module)

    # -- training ------------------------------------------------------------------------------------------------

    def training_step(self, run: Run, _: int) -> Tensor:
        generator = torch.Generator().manual_seed(hash((self.seed, self.global_step)) % 2**63)
        outputs = walk_run(self.model, run, self.settings, generator)
        losses = self._losses(outputs, run.labels)
        parts = {name: value.detach() for name, value in losses.items()}
        if not torch.isfinite(parts["loss"]):
            raise TrainingDiverged(
                f"the loss became {parts['loss'].item()} at step {self.global_step}{_of_cases(run)}.",
                where="training",
                cure="Use a smaller train.learning_rate, or train.precision=32-true.",
            )
        self.log_dict(parts, batch_size=len(run.labels))
        return losses["loss"]

    def _losses(self, outputs: list[StepOutput], labels: Tensor) -> dict[str, Tensor]:
        """The target slice counts 1, earlier ones `earlier_weight`."""
        s = self.settings
        names = ("ce", "dice", "box", "presence")
        weights = torch.tensor([s.earlier_weight] * (len(outputs) - 1) + [1.0], device=labels.device)
        rows = torch.stack([torch.stack(_slice_losses(out, labels[:, t])) for t, out in enumerate(outputs)])
        means = (rows * weights[:, None]).sum(0) / weights.sum()
        shares = torch.tensor([s.ce_weight, s.dice_weight, s.box_weight, s.presence_weight], device=labels.device)
        return {"loss": (means * shares).sum(), **dict(zip(names, means, strict=True))}

    def on_fit_start(self) -> None:
        self.budget.start()

    def on_train_batch_end(self, *_: Any) -> None:
        if self.average is not None:
            self.average.update_parameters(self.model)
        if self.budget.progress(self.global_step) >= 1:
            self.trainer.should_stop = True

    def configure_optimizers(self) -> dict[str, Any]:
        s = self.settings
        optimizer = torch.optim.AdamW(_groups(self.model, s.weight_decay), lr=s.learning_rate)

        def factor(step: int) -> float:
            warm = min(1.0, (step + 1) / max(s.warmup_steps, 1))
            return warm * (1 - self.budget.progress(step)) ** s.poly_power

        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    # -- validation ----------------------------------------------------------------------------------------------

    def on_validation_start(self) -> None:
        self._validation_began = time.monotonic()
        self._case_dsc = []

    def on_validation_end(self) -> None:
        per_case_s = (time.monotonic() - self._validation_began) / max(len(self._case_dsc), 1)
        self.budget.reserve_s = 1.2 * per_case_s * (len(self.trainer.val_dataloaders) + self.final_cases) + 1

    def validation_step(self, case: PreparedCase, _: int) -> None:
        """DSC of one case at the network's resolution; native scores come from `evaluate`."""
        self._case_dsc.append(network_dice(self.best_model, case, self.channels, self.walking).nanmean())

    def on_validation_epoch_end(self) -> None:
        """Always logged, as the best checkpoint needs it; nan if no case has an organ, and none was found."""
        self.log("val_dsc", torch.stack(self._case_dsc).nanmean())

    # -- what a checkpoint holds beyond weights and optimiser --------------------------------------------------------

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["elapsed_s"] = self.budget.elapsed_s()
        checkpoint["reserve_s"] = self.budget.reserve_s

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.budget.spent_s += checkpoint["elapsed_s"]
        self.budget.reserve_s = checkpoint["reserve_s"]


def _of_cases(run: Run) -> str:
    """The cases of a step, so that a broken one can be found."""
    ids = sorted(set(run.cases))
    return f", on slices of {', '.join(ids)}" if ids else ""


def warming_average(decay: float) -> Callable[[Sequence[Tensor], Sequence[Tensor], Tensor | int], None]:
    """Exponential average that forgets quickly at first, so that it is not ruled by weights from before training."""

    @torch.no_grad()
    def update(averaged: Sequence[Tensor], current: Sequence[Tensor], count: Tensor | int) -> None:
        keep = min(decay, (1 + int(count)) / (10 + int(count)))
        for mean, new in zip(averaged, current, strict=True):
            if mean.is_floating_point():
                mean.lerp_(new, 1 - keep)
            else:
                mean.copy_(new)

    return update


def walk_run(model: Segmenter, run: Run, settings: TrainSettings, generator: torch.Generator) -> list[StepOutput]:
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


def share_run(model: Segmenter, run: Run, trunk_gradient: str) -> list[SharedFeatures]:
    """Every image of the run through the trunk once, then the slice attention of all its slices at once."""
    b, n = run.labels.shape[:2]
    slices = encode_run(model, run.images, 0 if trunk_gradient == "all" else n - 1)
    before, here, after = (Features.cat(slices[i : i + n]) for i in range(3))
    up = run.upward.repeat(n)[:, None, None, None]
    below = Features(torch.where(up, before.coarse, after.coarse))
    above = Features(torch.where(up, after.coarse, before.coarse))
    return model.share(below, here, above).split(b)


def encode_run(model: Segmenter, images: Float[Tensor, "b n 3 h w"], without_gradient: int) -> list[Features]:
    """Trunk features of each slice of the runs; the first ones without gradient, which costs most of the memory."""
    b = len(images)
    slices = images.transpose(0, 1)
    features: list[Features] = []
    if without_gradient:
        with torch.no_grad():
            features = model.encode(slices[:without_gradient].flatten(0, 1)).split(b)
    return features + model.encode(slices[without_gradient:].flatten(0, 1)).split(b)


def _slice_losses(out: StepOutput, labels: Tensor) -> list[Tensor]:
    logits = nnf.interpolate(out.logits, size=labels.shape[-2:], mode="bilinear", align_corners=False)
    losses = [cross_entropy(logits, labels), dice_loss(logits, labels)]
    if out.boxes is None or out.presence is None:
        return [*losses, logits.new_zeros(()), logits.new_zeros(())]
    truth, present = boxes_of_labels(labels, out.presence.shape[1])
    return [*losses, box_loss(out.boxes, truth, present), presence_loss(out.presence, present)]


@torch.inference_mode()
def network_dice(model: Segmenter, case: PreparedCase, channels: str, walking: SegmentSettings) -> Tensor:
    """DSC per class of a prepared case, nan where neither truth nor prediction has the class."""
    images, truth, device = case.images, case.labels, next(model.parameters()).device
    sums = torch.zeros(3, model.classes, dtype=torch.float64, device=device)

    def read(rows: list[int]) -> Tensor:
        return torch.from_numpy(images[rows].astype("float32")).to(device)

    for t, logits in walk_slices(model, read, len(images), channels, walking):
        side = truth.shape[-1]
        found = nnf.interpolate(logits[None], (side, side), mode="bilinear").argmax(1)[0]
        sums += _overlap(found, torch.from_numpy(truth[t].astype("int64")).to(device), model.classes)
    return (2 * sums[0] / (sums[1] + sums[2])).cpu()


def _overlap(found: Tensor, truth: Tensor, classes: int) -> Tensor:
    """Pixels shared, found and true of each class: (3 k)."""
    both = torch.where(found == truth, truth, 0)
    return torch.stack([torch.bincount(x.flatten(), minlength=classes + 1)[1:] for x in (both, found, truth)]).double()


def _groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Weight decay for the matrices of layers only; norms, biases and tokens are left to themselves."""

    def decays(name: str, parameter: nn.Parameter) -> bool:
        return parameter.ndim >= 2 and name.endswith("weight")

    trained = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    return [
        {"params": [p for name, p in trained if decays(name, p)], "weight_decay": weight_decay},
        {"params": [p for name, p in trained if not decays(name, p)], "weight_decay": 0.0},
    ]
