"""Measure what boxes and history are worth to a trained model: its DSC with parts of the state replaced.

    python benchmarks/walk_state.py MODEL DATASET

MODEL is a model folder of 3D-SAutoMed with boxes and history, DATASET the data set of its training. Each case that was
not trained on is walked from the middle to both ends, once for each row. If the true box of the slice itself changes
nothing, the decoder does not use its prompts.
"""

import argparse
import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bench import machine, print_table
from sautomed.datasets import read_dataset
from sautomed.inference.bundle import Bundle, load_bundle
from sautomed.inference.view import NetworkView, label_type
from sautomed.model.boxes import boxes_of_labels
from sautomed.model.sautomed import SAutoMed
from sautomed.model.values import Seen, SliceState
from sautomed.model.walk import Walk
from sautomed.model.walk_order import WALKS
from sautomed.scans.volume import LabelMap, Volume

CHANGES = {
    "as it is": "own state",
    "no box": "every class as if absent on the previous slice",
    "no history": "history tokens of t = 0",
    "no state": "neither",
    "true box before": "boxes and presence of the previous slice from the truth",
    "true box here": "boxes and presence of the slice itself from the truth",
}


@dataclass(frozen=True)
class Truth:
    """Boxes and presence of every slice of a case."""

    boxes: Tensor  # (d k 4)
    present: Tensor  # (d k)


def changed_state(network: SAutoMed, walk: Walk, change: str, truth: Truth) -> SliceState:
    """Return the state before the next step, with one change of `CHANGES`."""
    state, slices = walk.upcoming_state, walk.upcoming
    start = network.start(len(slices))
    if change == "no box":
        return replace(state, seen=torch.full_like(state.seen, Seen.ABSENT))
    if change == "no history":
        return replace(state, history=start.history)
    if change == "no state":
        return start
    middle = walk.depth // 2
    if change == "as it is" or (change == "true box before" and slices == (middle,)):
        return state
    steps_back = [0 if change == "true box here" else (-1 if t > middle else 1) for t in slices]
    rows = [t + back for t, back in zip(slices, steps_back, strict=True)]
    return replace(state, boxes=truth.boxes[rows], seen=Seen.of(truth.present[rows]))


def dice(predicted: LabelMap, truth: LabelMap) -> float:
    """Return the mean DSC over the organs that the truth has."""
    values = [k for k in truth.names if (truth.array == k).any()]
    pairs = [(predicted.array == k, truth.array == k) for k in values]
    return float(np.mean([2 * (a & b).sum() / (a.sum() + b.sum()) for a, b in pairs]))


def score(bundle: Bundle, volume: Volume, truth: LabelMap, change: str) -> float:
    """Return the DSC of a scan that is walked with one change of `CHANGES`."""
    network, settings, labels = bundle.network, bundle.settings, bundle.labels
    if not isinstance(network, SAutoMed):
        raise SystemExit("This needs a model of 3D-SAutoMed: other systems carry no state from slice to slice.")
    view = NetworkView(volume, settings.data, torch.device("cpu"), labels, truth)
    walk = Walk(network, view, WALKS["mid_to_ends"](view.depth), settings.segment.chunk)
    true = Truth(*boxes_of_labels(view.truth(range(view.depth)), network.classes, 1))
    predicted = np.zeros(volume.array.shape, label_type(labels))
    while walk.upcoming:
        for part in walk.step(changed_state(network, walk, change, true)):
            predicted[part.index] = view.labels_of(part)
    return dice(replace(truth, array=predicted), truth)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("dataset", type=Path)
    chosen = parser.parse_args()
    bundle, dataset = load_bundle(chosen.model), read_dataset(chosen.dataset)
    trained_on = json.loads((chosen.model / "metrics.json").read_text(encoding="utf-8"))["train_cases"]
    scores: dict[str, list[float]] = {change: [] for change in CHANGES}
    for case in (case for case in dataset.cases if case.id not in trained_on):
        volume, truth = dataset.load(case, bundle.settings.data.plane)
        for change in CHANGES:
            scores[change].append(score(bundle, volume, truth, change))
    usual = float(np.mean(scores["as it is"]))
    rows = [
        (change, meaning, f"{np.mean(scores[change]):.4f}", f"{np.mean(scores[change]) / usual:.3f}")
        for change, meaning in CHANGES.items()
    ]
    print(machine())
    print_table(("the walk", "state of each slice", "mean DSC", "of the first"), rows)


if __name__ == "__main__":
    main()
