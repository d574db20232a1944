"""What a study asks of every system: to train on a fold, then to segment its validation cases.

`own_adapter` does this for the systems of this package, `nnunet_adapter` for nnU-Net's own package.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sautomed.datasets import Dataset
from sautomed.datasets.folds import Fold
from sautomed.study.plan import PlannedRun
from sautomed.study.report.runs import Prompts
from sautomed.training.budget import Clock
from sautomed.training.log import RunningStep

OnCase = Callable[[int, int, str], None]  # cases done, cases in all, id of the case


@dataclass(frozen=True)
class Listener:
    """Functions that are called while one run is carried out."""

    on_prepared: OnCase | None = None
    on_segmented: OnCase | None = None
    on_scored: OnCase | None = None
    on_step: Callable[[RunningStep], None] | None = None


@dataclass(frozen=True)
class RunTask:
    """A run with everything that an adapter needs.

    Attributes:
        data_folder: Folder of the data set, as given.
        fold: The whole fold; `run.train_cases` gives how many of its training cases are used.
        splits: File of the folds of all systems, in nnU-Net's format.
        prepared: Folder of prepared slices, shared by the trainings of this data set.
        training: Folder of this fold's training.
        output: Folder of the run.
        minutes: Length of the training on `clock`; None trains by steps.
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
    """Training cases and costs of a training.

    Attributes:
        cases: Ids of the cases that it was trained on.
        minutes: On the clock of the study's minutes.
        cpu_minutes: Processor time of all threads together; None if a killed process lost it.
    """

    cases: tuple[str, ...]
    steps: int | None = None
    minutes: float | None = None
    cpu_minutes: float | None = None


@dataclass(frozen=True)
class SegmentedFold:
    """Costs of segmenting the fold's validation cases; fields as in `report.runs.Costs`.

    Attributes:
        plane: Plane of the slices.
        prompts: What the system was given from the truth.
    """

    plane: str
    prompts: Prompts
    seconds_per_volume: float
    peak_bytes: int | None = None
    cuda_peak_bytes: int | None = None
    parameters: int | None = None
    trained: int | None = None
    flops_per_volume: float | None = None


@dataclass(frozen=True)
class SystemAdapter:
    """Two functions through which a study runs a system.

    Attributes:
        train: Leaves a model in `task.training`; continues an interrupted attempt, and does nothing after a finished
            one.
        segment: Writes `task.predictions`/CASE.nii.gz on the scans' grids for every validation case, and
            `task.prompts`/CASE.json if boxes prompted it.
    """

    train: Callable[[RunTask, Listener], Trained]
    segment: Callable[[RunTask, Listener], SegmentedFold]
