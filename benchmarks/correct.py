"""Measure what a person's corrections are worth: the error that is left after 1, 3, 5 and 10 of them.

    python benchmarks/correct.py MODEL DATASET [--slide-sam MODEL]

MODEL is a model folder of a system that goes slice by slice, DATASET the data set of its training. Each case that was
not trained on is walked once. Then a simulated person looks for the slice and organ with the most wrong pixels, gives
what is true of it, and looks again. In one table the person paints masks, in the other draws boxes; in both an organ
that is not in the slice is marked as not there. Errors are chosen and counted in the network's square; DSC and HD95
are those of the native grid. Painted pixels stay as painted on both. A model of Slide-SAM, trained on the same cases,
adds a row: it is given a true box of each organ from the start.
"""

import argparse
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
import torch.nn.functional as nnf
from torch import Tensor

from bench import machine, print_table
from sautomed.datasets import read_dataset
from sautomed.evaluation.conventions import CONVENTIONS
from sautomed.evaluation.measure import DEFAULT_TOLERANCE_MM, compare_labels
from sautomed.evaluation.metrics import OURS
from sautomed.inference.bundle import Bundle, load_bundle
from sautomed.inference.resize import consecutive
from sautomed.inference.view import NetworkView
from sautomed.model.boxes import boxes_of_masks
from sautomed.model.corrections import CorrectedWalk
from sautomed.model.given import GivenKind, GivenPrompts, gate_at_masks
from sautomed.model.slice_walker import SliceWalker
from sautomed.model.values import PredictedSlice
from sautomed.model.walk import Walk
from sautomed.model.walk_order import WALKS
from sautomed.scans.volume import LabelMap, Volume

SHOWN = (1, 3, 5, 10)  # corrections after which a case is scored
MEMORY_BYTES = 2**31
Update = Callable[[int, GivenPrompts], Iterable[PredictedSlice]]  # what a system makes of prompts for a slice


def travelling(walk: Walk) -> Update:
    """Return the update of a `CorrectedWalk`."""
    corrected = CorrectedWalk(walk, MEMORY_BYTES)

    def update(t: int, given: GivenPrompts) -> Iterable[PredictedSlice]:
        corrected.give(t, given)
        return corrected.changes()

    return update


def walking_on(walk: Walk) -> Update:
    """Return the update of the walk itself: the gate on the slice, and what its state carries from there."""

    def update(t: int, given: GivenPrompts) -> Iterable[PredictedSlice]:
        walk.give(t, given)
        return walk.resume(t, walk.state(t))

    return update


def that_slice_alone(walk: Walk) -> Update:
    """Return the update by which only the corrected slice changes."""

    def update(t: int, given: GivenPrompts) -> Iterable[PredictedSlice]:
        look = walk.look_again(t, given)
        return [replace(look.predicted, logits=gate_at_masks(look.ungated[None], given)[0])]

    return update


UPDATES: dict[str, Callable[[Walk], Update]] = {
    "travelling": travelling,
    "the walk's own state": walking_on,
    "that slice alone": that_slice_alone,
}


