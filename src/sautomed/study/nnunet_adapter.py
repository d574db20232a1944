"""nnU-Net in a study."""

from __future__ import annotations

from statistics import median

from sautomed.study import nnunet
from sautomed.study.nnunet.settings import read_changes
from sautomed.study.system_adapter import Listener, RunTask, SegmentedFold, SystemAdapter, Trained
from sautomed.training.prepared_fold import fewer_cases


def train_nnunet(task: RunTask, listener: Listener) -> Trained:
    """Train nnU-Net on the fold. Its progress goes to nnunet.log in the training's folder, not to the listener."""
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


def segment_nnunet(task: RunTask, listener: Listener) -> SegmentedFold:
    """Segment the fold's validation cases; times and memory are those of nnU-Net's process."""
    training = nnunet.read_training(task.training)
    predicted = nnunet.predict(
        training,
        task.dataset,
        task.fold.val,
        task.predictions,
        device=task.device,
        on_case=listener.on_segmented,
    )
    return SegmentedFold(
        plane="axial",
        prompts="none",
        seconds_per_volume=round(median(predicted.seconds.values()), 3),
        peak_bytes=predicted.peak_bytes,
        cuda_peak_bytes=predicted.cuda_peak_bytes,
        parameters=training.parameters,
        trained=training.parameters,
    )


NNUNET_ADAPTER = SystemAdapter(train_nnunet, segment_nnunet)
