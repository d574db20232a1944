"""The end of a training: its model folder, the scores of the validation cases, and what predicts such scores."""

import platform
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sautomed.evaluation import dice
from sautomed.inference.bundle import Bundle, save_bundle, write_predictor
from sautomed.inference.confidence.assess import Reference, case_signals
from sautomed.inference.confidence.pooling import SignalCollector
from sautomed.inference.confidence.predictor import DscPredictor, fit_predictor
from sautomed.inference.confidence.shape import OrganSize
from sautomed.inference.device import choose_device
from sautomed.inference.engine import computes_bf16
from sautomed.inference.engine.bf16 import in_bf16
from sautomed.inference.engine.bf16_check import Bf16Check
from sautomed.inference.model_card import write_model_card
from sautomed.inference.segmenting import label_map_of, segment_slices
from sautomed.model.segmenter import Segmenter
from sautomed.scans.files import write_json
from sautomed.training.learner import Learner
from sautomed.training.plan import Callbacks, TrainingPlan
from sautomed.training.prepared_fold import PreparedFold

OnScored = Callable[[int, int, str], None]  # done, total, case


@dataclass
class ScoredCases:
    """Validation cases as the model segments them.

    Attributes:
        cases: Their ids.
        organs: In the order of their label values.
        dsc: Of each case and organ, on the native grid; nan where neither mask has a voxel.
        signals: Of each case, for the organs that were found.
    """

    cases: list[str]
    organs: list[str]
    dsc: list[list[float]] = field(default_factory=list)
    signals: list[dict[str, dict[str, float]]] = field(default_factory=list)

    @property
    def dsc_of_organs(self) -> dict[str, float | None]:
        """Mean DSC of each organ over the cases; None where no case has it."""
        table = np.array(self.dsc).reshape(-1, len(self.organs))
        return {organ: _mean(table[:, k]) for k, organ in enumerate(self.organs)}

    @property
    def mean_dsc(self) -> float | None:
        """Mean over the organs."""
        return _mean(np.array([dsc for dsc in self.dsc_of_organs.values() if dsc is not None]))

    def as_metrics(self) -> dict[str, Any]:
        """Return what metrics.json says of them."""
        return {"cases": self.cases, "dsc": self.dsc_of_organs, "mean_dsc": self.mean_dsc}

    def predictor(self) -> DscPredictor | None:
        """Fit what predicts the DSC; None if nothing was found."""
        rows = [
            (signals[organ], dsc)
            for scores, signals in zip(self.dsc, self.signals, strict=True)
            for organ, dsc in zip(self.organs, scores, strict=True)
            if organ in signals
        ]
        return fit_predictor([signals for signals, _ in rows], [dsc for _, dsc in rows], len(self.cases))


def write_model(learner: Learner, prepared: PreparedFold, plan: TrainingPlan, callbacks: Callbacks) -> Path:
    """Write the model folder, with the scores of the fold's validation cases on their native grids."""
    model = plan.folder / "model"
    dataset, settings = prepared.dataset, prepared.settings
    network = learner.best_model.to(choose_device(plan.device)).eval()  # Lightning leaves it on the CPU
    intensities, sizes = tuple(case.intensities for case in prepared.train), training_sizes(prepared)
    save_bundle(model, Bundle(network, settings, dataset.labels, dataset.channel, intensities, sizes))
    scored, bf16 = _scores(network, prepared, sizes, plan, callbacks.on_scored) if plan.score else (None, None)
    predictor = None if scored is None else scored.predictor()
    if predictor is not None:
        write_predictor(model, predictor)
    metrics = {
        "validation": None if scored is None else scored.as_metrics(),
        "bf16": None if bf16 is None else bf16.model_dump(),
        "steps": learner.global_step,
        "minutes": round(learner.budget.elapsed_s() / 60, 1),
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads",
        "train_cases": list(prepared.fold.train),
        "fold": plan.fold,
        "seed": plan.seed,
    }
    write_json(model / "metrics.json", metrics)
    write_model_card(model / "MODEL_CARD.md", dataset, settings, intensities, metrics, predictor)
    return model


def scoring_passes(device: torch.device) -> int:
    """Return how often the validation cases are segmented at the end: in bf16 too, where the device computes in it."""
    return 2 if computes_bf16(device) else 1


def _scores(
    network: Segmenter, prepared: PreparedFold, sizes: Reference, plan: TrainingPlan, on_scored: OnScored | None
) -> tuple[ScoredCases, Bf16Check | None]:
    """Score the validation cases, and compare the scores with those in bf16."""
    passes = scoring_passes(choose_device(plan.device))
    scored = score_cases(network, prepared, sizes, _pass(on_scored, 0, passes))
    if passes == 1 or not scored.cases:
        return scored, None
    again = score_cases(in_bf16(network), prepared, sizes, _pass(on_scored, 1, passes))
    return scored, Bf16Check.of(again.dsc_of_organs, again.mean_dsc, scored.mean_dsc)


def _pass(on_scored: OnScored | None, number: int, passes: int) -> OnScored | None:
    """Return the callback for one of several passes over the cases."""
    return on_scored and (lambda done, total, case: on_scored(number * total + done, passes * total, case))


def training_sizes(prepared: PreparedFold) -> tuple[dict[str, OrganSize], ...]:
    """Return the sizes of the organs that each training case shows."""
    organs = [organ for _, organ in sorted(prepared.dataset.labels.items())]
    return tuple(
        {
            organ: OrganSize(*row.tolist())
            for organ, row in zip(organs, case.organ_sizes, strict=True)
            if not np.isnan(row).any()
        }
        for case in prepared.train
    )


def score_cases(
    network: Segmenter,
    prepared: PreparedFold,
    sizes: Reference,
    on_case: OnScored | None = None,
) -> ScoredCases:
    """Segment the validation cases and score them on their native grids.

    Args:
        sizes: Of the organs in the training cases.
        on_case: Called with (done, total, case) after each case.
    """
    labels, cases = prepared.dataset.labels, {case.id: case for case in prepared.dataset.cases}
    scored = ScoredCases(list(prepared.fold.val), [organ for _, organ in sorted(labels.items())])
    for done, name in enumerate(prepared.fold.val, start=1):
        volume, truth = prepared.dataset.load(cases[name], prepared.settings.data.plane)
        collector = SignalCollector(labels)
        parts = segment_slices(network, volume, prepared.settings, labels, truth)
        found = label_map_of(parts, volume, labels, collector.add)
        scored.dsc.append([dice(found.array == value, truth.array == value) for value in sorted(labels)])
        scored.signals.append(case_signals(found, collector, sizes))
        if on_case:
            on_case(done, len(prepared.fold.val), name)
    return scored


def _mean(values: np.ndarray) -> float | None:
    counted = values[~np.isnan(values)]
    return float(counted.mean()) if counted.size else None
