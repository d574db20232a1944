"""What Lightning drives: a training step of any Segmenter, validation, the schedule and the average."""

import time
from dataclasses import dataclass
from typing import Any, Literal, cast

import lightning
import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from sautomed.config import SegmentSettings, TrainSettings
from sautomed.errors import TrainingDiverged
from sautomed.model.segmenter import Segmenter
from sautomed.training.optimization import make_optimizer, warming_average
from sautomed.training.prepare import PreparedCase
from sautomed.training.runs import Run
from sautomed.training.steps import run_losses
from sautomed.training.validation import network_dice

Clock = Literal["wall", "processor"]


def now_s(clock: Clock) -> float:
    """A moment on that clock, in seconds; only differences mean something."""
    return time.process_time() if clock == "processor" else time.monotonic()


@dataclass
class Budget:
    """How far training is: by the clock if there is a limit in seconds, else by steps.

    Attributes:
        steps: So many, unless `seconds` rules.
        seconds: So long, from the command to the finished model.
        spent_s: Seconds gone before `start`: earlier parts of a resumed training, and preparing.
        reserve_s: Seconds to keep for the final validation; known once a validation was timed.
        clock: "wall" counts seconds that pass, "processor" those that this process computes, all threads together: so a
            comparison stays fair on a machine that others use too.
    """

    steps: int
    seconds: float | None = None
    spent_s: float = 0.0
    reserve_s: float = 0.0
    clock: Clock = "wall"
    _since: float | None = None

    def start(self) -> None:
        self._since = now_s(self.clock)

    def elapsed_s(self) -> float:
        return self.spent_s + (0.0 if self._since is None else now_s(self.clock) - self._since)

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
        losses = run_losses(self.model, run, self.settings, generator)
        parts = {name: value.detach() for name, value in losses.items()}
        if not torch.isfinite(parts["loss"]):
            raise TrainingDiverged(
                f"the loss became {parts['loss'].item()} at step {self.global_step}{_of_cases(run)}.",
                where="training",
                cure="Use a smaller train.learning_rate, or train.precision=32-true.",
            )
        self.log_dict(parts, batch_size=len(run.labels))
        return losses["loss"]

    def on_fit_start(self) -> None:
        self.budget.start()

    def on_train_batch_end(self, *_: Any) -> None:
        if self.average is not None:
            self.average.update_parameters(self.model)
        if self.budget.progress(self.global_step) >= 1:
            self.trainer.should_stop = True

    def configure_optimizers(self) -> dict[str, Any]:
        s = self.settings
        optimizer = make_optimizer(self.model, s)

        def factor(step: int) -> float:
            warm = min(1.0, (step + 1) / max(s.warmup_steps, 1))
            return warm * (1 - self.budget.progress(step) / s.poly_horizon) ** s.poly_power

        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    # -- validation ----------------------------------------------------------------------------------------------

    def on_validation_start(self) -> None:
        self._validation_began = now_s(self.budget.clock)
        self._case_dsc = []

    def on_validation_end(self) -> None:
        per_case_s = (now_s(self.budget.clock) - self._validation_began) / max(len(self._case_dsc), 1)
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
