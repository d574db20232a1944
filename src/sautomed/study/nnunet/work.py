"""Training nnU-Net on a fold of ours, and predicting with it."""

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
from sautomed.inference.segmenting import choose_device
from sautomed.scans.files import require_writable, write_json
from sautomed.scans.paths import read_json
from sautomed.study.nnunet.process import carry_out, require_available
from sautomed.study.nnunet.raw import (
    NUMBER,
    bring_back,
    image_path,
    raw_name,
    write_image_alone,
    write_raw,
    write_split,
)
from sautomed.study.nnunet.settings import NnUNetSettings
from sautomed.training import Clock

_DONE = "nnunet.json"
_STOCK = NnUNetSettings()


@dataclass(frozen=True)
class Training:
    """A finished training.

    Attributes:
        model: Folder that nnU-Net's own commands take, within that of the training.
        cases: Ids that it was trained on.
        minutes: On the clock of the training, from the data to the model, of the attempt that came to the end.
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
    """What predicting took; seconds by case id."""

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
    """Hand the fold's cases over, plan, preprocess and train; what an earlier attempt finished is not done again.

    Args:
        folder: Of this training alone; nnU-Net's three folders come to lie there.
        minutes: From the data to the model; None trains the stock 1000 epochs, which an attempt that was interrupted
            goes on with.
        clock: What the minutes count: wall clock, or processor time. The latter leaves out the augmentation of workers,
            which there are on a GPU.
        seed: Of weights and patches; with workers for augmentation (GPU) it does not fix their order.
        device: auto, cpu or cuda.
    Raises:
        PackageMissing: nnU-Net is not installed.
        DataError: A case cannot be read.
        ExternalFailed: nnU-Net stopped, or the time was up before it began to train.
        UnwritableTarget.
    """
    if (folder / _DONE).is_file():
        return read_training(folder)
    require_available()
    require_writable(folder)
    began, computed, kind = time.monotonic(), time.process_time(), choose_device(device).type
    preprocessed = folder / "preprocessed" / raw_name(dataset)
    write_raw(dataset, (*fold.train, *fold.val), folder / "raw")
    write_split(fold, preprocessed)
    planned = carry_out("prepare", {"number": NUMBER, **settings.model_dump()}, folder, kind)
    own_s = time.process_time() - computed
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
    done = carry_out("train", job, folder, kind)
    computed_s = own_s + planned["processor_s"] + done["processor_s"]
    known = {
        "model": f"results/{raw_name(dataset)}/{done['model']}",
        "cases": list(fold.train),
        "minutes": round((time.monotonic() - began if clock == "wall" else computed_s) / 60, 2),
        "cpu_minutes": round(computed_s / 60, 2),
        "steps": done["steps"],
        "parameters": done["parameters"],
    }
    asked = {"minutes": minutes, "clock": clock, "seed": seed, **settings.model_dump()}
    write_json(folder / _DONE, {**known, "asked": asked})
    return read_training(folder)


def read_training(folder: Path) -> Training:
    """A finished training.

    Raises:
        NotAModel: No training came to its end there.
    """
    if not (folder / _DONE).is_file():
        raise NotAModel("holds no finished training of nnU-Net.", where=folder, cure="Train it first.")
    known = read_json(folder / _DONE, NotAModel)
    known = {name: value for name, value in known.items() if name != "asked"}
    return Training(**{**known, "folder": folder, "model": folder / known["model"], "cases": tuple(known["cases"])})


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
        cases: Ids of the data set, whether they were handed over for the training or not.
        on_case: Called after each case with (done, total, id); all come at the end, when nnU-Net's process is done.
    Raises:
        PackageMissing, ExternalFailed, DataError, UnwritableTarget.
    """
    require_available()
    require_writable(output)
    by_id = {case.id: case for case in dataset.cases}
    place = training.folder / "predicting"
    shutil.rmtree(place, ignore_errors=True)  # of an attempt that was interrupted
    place.mkdir(parents=True)
    for name in cases:
        write_image_alone(dataset, by_id[name], image_path(place, name))
    kind = choose_device(device).type
    job = {
        "model": str(training.model.absolute()),
        "scans": [str(image_path(place, name).absolute()) for name in cases],
        "predictions": [str((place / f"{name}.nii.gz").absolute()) for name in cases],
        "device": kind,
    }
    done = carry_out("predict", job, training.folder, kind)
    for count, name in enumerate(cases, start=1):
        bring_back(place / f"{name}.nii.gz", dataset, by_id[name], output / f"{name}.nii.gz")
        if on_case:
            on_case(count, len(cases), name)
    shutil.rmtree(place, ignore_errors=True)
    return Predicted(dict(zip(cases, done["seconds"], strict=True)), done["peak_bytes"], done["cuda_peak_bytes"])


def _budget(minutes: float, clock: Clock, spent_s: float, folder: Path) -> dict[str, Any]:
    """What planning and preprocessing left of the time, as the job says it; refused if that is nothing."""
    left_s = minutes * 60 - spent_s
    if left_s <= 0:
        raise ExternalFailed(
            f"nnU-Net's planning and preprocessing alone took longer than the {minutes:g} minutes that it was given.",
            where=folder,
            cure="Give more minutes.",
        )
    return {"seconds": left_s, "clock": clock, "sent": time.time()}