@dataclass
class Labels:
    """Classes of a case in the network's square and on the native grid, as predicted and as they are."""

    view: NetworkView
    true_native: Tensor
    spacing_mm: tuple[float, float, float]
    classes: int

    def __post_init__(self) -> None:
        self.true = self.view.truth(range(self.view.depth))
        self.found, self.native = torch.zeros_like(self.true), torch.zeros_like(self.true_native)

    def show(self, part: PredictedSlice, given: GivenPrompts | None) -> None:
        """Take over a slice; painted masks stay as they were painted."""
        t, logits = part.index, part.logits[None].float()
        square = nnf.interpolate(logits, self.true.shape[1:], mode="bilinear")[0]
        native = self.view.fit.to_native(logits)[0]
        for k in range(self.classes) if given is not None else ():
            if given.kinds[0, k] == GivenKind.MASK:
                for scores, true in ((square, self.true[t]), (native, self.true_native[t])):
                    scores[k + 1] = torch.where(true == k + 1, torch.inf, -torch.inf)
        self.found[t], self.native[t] = square.argmax(0), native.argmax(0)

    def wrong(self) -> Tensor:
        """Return the wrong pixels of each slice and organ in the network's square (d k)."""
        organs = range(1, self.classes + 1)
        return torch.stack([((self.found == k) != (self.true == k)).sum((1, 2)) for k in organs], 1)

    def errors_ml(self) -> Tensor:
        """Return the volume whose class is wrong, of each slice."""
        side_mm = max(n * mm for n, mm in zip(self.true_native.shape[1:], self.spacing_mm[1:], strict=True))
        pixel_mm2 = (side_mm / self.true.shape[-1]) ** 2
        return (self.found != self.true).sum((1, 2)) * pixel_mm2 * self.spacing_mm[0] / 1000

    def scores(self) -> tuple[float, float]:
        """Return DSC and HD95 in mm on the native grid, means over the organs."""
        pairs = compare_labels(
            self.native.numpy(), self.true_native.numpy(), range(1, self.classes + 1), self.spacing_mm
        )
        found = [CONVENTIONS[OURS].scores(pair, DEFAULT_TOLERANCE_MM) for _, pair in pairs]
        return tuple(float(np.nanmean([score[name] for score in found])) for name in ("dsc", "hd95_mm"))  # type: ignore[return-value]  # two names


@dataclass
class Course:
    """How a case went.

    Attributes:
        scores: (DSC, HD95 in mm, error in ml, error in ml on slices that nobody touched, and what it was there at the
            start) after the numbers of corrections in `SHOWN`, and before.
        rises_ml: Of updates that raised the total error, by how much.
        seconds: Of each update.
    """

    scores: dict[int, tuple[float, float, float, float, float]] = field(default_factory=dict)
    rises_ml: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)


def correct_case(labels: Labels, update: Update, paints: bool) -> Course:
    """Correct a case that was predicted; a slice and organ is corrected once."""
    course, given = Course(), dict[int, GivenPrompts]()
    start = before = labels.errors_ml()
    course.scores[0] = (*labels.scores(), float(start.sum()), float(start.sum()), float(start.sum()))
    corrected = torch.zeros(labels.view.depth, labels.classes, dtype=torch.bool)
    for number in range(1, max(SHOWN) + 1):
        t, k = divmod(int(labels.wrong().masked_fill(corrected, -1).argmax()), labels.classes)
        corrected[t, k] = True
        given[t] = with_truth(given.get(t), k, labels, t, paints)
        began = perf_counter()
        parts = list(update(t, given[t]))
        course.seconds.append(perf_counter() - began)
        for part in parts:
            labels.show(part, given.get(part.index))
        now = labels.errors_ml()
        if (rise := float(now.sum() - before.sum())) > 0:
            course.rises_ml.append(rise)
        before = now
        if number in SHOWN:
            untouched = torch.tensor([u not in given for u in range(labels.view.depth)])
            errors = (float(now.sum()), float(now[untouched].sum()), float(start[untouched].sum()))
            course.scores[number] = (*labels.scores(), *errors)
    return course


def with_truth(given: GivenPrompts | None, k: int, labels: Labels, t: int, paints: bool) -> GivenPrompts:
    """Return the prompts of a slice and, for class k, its true mask or box, or that it is not there."""
    mask = labels.true[t] == k + 1
    given = given or GivenPrompts.nothing(labels.classes, (mask.shape[0], mask.shape[1]))
    if paints or not mask.any():
        return given.mask(k, mask)
    return given.here(k, boxes_of_masks(mask[None, None])[0][0, 0])


def labels_of(bundle: Bundle, volume: Volume, truth: LabelMap) -> Labels:
    """Return the labels of a case of which nothing is predicted yet."""
    view = NetworkView(volume, bundle.settings.data, torch.device("cpu"), bundle.labels, truth)
    classes = consecutive(truth.array, sorted(bundle.labels), "truth")
    return Labels(view, torch.from_numpy(classes).long(), volume.spacing_mm, len(bundle.labels))


