"""nnU-Net's trainer with a limit of time.

Imports nnU-Net, so only `steps` imports this module. Source: nnunetv2 2.8, nnUNetTrainer.run_training.
"""

from __future__ import annotations

import time
from typing import Any

import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from torch.optim import Optimizer

from sautomed.training.budget import Clock, now_s

EPOCHS = 20  # ours: enough points for a curve; each costs an online validation
TRAIN_PER_VALIDATION = 5  # stock: 250 iterations of training, 50 of validation
EXPONENT = 0.9  # stock


class ClockSchedule:
    """Polynomial learning rate over the spent share of the time; stock counts epochs."""

    def __init__(self, optimizer: Optimizer, initial_lr: float, trainer: BudgetTrainer) -> None:
        self.optimizer, self.initial_lr, self.trainer = optimizer, initial_lr, trainer

    def step(self, epoch: int | None = None) -> None:
        """Set the learning rate by the clock; the epoch is ignored."""
        rate = self.initial_lr * (1 - self.trainer.spent_share()) ** EXPONENT
        for group in self.optimizer.param_groups:
            group["lr"] = rate


class BudgetTrainer(nnUNetTrainer):
    """Stock trainer, except that it ends with the time; `budget_s` and `clock` are set before the training."""

    budget_s = 600.0
    clock: Clock = "wall"
    iterations = 0
    began: float | None = None

    def spent_share(self) -> float:
        """Return the spent share of the time for iterations, 0 to 1."""
        if self.began is None:
            return 0.0
        return min(1.0, (now_s(self.clock) - self.began) / self.budget_s)

    def configure_optimizers(self) -> tuple[Optimizer, ClockSchedule]:
        optimizer, _ = super().configure_optimizers()
        return optimizer, ClockSchedule(optimizer, self.initial_lr, self)

    def run_training(self) -> None:
        end = now_s(self.clock) + self.budget_s
        self.on_train_start()  # starts workers and draws the first batches
        self.began = now_s(self.clock)
        self.budget_s = max(1e-3, end - self.began)
        while self.spent_share() < 1 or self.iterations == 0:
            self._run_epoch()
        self.on_train_end()

    def _run_epoch(self) -> None:
        self.on_epoch_start()
        self.on_train_epoch_start()
        end = self.spent_share() + 1 / EPOCHS
        losses = [self.train_step(next(self.dataloader_train))]
        while self.spent_share() < self._epoch_end(end, len(losses)) and len(losses) < self.num_iterations_per_epoch:
            losses.append(self.train_step(next(self.dataloader_train)))
        self.on_train_epoch_end(losses)
        with torch.no_grad():
            self.on_validation_epoch_start()
            checks = [self.validation_step(next(self.dataloader_val))]
            while self.spent_share() < 1 and len(checks) < len(losses) // TRAIN_PER_VALIDATION:
                checks.append(self.validation_step(next(self.dataloader_val)))
            self.on_validation_epoch_end(checks)
        self.on_epoch_end()

    def _epoch_end(self, end: float, iterations: int) -> float:
        """Extend an epoch to at least 5 iterations, or a slow network would spend most of its time on validation."""
        return 1.0 if iterations < TRAIN_PER_VALIDATION else min(1.0, end)

    def train_step(self, batch: dict[str, Any]) -> dict[str, Any]:
        self.lr_scheduler.step()
        self.iterations += 1
        return super().train_step(batch)

    def on_epoch_end(self) -> None:
        """Log the epoch as stock does, without plot and checkpoints, which take longer than a short epoch."""
        self.logger.log("epoch_end_timestamps", time.time(), self.current_epoch)
        losses = {
            name: round(float(self.logger.get_value(name, step=-1)), 4) for name in ("train_losses", "val_losses")
        }
        dice = [round(float(value), 4) for value in self.logger.get_value("dice_per_class_or_region", step=-1)]
        self.print_to_log_file(
            f"Loss in training and validation {losses}, pseudo dice {dice} after {self.iterations} iterations"
        )
        self.current_epoch += 1

    def on_train_end(self) -> None:
        super().on_train_end()
        self.logger.plot_progress_png(self.output_folder)


# nnU-Net names folders and checkpoints by the class, and looks for the class in its own package when it predicts. Under
# the stock name, any nnU-Net can predict with the model, whose network is stock; nnunet.json tells how it was trained.
BudgetTrainer.__name__ = nnUNetTrainer.__name__
