"""What is a trained model's memory worth? The walk again with parts of its state taken away, or told by the truth.

    python benchmarks/walk_state.py MODEL DATASET

MODEL is a model folder of 3D-SAutoMed with boxes and history, DATASET what it was trained on. The cases that it was not
trained on are walked from the middle to both ends, once for each row. If telling the true box of the very slice changes
nothing, the decoder does not listen to its prompts.
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bench import machine, print_table
from sautomed.datasets import read_dataset
from sautomed.inference.bundle import Bundle, load_bundle
from sautomed.inference.segmenting import NetworkView, segment_volume
from sautomed.model.boxes import boxes_of_labels
from sautomed.model.sautomed import SAutoMed
from sautomed.model.segmenter import SharedFeatures, SliceState, StepOutput
from sautomed.model.walk_order import mid_to_ends
from sautomed.scans.volume import LabelMap, Volume

CHANGES = {
    "as it is": "own state",
    "no box": "every class as if absent on the previous slice",
    "no history": "history tokens of t = 0",
    "no state": "neither",
    "true box before": "boxes and presence of the previous slice from the truth",
    "true box here": "those of the very slice",
}


@dataclass
class Told:
    """Stands in for `SAutoMed.step`: changes the state of each step before it is used."""

    network: SAutoMed
    change: str
    boxes: Tensor  # (d k 4) of the truth
    present: Tensor  # (d k)
    steps: Iterator[tuple[int, ...]]

    def __call__(self, shared: SharedFeatures, state: SliceState) -> StepOutput:
        return SAutoMed.step(self.network, shared, self._changed(state, next(self.steps)))

    def _changed(self, state: SliceState, slices: tuple[int, ...]) -> SliceState:
        start = self.network.start(len(slices))
        if self.change == "no box":
            return replace(state, present=start.present)
        if self.change == "no history":
            return replace(state, history=start.history)
        if self.change == "no state":
            return start
        middle = len(self.boxes) // 2
        if self.change == "as it is" or (self.change == "true box before" and slices == (middle,)):
            return state
        towards = [0 if self.change == "true box here" else (-1 if t > middle else 1) for t in slices]
        rows = [t + back for t, back in zip(slices, towards, strict=True)]
        return replace(state, boxes=self.boxes[rows], present=self.present[rows])


def dice(found: LabelMap, truth: LabelMap) -> float:
    """Mean over the organs that the truth has."""
    values = [k for k in truth.names if (truth.array == k).any()]
    pairs = [(found.array == k, truth.array == k) for k in values]
    return float(np.mean([2 * (a & b).sum() / (a.sum() + b.sum()) for a, b in pairs]))


def walk(bundle: Bundle, volume: Volume, truth: LabelMap, change: str) -> float:
    """The DSC of a scan whose walk was changed in this way."""
    network, settings, labels = bundle.network, bundle.settings, bundle.labels
    if not isinstance(network, SAutoMed):
        raise SystemExit("this is no model of 3D-SAutoMed")
    view = NetworkView(volume, settings.data, torch.device("cpu"), labels, truth)
    steps = iter([step.slices for step in mid_to_ends(view.depth)])
    boxes, present = boxes_of_labels(view.truth(range(view.depth)), network.classes, 1)
    network.step = Told(network, change, boxes, present, steps)
    try:
        return dice(segment_volume(network, volume, settings, labels), truth)
    finally:
        del network.step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("dataset", type=Path)
    chosen = parser.parse_args()
    bundle, dataset = load_bundle(chosen.model), read_dataset(chosen.dataset)
    learned = json.loads((chosen.model / "metrics.json").read_text(encoding="utf-8"))["train_cases"]
    scores: dict[str, list[float]] = {change: [] for change in CHANGES}
    for case in (case for case in dataset.cases if case.id not in learned):
        volume, truth = dataset.load(case, bundle.settings.data.plane)
        for change in CHANGES:
            scores[change].append(walk(bundle, volume, truth, change))
    usual = float(np.mean(scores["as it is"]))
    rows = [
        (change, said, f"{np.mean(scores[change]):.4f}", f"{np.mean(scores[change]) / usual:.3f}")
        for change, said in CHANGES.items()
    ]
    print(machine())
    print_table(("the walk", "state of each slice", "mean DSC", "of the first"), rows)


if __name__ == "__main__":
    main()
