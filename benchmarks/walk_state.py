"""Measure whether a trained 3D-SAutoMed obeys its prompts: given ones, its own previous boxes, and its whole state.

    python benchmarks/walk_state.py MODEL DATASET

MODEL is a model folder of 3D-SAutoMed, DATASET the data set of its training. Each case that was not trained on is
walked from the middle to both ends, with the network's own predictions as state. Then its slices are asked again with
prompts that contradict the image, since true ones say only what the image shows anyway. "Gate on": what is given is
enforced on the masks, as in use. "Gate off": the masks that the network makes of its prompts by itself; a network that
is deaf to them gives what it gives without. Everything is counted at the network's resolution, for each organ over its
slices and cases; a figure is the mean over the organs.
"""

import argparse
import json
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from bench import machine, print_table
from prompt_probes import (
    ChangeState,
    Half,
    WalkedCase,
    halves,
    inside,
    mirrored,
    mirrored_state,
    permuted,
    permuted_state,
    with_mirrored_boxes,
    with_permuted_boxes,
    without_boxes,
)
from sautomed.datasets import read_dataset
from sautomed.inference.bundle import load_bundle
from sautomed.inference.view import NetworkView
from sautomed.model.boxes import paired_iou
from sautomed.model.sautomed import SAutoMed
from sautomed.model.values import Seen, SliceState

PLACES = (0.25, 0.5, 0.75)  # of an organ's slices, from its first to its last
LIKE = 0.5  # IoU from which on two boxes are too much alike for their masks to differ


@dataclass(frozen=True)
class Figure:
    """A row of the table."""

    asked: str
    counted: str
    goal: str = ""


CHANGED = "pixels that change, of either mask"
HALF = Figure("half of the true box", "pixels outside, of unprompted ones there", "<= 0.15 gate off")
NOT_HERE = Figure("not here", "pixels left, of unprompted ones", "0")
MIRRORED = Figure("true box, mirrored", CHANGED, ">= 0.5")
PERMUTED = Figure("true boxes, permuted", CHANGED, ">= 0.5")
AFTER_HALF = {
    n: Figure(f"half of the true box, {n} before", "pixels beyond the cut, of unprompted ones", goal)
    for n, goal in {1: "<= 0.05", 2: "", 3: "<= 0.15", 5: "<= 0.25"}.items()
}
AFTER_NOT_HERE = {n: Figure(f"not here, {n} before", "pixels left, of unprompted ones") for n in (1, 3)}
ENDS = Figure("nothing, first and last two slices", "DSC", ">= 0.74")
ENDS_TRUE_BOX = Figure("true box, first and last two slices", "DSC", ">= 0.86")
STATE_CHANGES: dict[Figure, Callable[[SliceState], SliceState]] = {
    Figure(f"previous {what}", "pixels that change, of the foreground"): change
    for what, change in {
        "boxes mirrored": with_mirrored_boxes,
        "boxes permuted": with_permuted_boxes,
        "boxes removed": without_boxes,
        "state mirrored": mirrored_state,
        "state permuted": permuted_state,
    }.items()
}
STATE_REMOVED = Figure("previous state removed", "pixels that change, of the foreground")
UNPROMPTED = Figure("nothing", "DSC of the walk")
WALKS = {
    name: Figure(f"nothing, {name}", "DSC of the walk")
    for name in ("boxes removed", "history removed", "state removed", "true boxes before", "true boxes here")
}
FIGURES = (
    HALF, NOT_HERE, MIRRORED, PERMUTED, *AFTER_HALF.values(), *AFTER_NOT_HERE.values(), ENDS, ENDS_TRUE_BOX,
    *STATE_CHANGES, STATE_REMOVED, UNPROMPTED, *WALKS.values(),
)  # fmt: skip


