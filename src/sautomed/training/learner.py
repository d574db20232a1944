"""Lightning module around any Segmenter: training step, validation, schedule and averaged weights."""

from collections.abc import Callable
from itertools import zip_longest
from typing import Any, cast

import lightning
import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from sautomed.config import SegmentSettings, TrainSettings
from sautomed.errors import NothingToResume, TrainingDiverged
from sautomed.model.segmenter import Segmenter
from sautomed.training.budget import Budget, now_s
from sautomed.training.optimization import make_optimizer, warming_average
from sautomed.training.prepare import PreparedCase
from sautomed.training.rank_group import RankGroup
from sautomed.training.slice_runs import SliceRun
from sautomed.training.validation import network_dice


class Learner(lightning.LightningModule):
    """Trains `model`; validates with the averaged weights if there are any.

    Args:
        channels: As in `DataSettings`.
        final_cases: Cases that are segmented after training, for which a timed budget reserves seconds.
        group: Ranks that train together; each has a learner.
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
        group: RankGroup | None = None,
    ):
        super().__init__()
        self.model = model
        self.settings, self.budget, self.seed = settings, budget, seed
        self.channels, self.walking, self.final_cases = channels, walking, final_cases
        self.group = group or RankGroup()
        self.last_losses: dict[str, Tensor] = {}
        self.on_step_done: Callable[[lightning.Trainer], None] | None = None  # with the averaged weights
        self._validation_began = 0.0
        self._case_dsc: list[float] = []
        self.average = None
        if settings.ema:
            self.average = AveragedModel(model, multi_avg_fn=warming_average(settings.ema), use_buffers=True)
            self.average.requires_grad_(False)

    @property
    def best_model(self) -> Segmenter:
        """Model with the averaged weights if there are any."""
        return self.model if self.average is None else cast(Segmenter, self.average.module)

    # -- training ------------------------------------------------------------------------------------------------

    def training_step(self, run: SliceRun, _: int) -> Tensor:
        generator = torch.Generator().manual_seed(hash((self.seed, self.global_step)) % 2**63)
        losses = self.model.losses(run, self.settings, generator)
        parts = self.group.mean({name: value.detach() for name, value in losses.items()})
        if not torch.isfinite(parts["loss"]):
            raise TrainingDiverged(
                f"the loss became {parts['loss'].item()} at step {self.global_step}{_of_cases(run)}.",
                where="training",
                cure=_cure_of_divergence(self.settings.precision),
            )
        self.last_losses = parts
        self.log_dict(parts, batch_size=len(run.labels))
        return losses["loss"]

    def on_fit_start(self) -> None:
        self.budget.start()

    def on_train_batch_end(self, *_: Any) -> None:
        self.budget.agree()
        if self.average is not None:
            self.average.update_parameters(self.model)
        if self.budget.progress(self.global_step) >= 1:
            self.trainer.should_stop = True
        if self.on_step_done:
            self.on_step_done(self.trainer)

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
        reserve_s = 1.2 * per_case_s * (len(self.trainer.val_dataloaders) + self.final_cases) + 1
        self.budget.reserve_s = self.group.from_first(reserve_s)

    def validation_step(self, case: PreparedCase | None, _: int) -> None:
        """Measure the DSC of one case at the network's resolution; native scores come from `evaluate`."""
        if case is not None:
            self._case_dsc.append(float(network_dice(self.best_model, case, self.channels, self.walking).nanmean()))

    def on_validation_epoch_end(self) -> None:
        """Log the mean of all ranks for the best checkpoint; nan if no case has an organ and none was found."""
        shares = self.group.gather(self._case_dsc)
        in_order = [dsc for row in zip_longest(*shares) for dsc in row if dsc is not None]
        self.log("val_dsc", torch.tensor(in_order, dtype=torch.float64).nanmean())
        self.budget.agree()

    # -- what a checkpoint holds beyond weights and optimiser --------------------------------------------------------

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["elapsed_s"] = self.budget.elapsed_s()
        checkpoint["reserve_s"] = self.budget.reserve_s

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if _shapes(checkpoint["state_dict"]) != _shapes(self.state_dict()):
            raise NothingToResume(
                "is of another network than this version of sautomed builds from the run's settings.",
                where=self.trainer.ckpt_path,
                cure="Train anew with another -o, or resume with the sautomed version that wrote it.",
            )
        self.budget.spent_s += checkpoint["elapsed_s"]
        self.budget.reserve_s = checkpoint["reserve_s"]


def _cure_of_divergence(precision: str) -> str:
    exact = "" if precision == "32-true" else ", or --set train.precision=32-true"
    return f"Train anew with another -o and a smaller train.learning_rate{exact}."


def _shapes(state: dict[str, Tensor]) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in state.items()}


def _of_cases(run: SliceRun) -> str:
    """Name the cases of a step, so that a broken one can be found."""
    ids = sorted(set(run.cases))
    return f", on slices of {', '.join(ids)}" if ids else ""
