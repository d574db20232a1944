"""The systems of this package in a study: trained by the verb `train`, applied by the loop of the verb `segment`."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import numpy as np
import torch

from sautomed.errors import NotAModel
from sautomed.inference.bundle import load_bundle
from sautomed.inference.device import choose_device
from sautomed.inference.memory import peak_bytes, reset_peak
from sautomed.inference.segmenting import SegmentedSlice, label_type, segment_slices
from sautomed.scans.files import write_json, write_text
from sautomed.scans.paths import read_json
from sautomed.scans.volume import LabelMap, Volume
from sautomed.study.costs import count_flops, count_parameters
from sautomed.study.folder import is_trained
from sautomed.study.system_adapter import Listener, RunTask, SegmentedFold, SystemAdapter, Trained
from sautomed.training.checkpoint_files import damaged, newest_whole
from sautomed.training.plan import Callbacks, TrainingPlan
from sautomed.training.prepared_fold import run_settings
from sautomed.training.train import train

log = logging.getLogger(__name__)


def train_own(task: RunTask, listener: Listener) -> Trained:
    """Train the fold or resume its training, unless another run that shares it has finished it."""
    if not is_trained(task.training):
        write_text(task.training.parent / "splits_final.json", task.splits.read_text(encoding="utf-8"))
        with _processor_time_recorded(task.training / "spent.json"):
            train(_training_plan(task), Callbacks(listener.on_prepared, listener.on_step))
    metrics = read_json(task.training / "model" / "metrics.json", NotAModel)
    spent_s = _read_processor_s(task.training / "spent.json")
    cpu_minutes = None if spent_s is None else round(spent_s / 60, 2)
    return Trained(tuple(metrics["train_cases"]), metrics["steps"], metrics["minutes"], cpu_minutes)


def _training_plan(task: RunTask) -> TrainingPlan:
    settings = task.run.train_settings
    if settings is None:
        raise TypeError(f"{task.run.preset} has no settings, so it is no system of this package")
    resume = _has_checkpoint(task.training / "checkpoints")
    if resume:  # keep the walk that the training began with, even if the file now puts another run of it first
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


def _has_checkpoint(checkpoints: Path) -> bool:
    """Whether an earlier attempt left a checkpoint to resume from.

    Deletes all checkpoints if one is damaged: without the best one, a resumed training would differ from others.
    """
    if damaged(checkpoints):
        log.warning("%s: a checkpoint is damaged, so this training begins anew", checkpoints)
        shutil.rmtree(checkpoints)
    return newest_whole(checkpoints) is not None


def _read_processor_s(path: Path) -> float | None:
    """Return the recorded seconds; None if the process was killed after writing the model and before this file."""
    return float(read_json(path, NotAModel)["processor_s"]) if path.is_file() else None


@contextmanager
def _processor_time_recorded(path: Path) -> Iterator[None]:
    """Add this process's processor time during the block to that of earlier attempts; killed attempts leave none."""
    before = _read_processor_s(path) or 0.0
    began = time.process_time()
    try:
        yield
    finally:
        write_json(path, {"processor_s": round(before + time.process_time() - began, 1)})


def segment_own(task: RunTask, listener: Listener) -> SegmentedFold:
    """Segment the fold's validation cases. Takes the median of their times, as the first one is slower."""
    bundle, device = load_bundle(task.training / "model"), choose_device(task.device)
    network, settings = bundle.network.to(device), bundle.settings
    if task.run.settings is not None:
        settings = settings.model_copy(update={"segment": task.run.settings.segment})
    counts = count_parameters(network)
    network.requires_grad_(False)  # or PyTorch's counter of operations would look for gradients
    cases = {case.id: case for case in task.dataset.cases}
    seconds, peaks, cuda_peaks, flops = [], [], [], None
    for done, name in enumerate(task.fold.val, start=1):
        volume, truth = task.dataset.load(cases[name], settings.data.plane)
        prompt_truth = truth if network.prompts != "none" else None
        reset_peak()
        began = time.monotonic()
        slices = list(segment_slices(network, volume, settings, bundle.labels, prompt_truth))
        seconds.append(time.monotonic() - began)
        peaks.append(peak_bytes())
        if device.type == "cuda":
            cuda_peaks.append(torch.cuda.max_memory_allocated())
        if done == 1:
            flops = count_flops(network, volume, settings, bundle.labels, prompt_truth)
        _write_case(task, name, volume, slices, bundle.labels)
        if listener.on_segmented:
            listener.on_segmented(done, len(task.fold.val), name)
    return SegmentedFold(
        plane=str(settings.data.plane),
        prompts=network.prompts,
        seconds_per_volume=round(median(seconds), 3),
        peak_bytes=max(peaks),
        cuda_peak_bytes=max(cuda_peaks, default=None),
        parameters=counts.all,
        trained=counts.trained,
        flops_per_volume=flops,
    )


def _write_case(task: RunTask, case: str, volume: Volume, slices: list[SegmentedSlice], labels: dict[int, str]) -> None:
    array = np.zeros(volume.array.shape, label_type(labels))
    for segmented in slices:
        array[segmented.index] = segmented.labels
    label_map = LabelMap(array, volume.affine, volume.native, volume.plane, dict(labels))
    label_map.save(task.predictions / f"{case}.nii.gz")
    if any(segmented.boxes is not None for segmented in slices):
        write_json(task.prompts / f"{case}.json", {"slices": _prompt_boxes(slices, sorted(labels))})


def _prompt_boxes(slices: list[SegmentedSlice], values: list[int]) -> dict[str, dict[str, list[float]]]:
    """Return the boxes that prompted, x0 y0 x1 y1 in native pixels, by slice and label value; only those that exist."""
    by_slice = {
        str(segmented.index): {
            str(value): [round(float(x), 2) for x in box]
            for value, box in zip(values, segmented.boxes, strict=True)
            if not np.isnan(box).any()
        }
        for segmented in sorted(slices, key=lambda segmented: segmented.index)
        if segmented.boxes is not None
    }
    return {index: boxes for index, boxes in by_slice.items() if boxes}


OWN_ADAPTER = SystemAdapter(train_own, segment_own)
