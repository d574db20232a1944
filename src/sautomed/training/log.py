"""What a training leaves to be looked at while it runs: log.csv and a picture of the learning curve."""

import csv
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightning

from sautomed.report.curves import draw_learning_curve

if TYPE_CHECKING:
    from sautomed.training import Learner

LOG_EVERY = 10  # steps a row


@dataclass
class LogRow:
    """One row of log.csv: means since the row before; a validation has a row of its own."""

    step: int
    elapsed_s: float
    lr: float | None = None
    loss: float | None = None
    ce: float | None = None
    dice: float | None = None
    box: float | None = None
    presence: float | None = None
    focal: float | None = None
    iou: float | None = None
    val_dsc: float | None = None


COLUMNS = [field.name for field in fields(LogRow)]
LOSSES = ("loss", "ce", "dice", "box", "presence", "focal", "iou")  # no system has all of them


@dataclass(frozen=True)
class RunningStep:
    """For a progress bar: how far training is (0 to 1), the step, the seconds gone and the latest numbers."""

    progress: float
    step: int
    elapsed_s: float
    loss: float | None
    val_dsc: float | None


class CurveLog(lightning.Callback):
    """Writes log.csv row by row and draws learning_curve.png after each validation."""

    def __init__(self, folder: Path, on_step: Callable[[RunningStep], None] | None = None):
        self.path, self.picture, self.on_step = folder / "log.csv", folder / "learning_curve.png", on_step
        self.sums: dict[str, float] = {}
        self.count = 0
        self.loss: float | None = None
        self.val_dsc: float | None = None

    def on_train_start(self, trainer: lightning.Trainer, module: "Learner") -> None:
        """A resumed training keeps the rows up to its checkpoint; what came after them is trained again."""
        kept = []
        if self.path.exists():
            with self.path.open(newline="") as file:
                kept = [row for row in csv.DictReader(file) if int(row["step"]) <= trainer.global_step]
        with self.path.open("w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(kept if trainer.global_step else [])

    def on_train_batch_end(self, trainer: lightning.Trainer, module: "Learner", *_: Any) -> None:
        for name in LOSSES:
            if name in trainer.callback_metrics:
                self.sums[name] = self.sums.get(name, 0.0) + float(trainer.callback_metrics[name])
        self.count += 1
        if self.count == LOG_EVERY:
            self._write_means(trainer, module)
        self._tell(trainer, module)

    def on_validation_end(self, trainer: lightning.Trainer, module: "Learner") -> None:
        if trainer.sanity_checking:  # only timed, before training
            return
        if self.count:
            self._write_means(trainer, module)
        found = trainer.callback_metrics.get("val_dsc")
        if found is not None and not found.isnan():
            self.val_dsc = float(found)
            self._append(LogRow(trainer.global_step, module.budget.elapsed_s(), val_dsc=self.val_dsc))
            draw_learning_curve(self.path, self.picture)
        self._tell(trainer, module)

    def on_train_end(self, trainer: lightning.Trainer, module: "Learner") -> None:
        if self.count:
            self._write_means(trainer, module)
        draw_learning_curve(self.path, self.picture)

    def _write_means(self, trainer: lightning.Trainer, module: "Learner") -> None:
        means = {name: total / self.count for name, total in self.sums.items()}
        self.loss = means["loss"]
        rate = trainer.optimizers[0].param_groups[0]["lr"]
        self._append(LogRow(trainer.global_step, module.budget.elapsed_s(), rate, **means))
        self.sums, self.count = {}, 0

    def _append(self, row: LogRow) -> None:
        values = {k: "" if v is None else f"{v:.6g}" if isinstance(v, float) else v for k, v in asdict(row).items()}
        with self.path.open("a", newline="") as file:
            csv.DictWriter(file, COLUMNS).writerow(values)

    def _tell(self, trainer: lightning.Trainer, module: "Learner") -> None:
        if self.on_step:
            budget = module.budget
            self.on_step(
                RunningStep(
                    budget.progress(trainer.global_step),
                    trainer.global_step,
                    budget.elapsed_s(),
                    self.loss,
                    self.val_dsc,
                )
            )
