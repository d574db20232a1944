"""How a run's system is trained and applied: ours by this package's own verbs, others by a line in `external.EXTERNAL`.

An external system is named by its preset. It takes the fold and the folder of the data set, and leaves label maps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sautomed.datasets import Dataset
from sautomed.datasets.folds import Fold
from sautomed.study.report.runs import Prompts
from sautomed.training import Clock
from sautomed.training.log import RunningStep

if TYPE_CHECKING:
    from sautomed.study.plan import PlannedRun

OnCase = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Listener:
    """Who hears of the progress; the first three count cases."""

    on_prepared: OnCase | None = None
    on_segmented: OnCase | None = None
    on_scored: OnCase | None = None
    on_step: Callable[[RunningStep], None] | None = None


@dataclass(frozen=True)
class Task:
    """A run with everything that it needs.

    Attributes:
        data_folder: Of the data set, as it was given.
        fold: With all its training cases; `run.train_cases` says how many of them are used.
        splits: The folds of all systems, in nnU-Net's format.
        prepared: Where the trainings of this data set share prepared slices.
        training: Folder of this fold's training.
        output: Folder of the run.
        minutes: Of the training, counted by `clock`; None goes by steps.
    """

    run: PlannedRun
    data_folder: Path
    dataset: Dataset
    fold: Fold
    splits: Path
    prepared: Path
    training: Path
    output: Path
    minutes: float | None
    clock: Clock
    device: str

    @property
    def predictions(self) -> Path:
        return self.output / "predictions"

    @property
    def prompts(self) -> Path:
        return self.output / "prompts"


@dataclass(frozen=True)
class Trained:
    """What a training took.

    Attributes:
        minutes: On the clock of the study's minutes.
        cpu_minutes: Processor time, all threads together; None where a kill lost it.
    """

    cases: tuple[str, ...]
    steps: int | None = None
    minutes: float | None = None
    cpu_minutes: float | None = None


@dataclass(frozen=True)
class Segmented:
    """What segmenting the fold's validation cases showed and took; fields as in `report.study.runs.Costs`."""

    plane: str
    prompts: Prompts
    seconds_per_volume: float
    peak_bytes: int | None = None
    cuda_peak_bytes: int | None = None
    parameters: int | None = None
    trained: int | None = None
    flops_per_volume: float | None = None


@dataclass(frozen=True)
class System:
    """The two things that a study asks of a system.

    Attributes:
        train: Leaves a model in `task.training`; goes on where an earlier attempt stopped, and does nothing where one
            was finished.
        segment: Writes `task.predictions`/CASE.nii.gz on the scans' grids for every validation case, and
            `task.prompts`/CASE.json where boxes prompted it.
    """

    train: Callable[[Task, Listener], Trained]
    segment: Callable[[Task, Listener], Segmented]