class Answers:
    """Counts of every figure, for each organ."""

    def __init__(self) -> None:
        self._counts: dict[Figure, dict[int, list[tuple[float, float]]]] = defaultdict(lambda: defaultdict(list))

    def add(self, figure: Figure, organ: int, part: float | Tensor, whole: float | Tensor = 1.0) -> None:
        """Count a part of a whole; nothing, where there is no whole."""
        if whole > 0:
            self._counts[figure][organ].append((float(part), float(whole)))

    def number(self, figure: Figure) -> int:
        """Return how often it was counted."""
        return sum(map(len, self._counts[figure].values()))

    def mean(self, figure: Figure) -> str:
        """Return the mean over the organs of all parts by all wholes."""
        ratios = [sum(p for p, _ in pairs) / sum(w for _, w in pairs) for pairs in self._counts[figure].values()]
        return f"{sum(ratios) / len(ratios):.4f}" if ratios else "-"


def ask_slice(case: WalkedCase, t: int, k: int, answers: Answers) -> None:
    """Contradict the image on slice t by what is given for class k."""
    size, (box, before) = case.truth.shape[-2:], (case.boxes[t, k], case.unprompted[t] == k + 1)
    cuts, nothing = halves(box, size), case.nothing_given()
    other = nothing
    swapped = permuted(case.boxes[t], case.present[t])
    for c in case.present[t].nonzero()[:, 0].tolist():
        other = other.here(c, swapped[c])
    boxes = [half.box for half in cuts] + [mirrored(box)]
    given = [*(nothing.here(k, b) for b in boxes), other, nothing.not_here(k)]
    masks = case.prompted(t, given)[0] == k + 1
    for half, mask in zip(cuts, masks, strict=False):
        outside = ~inside(half.box, size)
        answers.add(HALF, k, (mask & outside).sum(), (before & outside).sum())
    for figure, given_box, mask in ((MIRRORED, mirrored(box), masks[-3]), (PERMUTED, swapped[k], masks[-2])):
        if paired_iou(given_box, box)[0] < LIKE:
            answers.add(figure, k, (mask ^ before).sum(), (mask | before).sum())
    answers.add(NOT_HERE, k, masks[-1].sum(), before.sum())


def ask_following(case: WalkedCase, t: int, k: int, answers: Answers) -> None:
    """Cut or remove class k on slice t, and look at the slices that the walk visits next, for which nothing is given."""
    cuts, nothing = halves(case.boxes[t, k], case.truth.shape[-2:]), case.nothing_given()
    _, state = case.prompted(t, [*(nothing.here(k, half.box) for half in cuts), nothing.not_here(k)])
    for n, later in enumerate(case.following(t)[: max(AFTER_HALF)], 1):
        classes, state = case.predict(later, state)
        masks, before, true = classes == k + 1, case.unprompted[later] == k + 1, case.truth[later] == k + 1
        if n in AFTER_HALF:
            for half, mask in zip(cuts, masks, strict=False):
                if (true & half.beyond).any():
                    answers.add(AFTER_HALF[n], k, (mask & half.beyond).sum(), (before & half.beyond).sum())
        if n in AFTER_NOT_HERE and true.any():
            answers.add(AFTER_NOT_HERE[n], k, masks[-1].sum(), before.sum())


def ask_ends(case: WalkedCase, k: int, slices: list[int], answers: Answers) -> None:
    """Give class k its true box on the first and last two slices that have it."""
    for t in sorted({*slices[:2], *slices[-2:]}):
        classes, _ = case.prompted(t, [case.nothing_given().here(k, case.boxes[t, k])])
        answers.add(ENDS_TRUE_BOX, k, dice(classes[0] == k + 1, case.truth[t] == k + 1))


def ask_given(case: WalkedCase, answers: Answers) -> None:
    """Ask all that depends on the gate."""
    for k, slices in slices_of_organs(case).items():
        for t in places(slices):
            ask_slice(case, t, k, answers)
            ask_following(case, t, k, answers)
        ask_ends(case, k, slices, answers)


