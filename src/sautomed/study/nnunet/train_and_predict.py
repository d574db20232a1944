"""Train nnU-Net on one of our folds, and predict with it."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sautomed.datasets import Dataset
from sautomed.datasets.folds import Fold
from sautomed.errors import ExternalFailed, NotAModel
from sautomed.inference.device import choose_device
from sautomed.scans.files import require_writable, write_json
from sautomed.scans.paths import read_json
from sautomed.study.nnunet.process import require_available, run_step
from sautomed.study.nnunet.raw import (
    NUMBER,
    convert_prediction,
    image_path,
    raw_name,
    write_raw,
    write_scan,
    write_split,
)
from sautomed.study.nnunet.settings import NnUNetSettings
from sautomed.training.budget import Clock

_DONE = "nnunet.json"  # written last
_STOCK = NnUNetSettings()


@dataclass(frozen=True)
class Training:
    """A finished training.

    Attributes:
        folder: Folder of the training.
        model: Folder within it, for nnU-Net's own commands, too.
        cases: Ids of the cases that it was trained on.
        minutes: From the data to the model, on the clock of the training; of the last attempt only.
        cpu_minutes: Processor time, nnU-Net's processes included.
        steps: Iterations of the optimiser.
    """

    folder: Path
    model: Path
    cases: tuple[str, ...]
    minutes: float
    cpu_minutes: float
    steps: int
    parameters: int


@dataclass(frozen=True)
class Predicted:
    """Costs of predicting; seconds by case id."""

    seconds: dict[str, float]
    peak_bytes: int
    cuda_peak_bytes: int | None


def train(
    dataset: Dataset,
    fold: Fold,
    folder: Path,
    *,
    minutes: float | None = None,
    clock: Clock = "wall",
    seed: int = 0,
    device: str = "auto",
    settings: NnUNetSettings = _STOCK,
) -> Training:
    """Write the fold's cases in nnU-Net's layout, plan, preprocess and train; do nothing after a finished training.

    Args:
        folder: Folder of this training alone, for nnU-Net's three folders, too.
        minutes: From the data to the model; None trains the stock 1000 epochs, and resumes an interrupted attempt.
        clock: What the minutes count: wall clock, or processor time. The latter leaves out the augmentation in workers,
            which run on machines with a GPU.
        seed: Of weights and patches; with workers for augmentation (GPU) it does not fix their order.
        device: auto, cpu or cuda.
    Raises:
        PackageMissing: nnU-Net is not installed.
        DataError: A case cannot be read.
        ExternalFailed: nnU-Net stopped, or planning and preprocessing took all of the time.
        UnwritableTarget: `folder` cannot be written to.
    """
    if (folder / _DONE).is_file():
        return read_training(folder)
    require_available()
    require_writable(folder)
    began, began_processor, kind = time.monotonic(), time.process_time(), choose_device(device).type
    preprocessed = folder / "preprocessed" / raw_name(dataset)
    write_raw(dataset, (*fold.train, *fold.val), folder / "raw")
    write_split(fold, preprocessed)
    planned = run_step("prepare", {"number": NUMBER, **settings.model_dump()}, folder, kind)
    own_s = time.process_time() - began_processor
    spent_s = time.monotonic() - began if clock == "wall" else own_s + planned["processor_s"]
    job = {
        "data": str(preprocessed.absolute()),
        "configuration": settings.configuration,
        "plans": planned["plans"],
        "device": kind,
        "seed": seed,
        "budget": None if minutes is None else _budget(minutes, clock, spent_s, folder),
        "resume": minutes is None and any(folder.glob("results/*/*/fold_0/checkpoint_latest.pth")),
    }
    done = run_step("train", job, folder, kind)
    processor_s = own_s + planned["processor_s"] + done["processor_s"]
    training = {
        "model": f"results/{raw_name(dataset)}/{done['model']}",
        "cases": list(fold.train),
        "minutes": round((time.monotonic() - began if clock == "wall" else processor_s) / 60, 2),
        "cpu_minutes": round(processor_s / 60, 2),
        "steps": done["steps"],
        "parameters": done["parameters"],
    }
    asked = {"minutes": minutes, "clock": clock, "seed": seed, **settings.model_dump()}
    write_json(folder / _DONE, {**training, "asked": asked})
    return read_training(folder)


def read_training(folder: Path) -> Training:
    """Read a finished training.

    Raises:
        NotAModel: The folder holds no finished training.
    """
    if not (folder / _DONE).is_file():
        raise NotAModel(
            "holds no finished training of nnU-Net.",
            where=folder,
            cure="Train it first, with nnunet.train or in a study.",
        )
    entries = read_json(folder / _DONE, NotAModel)
    entries = {name: value for name, value in entries.items() if name != "asked"}
    replaced = {"folder": folder, "model": folder / entries["model"], "cases": tuple(entries["cases"])}
    return Training(**{**entries, **replaced})


def predict(
    training: Training,
    dataset: Dataset,
    cases: Sequence[str],
    output: Path,
    *,
    device: str = "auto",
    on_case: Callable[[int, int, str], None] | None = None,
) -> Predicted:
    """Write `output`/CASE.nii.gz: label maps with our values on the scans' grids, each atomically.

    Args:
        cases: Ids of the data set, used in the training or not.
        on_case: Called with (done, total, id) for each case, after nnU-Net's process has predicted all of them.
    Raises:
        PackageMissing: nnU-Net is not installed.
        ExternalFailed: nnU-Net stopped, or predicted an unknown class.
        DataError: A scan cannot be read, or a prediction is not on its grid.
        UnwritableTarget: `output` cannot be written to.
    """
    require_available()
    require_writable(output)
    by_id = {case.id: case for case in dataset.cases}
    work = training.folder / "predicting"
    shutil.rmtree(work, ignore_errors=True)  # of an interrupted attempt
    work.mkdir(parents=True)
    for name in cases:
        write_scan(dataset, by_id[name], image_path(work, name))
    kind = choose_device(device).type
    job = {
        "model": str(training.model.absolute()),
        "scans": [str(image_path(work, name).absolute()) for name in cases],
        "predictions": [str((work / f"{name}.nii.gz").absolute()) for name in cases],
        "device": kind,
    }
    done = run_step("predict", job, training.folder, kind)
    for count, name in enumerate(cases, start=1):
        convert_prediction(work / f"{name}.nii.gz", dataset, by_id[name], output / f"{name}.nii.gz")
        if on_case:
            on_case(count, len(cases), name)
    shutil.rmtree(work, ignore_errors=True)
    return Predicted(dict(zip(cases, done["seconds"], strict=True)), done["peak_bytes"], done["cuda_peak_bytes"])


def _budget(minutes: float, clock: Clock, spent_s: float, folder: Path) -> dict[str, Any]:
    """Return the time that planning and preprocessing left, for the job; raises ExternalFailed if there is none."""
    left_s = minutes * 60 - spent_s
    if left_s <= 0:
        raise ExternalFailed(
            f"nnU-Net's planning and preprocessing alone took longer than the {minutes:g} minutes of its training.",
            where=folder,
            cure=f"Give more than {spent_s / 60:.1f} minutes.",
        )
    return {"seconds": left_s, "clock": clock, "sent": time.time()}
