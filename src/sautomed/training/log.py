"""The log of a training while it runs: log.csv, a picture of the learning curve, and steps for a progress bar."""

import csv
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightning

from sautomed.report.curves import draw_learning_curve
from sautomed.scans.files import write_text

if TYPE_CHECKING:
    from sautomed.training.learner import Learner

LOG_EVERY = 10  # steps per row


@dataclass(frozen=True)
class RunningStep:
    """Progress of a training.

    Attributes:
        progress: Fraction done, 0 to 1.
        elapsed_s: Seconds spent.
        loss: Of the latest row of log.csv; before the first row, the mean so far.
        val_dsc: Of the latest validation.
        is_validated: Whether a validation has just ended.
    """

    progress: float
    step: int
    elapsed_s: float
    loss: float | None
    val_dsc: float | None
    is_validated: bool = False


class LogTable:
    """log.csv: a row per `LOG_EVERY` steps with means since the row before, and one per validation.

    Columns are step, elapsed_s, lr, the losses of the system by name, and val_dsc; blank where not measured.
    """

    def __init__(self, path: Path):
        self.path = path
        self.columns = ["step", "elapsed_s", "lr", "loss", "val_dsc"]

    def begin(self, step: int) -> None:
        """Start the file, or keep its rows up to a step from which training goes on."""
        rows = [row for row in self._rows() if int(row["step"]) <= step] if step else []
        self.columns = list(rows[0]) if rows else self.columns
        self._write(rows)

    def append(self, row: Mapping[str, float]) -> None:
        """Add a row; a name that is new becomes a column."""
        new = [name for name in row if name not in self.columns]
        if new:
            rows = self._rows()
            self.columns[-1:-1] = new  # before val_dsc
            self._write(rows)
        values = {k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()}
        with self.path.open("a", newline="", encoding="utf-8") as file:
            csv.DictWriter(file, self.columns).writerow(values)

    def _rows(self) -> list[dict[str, str]]:
        if not self.path.exists():
            return []
        text = self.path.read_bytes().decode("utf-8")
        whole = text[: text.rfind("\n") + 1]  # a full disk may have cut the last row
        return list(csv.DictReader(io.StringIO(whole, newline="")))

    def _write(self, rows: list[dict[str, str]]) -> None:
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, self.columns, restval="")
        writer.writeheader()
        writer.writerows(rows)
        write_text(self.path, text.getvalue())


class CurveLog(lightning.Callback):
    """Writes log.csv row by row and draws learning_curve.png after each validation."""

    def __init__(self, folder: Path, on_step: Callable[[RunningStep], None] | None = None):
        self.table, self.picture, self.on_step = LogTable(folder / "log.csv"), folder / "learning_curve.png", on_step
        self.sums: dict[str, float] = {}
        self.count = 0
        self.loss: float | None = None
        self.val_dsc: float | None = None

    def on_train_start(self, trainer: lightning.Trainer, module: "Learner") -> None:
        """Keep the rows up to the checkpoint of a resumed training; later steps are trained again."""
        self.table.begin(trainer.global_step)

    def state_dict(self) -> dict[str, Any]:
        """Return the sums since the last row, so that a training stopped between two rows has the same rows."""
        return {"sums": self.sums, "count": self.count, "loss": self.loss, "val_dsc": self.val_dsc}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.sums, self.count = dict(state_dict["sums"]), state_dict["count"]
        self.loss, self.val_dsc = state_dict["loss"], state_dict["val_dsc"]

    def on_train_batch_end(self, trainer: lightning.Trainer, module: "Learner", *_: Any) -> None:
        for name, value in module.last_losses.items():
            self.sums[name] = self.sums.get(name, 0.0) + float(value)
        self.count += 1
        if self.count == LOG_EVERY:
            self._write_means(trainer, module)
        self._report_step(trainer, module)

    def on_validation_end(self, trainer: lightning.Trainer, module: "Learner") -> None:
        if trainer.sanity_checking:  # only timed, before training
            return
        if self.count:
            self._write_means(trainer, module)
        found = trainer.callback_metrics.get("val_dsc")
        if found is not None and not found.isnan():
            self.val_dsc = float(found)
            self._append(trainer, module, {"val_dsc": self.val_dsc})
            draw_learning_curve(self.table.path, self.picture)
        self._report_step(trainer, module, is_validated=True)

    def on_train_end(self, trainer: lightning.Trainer, module: "Learner") -> None:
        if self.count:
            self._write_means(trainer, module)
        draw_learning_curve(self.table.path, self.picture)

    def _write_means(self, trainer: lightning.Trainer, module: "Learner") -> None:
        means = {name: total / self.count for name, total in self.sums.items()}
        self.loss = means["loss"]
        self._append(trainer, module, {"lr": trainer.optimizers[0].param_groups[0]["lr"], **means})
        self.sums, self.count = {}, 0

    def _append(self, trainer: lightning.Trainer, module: "Learner", values: Mapping[str, float]) -> None:
        self.table.append({"step": trainer.global_step, "elapsed_s": module.budget.elapsed_s(), **values})

    def _report_step(self, trainer: lightning.Trainer, module: "Learner", is_validated: bool = False) -> None:
        if self.on_step is None:
            return
        step, budget = trainer.global_step, module.budget
        loss = self.loss if self.loss is not None or not self.count else self.sums["loss"] / self.count
        self.on_step(RunningStep(budget.progress(step), step, budget.elapsed_s(), loss, self.val_dsc, is_validated))
