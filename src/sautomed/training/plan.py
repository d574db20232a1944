"""Request of a training, and the functions that are called with its progress."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sautomed.config import Settings
from sautomed.datasets.rules import NO_RULES, LabelRules
from sautomed.training.budget import Clock
from sautomed.training.checkpoint_files import checkpoint_folder, fold_folder
from sautomed.training.log import RunningStep
from sautomed.training.ranks import ALONE, Ranks


@dataclass(frozen=True)
class TrainingPlan:
    """Request of a training.

    Attributes:
        run: Folder of the run; a fold writes `run/fold_K`.
        layout: Of the data set, a key of `DATASETS`.
        rules: For label values and grids that do not fit.
        train_cases: Number of the fold's cases to train on, drawn by the seed. A larger sample contains a smaller one.
        max_minutes: From the command to the finished model, by `clock`, with earlier parts of a resumed training; the
            schedule is fitted to it.
        prepared: Folder for the prepared slices, which trainings of one data set may share, even at the same time; by
            default within the run.
        score: Segment and score the fold's validation cases at the end, on their native grids. A budget reserves time
            for it either way, so that the training is the same.
        ranks: Place of this process among those that train together. A step has `train.batch` runs on each of them.
    """

    dataset: Path
    run: Path
    settings: Settings
    fold: int | Literal["all"] = 0
    seed: int = 0
    max_minutes: float | None = None
    resume: bool = False
    device: str = "auto"
    layout: str = "auto"
    rules: LabelRules = NO_RULES
    train_cases: int | None = None
    prepared: Path | None = None
    clock: Clock = "wall"
    score: bool = True
    ranks: Ranks = ALONE

    @property
    def folder(self) -> Path:
        """Folder of the fold."""
        return fold_folder(self.run, self.fold)

    @property
    def last_checkpoint(self) -> Path:
        """Checkpoint that a resumed training starts from."""
        return checkpoint_folder(self.run, self.fold) / "last.ckpt"


@dataclass(frozen=True)
class Callbacks:
    """Functions to call with the progress: of prepared and of scored cases (done, total, case), and of steps."""

    on_case: Callable[[int, int, str], None] | None = None
    on_step: Callable[[RunningStep], None] | None = None
    on_scored: Callable[[int, int, str], None] | None = None


NO_CALLBACKS = Callbacks()