def courses_of(bundle: Bundle, volume: Volume, truth: LabelMap) -> dict[tuple[str, bool], Course]:
    """Return the course of a case by name of the update and whether the person paints."""
    if not isinstance(bundle.network, SliceWalker):
        raise SystemExit("This needs a system that goes slice by slice and can be given prompts.")
    chunk, courses = bundle.settings.segment.chunk, {}
    for name, make in UPDATES.items():
        for paints in (True, False):
            labels = labels_of(bundle, volume, truth)
            order = WALKS[bundle.settings.segment.walk](labels.view.depth)
            walk = Walk(bundle.network, labels.view, order, chunk, MEMORY_BYTES)
            for part in walk:
                labels.show(part, None)
            courses[name, paints] = correct_case(labels, make(walk), paints)
    return courses


def scores_of_slide_sam(bundle: Bundle, volume: Volume, truth: LabelMap) -> tuple[float, float, float]:
    """Return DSC, HD95 in mm and the error in ml of a system that takes true boxes from the start."""
    labels = labels_of(bundle, volume, truth)
    for part in bundle.network.predict(labels.view, bundle.settings.segment):
        labels.show(part, None)
    return (*labels.scores(), float(labels.errors_ml().sum()))


def rows_of(name: str, courses: Sequence[Course]) -> list[tuple[str, ...]]:
    """Return the rows of a table: means over cases; shares and percentages are of the sums."""
    updates = max(SHOWN) * len(courses)
    rises = [rise for course in courses for rise in course.rises_ml]
    raised = f"{len(rises)} of {updates}, at most by {max(rises):.2f} ml" if rises else f"0 of {updates}"
    seconds = f"{np.mean([s for course in courses for s in course.seconds]):.2f}"
    start = np.mean([course.scores[0] for course in courses], 0)
    rows = []
    for number in (0, *SHOWN):
        dsc, hd95, error, untouched, untouched_at_start = np.mean([course.scores[number] for course in courses], 0)
        gain = start[2] - error
        share = f"{100 * (untouched_at_start - untouched) / gain:.0f} %" if gain > 0 else "-"
        last = (raised, seconds) if number == max(SHOWN) else ("", "")
        figures = (f"{dsc:.4f}", f"{hd95:.1f}", f"{error:.1f}", f"{100 * gain / start[2]:.1f} %", share)
        rows.append((name, str(number), *figures, *last))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--slide-sam", type=Path, metavar="MODEL")
    chosen = parser.parse_args()
    bundle, dataset = load_bundle(chosen.model), read_dataset(chosen.dataset)
    trained_on = json.loads((chosen.model / "metrics.json").read_text(encoding="utf-8"))["train_cases"]
    cases = [case for case in dataset.cases if case.id not in trained_on]
    if not cases:
        raise SystemExit("Every case of the data set was trained on: give a model of a fold.")
    found, slide_sam = [], []
    for case in cases:
        volume, truth = dataset.load(case, bundle.settings.data.plane)
        found.append(courses_of(bundle, volume, truth))
        if chosen.slide_sam:
            slide_sam.append(scores_of_slide_sam(load_bundle(chosen.slide_sam), volume, truth))
    head = ("what is corrected", "corrections", "DSC", "HD95 (mm)", "error (ml)", "less than at first",
            "of it on untouched slices", "updates that made it worse", "seconds each")  # fmt: skip
    print(f"{machine()}; {len(cases)} cases")
    for paints, title in ((True, "Masks are painted"), (False, "Boxes are drawn")):
        print(f"\n{title}:\n")
        rows = [row for name in UPDATES for row in rows_of(name, [courses[name, paints] for courses in found])]
        if slide_sam and not paints:
            dsc, hd95, error = np.mean(slide_sam, 0)
            figures = (f"{dsc:.4f}", f"{hd95:.1f}", f"{error:.1f}")
            rows.append(("Slide-SAM, a true box of each organ", str(len(bundle.labels)), *figures, "", "", "", ""))
        print_table(head, rows)


if __name__ == "__main__":
    main()
