"""Measure whether a trained 3D-SAutoMed obeys prompts: those given for a slice, and its state from the slices before.

    python benchmarks/walk_state.py MODEL DATASET

MODEL is a model folder of 3D-SAutoMed, DATASET the data set of its training. Each case that was not trained on is
walked from the middle to both ends with nothing given. Then its slices are predicted again with prompts and states that
contradict the image: true ones say what the image shows anyway, so a network that is deaf to them gives the same masks.

"Gate on" is the network in use, which enforces what is given for a slice; "gate off" is what it makes of its prompts by
itself; goals that the gate alone reaches are meant for the latter. Pixels are those of the network's resolution, and
each figure is counted over the slices of an organ in all cases ("times" in all), then averaged over the organs.
"""

import argparse
import json
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

import prompt_probes as probes
from bench import machine, print_table
from prompt_probes import WalkedCase
from sautomed.datasets import read_dataset
from sautomed.inference.bundle import load_bundle
from sautomed.inference.view import NetworkView
from sautomed.model.boxes import paired_iou
from sautomed.model.sautomed import SAutoMed

PLACES = (0.25, 0.5, 0.75)  # of an organ's slices, from its first to its last
ALIKE = 0.5  # IoU with the true box from which on a false box contradicts the image too little


@dataclass(frozen=True)
class Figure:
    """A row of the table."""

    asked: str
    counted: str
    goal: str = ""


CHANGE = "pixels that change, of all in either mask"
LEFT = "pixels left, of the unprompted"
BEYOND = "pixels beyond the cut, of the unprompted there"
LEAK = Figure("half of the true box", "pixels outside it, of the unprompted there", "<= 0.15")
INSIDE = Figure("half of the true box", "pixels inside it, of the unprompted there", "about 1")
GONE = Figure("not here", LEFT, "0")
MIRRORED = Figure("true box, mirrored", CHANGE, ">= 0.5")
PERMUTED = Figure("true boxes, permuted between the organs", CHANGE, ">= 0.5")
KEPT = {
    1: Figure("half of the true box, 1 slice before", BEYOND, "<= 0.05"),
    2: Figure("half of the true box, 2 slices before", BEYOND),
    3: Figure("half of the true box, 3 slices before", BEYOND, "<= 0.15"),
    5: Figure("half of the true box, 5 slices before", BEYOND, "<= 0.25"),
}
BACK = {1: Figure("not here, 1 slice before", LEFT), 3: Figure("not here, 3 slices before", LEFT)}
ENDS = Figure("nothing, on an organ's first and last two slices", "DSC of a slice", ">= 0.74")
ENDS_WITH_BOX = Figure("true box, on an organ's first and last two slices", "DSC of a slice", ">= 0.86")
WALK = Figure("nothing", "DSC of a case")
CHANGES: dict[str, probes.ChangeState] = {
    "previous boxes mirrored": probes.mirrored_boxes,
    "previous boxes permuted": probes.permuted_boxes,
    "previous boxes removed": probes.no_boxes,
    "history removed": probes.no_history,
    "state mirrored": probes.mirrored_state,
    "state permuted": probes.permuted_state,
    "state removed": probes.no_state,
    "true boxes of the slice before": probes.true_boxes_before,
    "true boxes of the slice itself": probes.true_boxes_here,
}
ON_A_SLICE = {name: Figure(f"{name}, on one slice", "pixels that change, of the foreground") for name in CHANGES}
ON_THE_WALK = {name: Figure(f"{name}, on every slice", "DSC of a case") for name in CHANGES}
FIGURES = (
    LEAK, INSIDE, GONE, MIRRORED, PERMUTED, *KEPT.values(), *BACK.values(), ENDS, ENDS_WITH_BOX,
    *ON_A_SLICE.values(), WALK, *ON_THE_WALK.values(),
)  # fmt: skip


class Counts:
    """Counts behind every figure, for each organ."""

    def __init__(self) -> None:
        self._pairs: dict[Figure, dict[int, list[tuple[float, float]]]] = defaultdict(lambda: defaultdict(list))

    def add(self, figure: Figure, organ: int, part: float | Tensor, whole: float | Tensor = 1.0) -> None:
        """Add a part and its whole; where the whole is nothing, there is nothing to count."""
        if whole > 0:
            self._pairs[figure][organ].append((float(part), float(whole)))

    def times(self, figure: Figure) -> int:
        """Return how often it was counted."""
        return sum(map(len, self._pairs[figure].values()))

    def mean(self, figure: Figure) -> str:
        """Return the sum of the parts over that of the wholes, averaged over the organs."""
        ratios = [sum(p for p, _ in pairs) / sum(w for _, w in pairs) for pairs in self._pairs[figure].values()]
        return f"{sum(ratios) / len(ratios):.4f}" if ratios else "-"


def count_given(case: WalkedCase, counts: Counts) -> None:
    """Count all that depends on the gate."""
    for k, slices in case.slices.items():
        for t in inner(slices):
            count_false_prompts(case, t, k, counts)
            count_following(case, t, k, counts)
        for t in ends(slices):
            classes, _ = case.prompted(t, [case.nothing_given().here(k, case.boxes[t, k])])
            counts.add(ENDS_WITH_BOX, k, dice(classes[0] == k + 1, case.truth[t] == k + 1))


