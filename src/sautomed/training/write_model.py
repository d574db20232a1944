"""The end of a training: its model folder and the scores of the validation cases."""

import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sautomed.evaluation import dice
from sautomed.inference.bundle import Bundle, save_bundle
from sautomed.inference.device import choose_device
from sautomed.inference.model_card import write_model_card
from sautomed.inference.segmenting import segment_volume
from sautomed.model.segmenter import Segmenter
from sautomed.scans.files import write_json
from sautomed.training.learner import Learner
from sautomed.training.plan import Callbacks, TrainingPlan
from sautomed.training.prepared_fold import PreparedFold


def write_model(learner: Learner, prepared: PreparedFold, plan: TrainingPlan, callbacks: Callbacks) -> Path:
    """Write the model folder, with the scores of the fold's validation cases on their native grids."""
    model = plan.folder / "model"
    dataset, settings = prepared.dataset, prepared.settings
    network = learner.best_model.to(choose_device(plan.device)).eval()  # Lightning leaves it on the CPU
    intensities = tuple(case.intensities for case in prepared.train)
    save_bundle(model, Bundle(network, settings, dataset.labels, dataset.channel, intensities))
    metrics = {
        "validation": score_cases(network, prepared, callbacks.on_scored) if plan.score else None,
        "steps": learner.global_step,
        "minutes": round(learner.budget.elapsed_s() / 60, 1),
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads",
        "train_cases": list(prepared.fold.train),
        "fold": plan.fold,
        "seed": plan.seed,
    }
    write_json(model / "metrics.json", metrics)
    write_model_card(model / "MODEL_CARD.md", dataset, settings, intensities, metrics)
    return model


def score_cases(
    network: Segmenter, prepared: PreparedFold, on_case: Callable[[int, int, str], None] | None = None
) -> dict[str, Any]:
    """Return the mean DSC per organ over the validation cases, on the native grid; None where no case has the organ.

    Args:
        on_case: Called with (done, total, case) after each case.
    """
    labels, cases = prepared.dataset.labels, {case.id: case for case in prepared.dataset.cases}
    rows = []
    for done, name in enumerate(prepared.fold.val, start=1):
        volume, truth = prepared.dataset.load(cases[name], prepared.settings.data.plane)
        found = segment_volume(network, volume, prepared.settings, labels, truth=truth)
        rows.append([dice(found.array == value, truth.array == value) for value in sorted(labels)])
        if on_case:
            on_case(done, len(prepared.fold.val), name)
    table = np.array(rows).reshape(-1, len(labels))
    means = {labels[value]: _mean(table[:, k]) for k, value in enumerate(sorted(labels))}
    return {
        "cases": list(prepared.fold.val),
        "dsc": means,
        "mean_dsc": _mean(np.array([m for m in means.values() if m is not None])),
    }


def _mean(values: np.ndarray) -> float | None:
    counted = values[~np.isnan(values)]
    return float(counted.mean()) if counted.size else None
