"""The systems of this package in a study: trained by `train`, and led through each validation case."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from zipfile import is_zipfile

import numpy as np
import torch

from sautomed.errors import NotAModel
from sautomed.inference.bundle import load_bundle
from sautomed.inference.memory import forget_peak, peak_bytes
from sautomed.inference.segmenting import SegmentedSlice, choose_device, label_type, segment_slices
from sautomed.scans.files import write_json, write_text
from sautomed.scans.paths import read_json
from sautomed.scans.volume import LabelMap, Volume
from sautomed.study.costs import count_flops, count_parameters
from sautomed.study.systems import Listener, Segmented, System, Task, Trained
from sautomed.training.train import Callbacks, TrainingPlan, run_settings, train

log = logging.getLogger(__name__)


def train_own(task: Task, listener: Listener) -> Trained:
    """Train the fold, or go on with it, or find it done by another run that shares it."""
    if not is_trained(task.training):
        write_text(task.training.parent / "splits_final.json", task.splits.read_text(encoding="utf-8"))
        with _processor_time_kept(task.training / "spent.json"):
            train(_training_plan(task), Callbacks(listener.on_prepared, listener.on_step))
    metrics = read_json(task.training / "model" / "metrics.json", NotAModel)
    spent_s = _processor_s(task.training / "spent.json")
    cpu_minutes = None if spent_s is None else round(spent_s / 60, 2)
    return Trained(tuple(metrics["train_cases"]), metrics["steps"], metrics["minutes"], cpu_minutes)


def is_trained(training: Path) -> bool:
    """Whether a fold's training came to its end; the model card is the last that it writes."""
    return (training / "model" / "MODEL_CARD.md").is_file()


def _training_plan(task: Task) -> TrainingPlan:
    settings = task.run.train_settings
    if settings is None:
        raise TypeError(f"{task.run.preset} has no settings, so it is no system of this package")
    resume = _can_go_on(task.training / "checkpoints")
    if resume:  # with the walk that it began with, whichever run of those that share it came first then
        before = run_settings(task.training.parent, task.run.fold)
        settings = settings.model_copy(update={"segment": before.segment, "preset": before.preset})
    return TrainingPlan(
        dataset=task.data_folder,
        run=task.training.parent,
        settings=settings,
        fold=task.run.fold,
        seed=task.run.seed,
        max_minutes=task.minutes,
        clock=task.clock,
        resume=resume,
        device=task.device,
        layout=task.dataset.layout,
        train_cases=task.run.train_cases,
        prepared=task.prepared,
        score=False,  # the run segments and scores them anyway
    )


def _can_go_on(checkpoints: Path) -> bool:
    """Whether an earlier attempt left a checkpoint.

    Where one is cut short, as by a kill while it was copied from another drive, the training begins anew.
    """
    found = list(checkpoints.glob("*.ckpt"))
    if not all(map(is_zipfile, found)):
        log.warning("%s: a checkpoint is damaged, so this training begins anew", checkpoints)
        shutil.rmtree(checkpoints)
    return (checkpoints / "last.ckpt").is_file()


def _processor_s(path: Path) -> float | None:
    """What is written down; None where a kill came between the model and this."""
    return float(read_json(path, NotAModel)["processor_s"]) if path.is_file() else None


@contextmanager
def _processor_time_kept(path: Path) -> Iterator[None]:
    """Processor time of this process, added to that of earlier attempts; a killed attempt leaves none behind."""
    before = _processor_s(path) or 0.0
    began = time.process_time()
    try:
        yield
    finally:
        write_json(path, {"processor_s": round(before + time.process_time() - began, 1)})


def segment_own(task: Task, listener: Listener) -> Segmented:
    """Segment the fold's validation cases; the time of a volume is the median over them, as the first one warms up."""
    bundle, device = load_bundle(task.training / "model"), choose_device(task.device)
    network, settings = bundle.network.to(device), bundle.settings
    if task.run.settings is not None:
        settings = settings.model_copy(update={"segment": task.run.settings.segment})
    counted = count_parameters(network)
    network.requires_grad_(False)  # or PyTorch's counter of operations would look for gradients
    cases = {case.id: case for case in task.dataset.cases}
    seconds, peaks, cuda_peaks, flops = [], [], [], None
    for done, name in enumerate(task.fold.val, start=1):
        volume, truth = task.dataset.load(cases[name], settings.data.plane)
        told = truth if network.prompts != "none" else None
        forget_peak()
        began = time.monotonic()
        parts = list(segment_slices(network, volume, settings, bundle.labels, told))
        seconds.append(time.monotonic() - began)
        peaks.append(peak_bytes())
        if device.type == "cuda":
            cuda_peaks.append(torch.cuda.max_memory_allocated())
        if done == 1:
            flops = count_flops(network, volume, settings, bundle.labels, told)
        _write_case(task, name, volume, parts, bundle.labels)
        if listener.on_segmented:
            listener.on_segmented(done, len(task.fold.val), name)
    return Segmented(
        plane=str(settings.data.plane),
        prompts=network.prompts,
        seconds_per_volume=round(median(seconds), 3),
        peak_bytes=max(peaks),
        cuda_peak_bytes=max(cuda_peaks, default=None),
        parameters=counted.all,
        trained=counted.trained,
        flops_per_volume=flops,
    )


def _write_case(task: Task, case: str, volume: Volume, parts: list[SegmentedSlice], labels: dict[int, str]) -> None:
    whole = np.zeros(volume.array.shape, label_type(labels))
    for part in parts:
        whole[part.index] = part.labels
    LabelMap(whole, volume.affine, volume.native, volume.plane, dict(labels)).save(task.predictions / f"{case}.nii.gz")
    if any(part.boxes is not None for part in parts):
        write_json(task.prompts / f"{case}.json", {"slices": _boxes(parts, sorted(labels))})


def _boxes(parts: list[SegmentedSlice], values: list[int]) -> dict[str, dict[str, list[float]]]:
    """By slice and label value, the boxes that prompted, x0 y0 x1 y1 in native pixels; no entry for what had none."""
    found = {
        str(part.index): {
            str(value): [round(float(x), 2) for x in box]
            for value, box in zip(values, part.boxes, strict=True)
            if not np.isnan(box).any()
        }
        for part in sorted(parts, key=lambda part: part.index)
        if part.boxes is not None
    }
    return {index: boxes for index, boxes in found.items() if boxes}


OWN = System(train_own, segment_own)