def count_false_prompts(case: WalkedCase, t: int, k: int, counts: Counts) -> None:
    """Give class k on slice t half of its box, no place at all, its mirrored box, or the box of another class."""
    size, nothing, box = case.truth.shape[-2:], case.nothing_given(), case.boxes[t, k]
    boxes = [half.box for half in probes.halves(box, size)]
    mirrored, swapped = probes.mirrored(box), probes.permuted(case.boxes[t], case.present[t])
    all_swapped = nothing
    for c in case.present[t].nonzero()[:, 0].tolist():
        all_swapped = all_swapped.here(c, swapped[c])
    given = [nothing.not_here(k), nothing.here(k, mirrored), all_swapped, *(nothing.here(k, b) for b in boxes)]
    removed, moved, exchanged, *cut = case.prompted(t, given)[0] == k + 1
    before = case.unprompted[t] == k + 1
    counts.add(GONE, k, removed.sum(), before.sum())
    for figure, false_box, mask in ((MIRRORED, mirrored, moved), (PERMUTED, swapped[k], exchanged)):
        if paired_iou(false_box, box)[0] < ALIKE:
            counts.add(figure, k, (mask ^ before).sum(), (mask | before).sum())
    for half, mask in zip(boxes, cut, strict=True):
        within = probes.inside(half, size)
        counts.add(LEAK, k, (mask & ~within).sum(), (before & ~within).sum())
        counts.add(INSIDE, k, (mask & within).sum(), (before & within).sum())


def count_following(case: WalkedCase, t: int, k: int, counts: Counts) -> None:
    """Cut or remove class k on slice t, and walk on with nothing given."""
    nothing, cuts = case.nothing_given(), probes.halves(case.boxes[t, k], case.truth.shape[-2:])
    _, state = case.prompted(t, [nothing.not_here(k), *(nothing.here(k, half.box) for half in cuts)])
    for n, later in enumerate(case.following(t)[: max(*KEPT, *BACK)], 1):
        classes, state = case.predict(later, state)
        removed, *cut = classes == k + 1
        before, true = case.unprompted[later] == k + 1, case.truth[later] == k + 1
        if n in BACK and true.any():
            counts.add(BACK[n], k, removed.sum(), before.sum())
        for half, mask in zip(cuts, cut, strict=True):
            if n in KEPT and (true & half.beyond).any():
                counts.add(KEPT[n], k, (mask & half.beyond).sum(), (before & half.beyond).sum())


def count_unprompted(case: WalkedCase, counts: Counts) -> None:
    """Count all for which nothing is given: the walk as it is, and with changed states."""
    for k, slices in case.slices.items():
        for t in ends(slices):
            counts.add(ENDS, k, dice(case.unprompted[t] == k + 1, case.truth[t] == k + 1))
    count_dice(case, case.unprompted, WALK, counts)
    visited = {t for slices in case.slices.values() for t in inner(slices)}
    for name, change in CHANGES.items():
        for t in visited - {case.middle}:  # before the middle there is no state to change
            classes, _ = case.predict(t, change(case, t, case.states[t]))
            before = case.unprompted[t]
            counts.add(ON_A_SLICE[name], 0, (classes[0] != before).sum(), (before > 0).sum())
        count_dice(case, probes.walk_with(case, change), ON_THE_WALK[name], counts)


def count_dice(case: WalkedCase, classes: Tensor, figure: Figure, counts: Counts) -> None:
    """Count the DSC of each organ of a whole case."""
    for k in case.slices:
        counts.add(figure, k, dice(classes == k + 1, case.truth == k + 1))


def inner(slices: list[int]) -> set[int]:
    """Return an organ's slices at `PLACES`."""
    return {slices[round(place * (len(slices) - 1))] for place in PLACES}


def ends(slices: list[int]) -> set[int]:
    """Return an organ's first and last two slices."""
    return {*slices[:2], *slices[-2:]}


def dice(predicted: Tensor, truth: Tensor) -> Tensor:
    """Return the DSC of two masks, of which the second has pixels."""
    return 2 * (predicted & truth).sum() / (predicted.sum() + truth.sum())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("dataset", type=Path)
    chosen = parser.parse_args()
    bundle, dataset = load_bundle(chosen.model), read_dataset(chosen.dataset)
    network, settings = bundle.network, bundle.settings
    if not isinstance(network, SAutoMed):
        raise SystemExit("This needs a model of 3D-SAutoMed: other systems have no prompts to obey.")
    trained_on = json.loads((chosen.model / "metrics.json").read_text(encoding="utf-8"))["train_cases"]
    cases = [case for case in dataset.cases if case.id not in trained_on]
    gate_on, gate_off = Counts(), Counts()
    for case in cases:
        volume, truth = dataset.load(case, settings.data.plane)
        view = NetworkView(volume, settings.data, torch.device("cpu"), bundle.labels, truth)
        walked = WalkedCase(network, view, settings.segment.chunk)
        count_unprompted(walked, gate_off)
        for enforces, counts in ((True, gate_on), (False, gate_off)):
            network.enforces_given = enforces
            count_given(walked, counts)
    print(machine())
    print(f"{len(cases)} cases, {len(bundle.labels)} organs")
    rows = [(f.asked, f.counted, gate_on.mean(f), gate_off.mean(f), f.goal, str(gate_off.times(f))) for f in FIGURES]
    print_table(("given, or changed", "counted", "gate on", "gate off", "goal", "times"), rows)


if __name__ == "__main__":
    main()
