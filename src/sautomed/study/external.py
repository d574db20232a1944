"""The systems of a study that come in packages of their own, by the name that stands for their preset."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from statistics import median
from types import MappingProxyType

from sautomed.study import nnunet
from sautomed.study.nnunet.settings import read_changes
from sautomed.study.systems import Listener, Segmented, System, Task, Trained
from sautomed.training.train import fewer_cases


def check_changes(preset: str, changes: Iterable[str]) -> None:
    """Refuse what an external system cannot be told, before anything runs. Raises UnknownSetting."""
    _READ_CHANGES[preset](changes)


def train_nnunet(task: Task, listener: Listener) -> Trained:
    """nnU-Net on the fold; what happens in its process is in the training's nnunet.log, nothing is heard of it here."""
    training = nnunet.train(
        task.dataset,
        fewer_cases(task.fold, task.run.train_cases, task.run.seed),
        task.training,
        minutes=task.minutes,
        clock=task.clock,
        seed=task.run.seed,
        device=task.device,
        settings=read_changes(task.run.changes),
    )
    return Trained(training.cases, training.steps, training.minutes, training.cpu_minutes)


def segment_nnunet(task: Task, listener: Listener) -> Segmented:
    """The fold's validation cases, and what they took in nnU-Net's process."""
    training = nnunet.read_training(task.training)
    predicted = nnunet.predict(
        training,
        task.dataset,
        task.fold.val,
        task.predictions,
        device=task.device,
        on_case=listener.on_segmented,
    )
    return Segmented(
        plane="axial",
        prompts="none",
        seconds_per_volume=round(median(predicted.seconds.values()), 3),
        peak_bytes=predicted.peak_bytes,
        cuda_peak_bytes=predicted.cuda_peak_bytes,
        parameters=training.parameters,
        trained=training.parameters,
    )


EXTERNAL: Mapping[str, System] = MappingProxyType({"nnunet": System(train_nnunet, segment_nnunet)})
_READ_CHANGES = MappingProxyType({"nnunet": read_changes})