def ask_unprompted(case: WalkedCase, answers: Answers) -> None:
    """Ask what the walk is worth, and what becomes of it when its state is changed."""
    organs = slices_of_organs(case)
    count_dice(case, case.unprompted, UNPROMPTED, answers)
    for k, slices in organs.items():
        for t in sorted({*slices[:2], *slices[-2:]}):
            answers.add(ENDS, k, dice(case.unprompted[t] == k + 1, case.truth[t] == k + 1))
    start = case.network.start(1)
    for t in sorted({t for slices in organs.values() for t in places(slices)} - {case.middle}):
        state, before = case.states[t], case.unprompted[t]
        for figure, changed in {**{f: c(state) for f, c in STATE_CHANGES.items()}, STATE_REMOVED: start}.items():
            answers.add(figure, 0, (case.predict(t, changed)[0][0] != before).sum(), (before > 0).sum())
    for figure, change in walk_changes(case).items():
        count_dice(case, case.walked_with(change), figure, answers)


def walk_changes(case: WalkedCase) -> dict[Figure, ChangeState]:
    """Return the changes of the state before every slice of a walk, by its figure."""
    start = case.network.start(1)

    def from_truth(state: SliceState, t: int) -> SliceState:
        return replace(state, boxes=case.boxes[[t]], seen=Seen.of(case.present[[t]]))

    def true_before(t: int, state: SliceState) -> SliceState:
        steps_back = 0 if t == case.middle else (-1 if t > case.middle else 1)
        return from_truth(state, t + steps_back) if steps_back else state

    return {
        WALKS["boxes removed"]: lambda t, state: without_boxes(state),
        WALKS["history removed"]: lambda t, state: replace(state, history=start.history),
        WALKS["state removed"]: lambda t, state: start,
        WALKS["true boxes before"]: true_before,
        WALKS["true boxes here"]: lambda t, state: from_truth(state, t),
    }


def count_dice(case: WalkedCase, predicted: Tensor, figure: Figure, answers: Answers) -> None:
    for k in slices_of_organs(case):
        answers.add(figure, k, dice(predicted == k + 1, case.truth == k + 1))


def slices_of_organs(case: WalkedCase) -> dict[int, list[int]]:
    """Return the slices that have each class; 0 is the first organ."""
    slices = {k: case.present[:, k].nonzero()[:, 0].tolist() for k in range(case.network.classes)}
    return {k: ts for k, ts in slices.items() if ts}


def places(slices: list[int]) -> list[int]:
    """Return an organ's slices at `PLACES`."""
    return sorted({slices[round(place * (len(slices) - 1))] for place in PLACES})


def dice(predicted: Tensor, truth: Tensor) -> Tensor:
    """Return the DSC of two masks, of which one has pixels."""
    return 2 * (predicted & truth).sum() / (predicted.sum() + truth.sum())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("dataset", type=Path)
    chosen = parser.parse_args()
    bundle, dataset = load_bundle(chosen.model), read_dataset(chosen.dataset)
    network, settings = bundle.network, bundle.settings
    if not isinstance(network, SAutoMed):
        raise SystemExit("This needs a model of 3D-SAutoMed: other systems have no prompts that carry on.")
    trained_on = json.loads((chosen.model / "metrics.json").read_text(encoding="utf-8"))["train_cases"]
    cases = [case for case in dataset.cases if case.id not in trained_on]
    on, off = Answers(), Answers()
    for case in cases:
        volume, truth = dataset.load(case, settings.data.plane)
        view = NetworkView(volume, settings.data, torch.device("cpu"), bundle.labels, truth)
        walked = WalkedCase(network, view, settings.segment.chunk)
        for enforced, answers in ((True, on), (False, off)):
            network.enforces_given = enforced
            ask_given(walked, answers)
        ask_unprompted(walked, off)
    print(machine())
    print(f"{len(cases)} cases, {len(bundle.labels)} organs")
    rows = [(f.asked, f.counted, on.mean(f), off.mean(f), f.goal, str(off.number(f))) for f in FIGURES]
    print_table(("given, or changed", "counted", "gate on", "gate off", "goal", "times"), rows)


if __name__ == "__main__":
    main()
