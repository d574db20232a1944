"""Measure what a person's corrections are worth: the error that is left after 1, 3, 5 and 10 of them.

    python benchmarks/correct.py MODEL DATASET [--slide-sam MODEL]

MODEL is a model folder of a system that goes slice by slice, DATASET the data set of its training. Each case that was
not trained on is opened as a session (`sautomed.edit`). Then a simulated person looks for the slice and organ with the
most wrong pixels, gives what is true of it, and looks again. In one table the person paints masks, in the other draws
boxes; in both an organ that is not in the slice is marked as absent. Everything is chosen, given and counted on the
scan's own grid. A model of Slide-SAM, trained on the same cases, adds a row: it is given a true box of each organ from
the start.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter

import numpy as np
import torch

import sautomed
from bench import machine, print_table
from sautomed.datasets import read_dataset
from sautomed.evaluation.conventions import CONVENTIONS
from sautomed.evaluation.measure import DEFAULT_TOLERANCE_MM, compare_labels
from sautomed.evaluation.metrics import OURS
from sautomed.inference.prompts.runs import box_of_mask
from sautomed.inference.segmenting import segment_volume
from sautomed.scans.volume import LabelMap, Volume

SHOWN = (1, 3, 5, 10)  # corrections after which a case is scored
UPDATES = {"travelling": True, "that slice alone": False}  # whether what is given is propagated


@dataclass
class Course:
    """How a case went.

    Attributes:
        scores: (DSC, HD95 in mm, error in ml, error in ml on slices that nobody touched, and what it was there at the
            start) after the numbers of corrections in `SHOWN`, and before.
        rises_ml: Of updates that raised the total error, by how much.
        first_s: Seconds until the corrected slice is shown.
        seconds: Of each update with all its slices.
    """

    scores: dict[int, tuple[float, float, float, float, float]] = field(default_factory=dict)
    rises_ml: list[float] = field(default_factory=list)
    first_s: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)


def correct_case(session: sautomed.Session, truth: LabelMap, paints: bool, travels: bool) -> Course:
    """Correct a case; a slice and organ is corrected once. All is undone at the end."""
    course, values = Course(), sorted(session.organs)
    touched, corrected = set[int](), np.zeros((session.depth, len(values)), bool)
    start = before = errors_ml(session, truth)
    course.scores[0] = (*scores_of(session.labels, truth), start.sum(), start.sum(), start.sum())
    for number in range(1, max(SHOWN) + 1):
        wrong = np.stack([((session.labels.array == v) != (truth.array == v)).sum((1, 2)) for v in values], 1)
        t, k = np.unravel_index(np.where(corrected, -1, wrong).argmax(), wrong.shape)
        corrected[t, k] = True
        touched.add(int(t))
        began = perf_counter()
        give_truth(session, int(t), session.organs[values[k]], truth.array[t] == values[k], paints)
        course.first_s.append(perf_counter() - began)
        if travels:
            list(session.propagate(int(t)))
        course.seconds.append(perf_counter() - began)
        now = errors_ml(session, truth)
        if (rise := float(now.sum() - before.sum())) > 0:
            course.rises_ml.append(rise)
        before = now
        if number in SHOWN:
            untouched = np.array([u not in touched for u in range(session.depth)])
            errors = (float(now.sum()), float(now[untouched].sum()), float(start[untouched].sum()))
            course.scores[number] = (*scores_of(session.labels, truth), *errors)
    while session.can_undo:
        session.undo()
    return course


def give_truth(session: sautomed.Session, t: int, organ: str, true: np.ndarray, paints: bool) -> None:
    """Give what is true of an organ on a slice: its mask or box, or that it is absent."""
    box = box_of_mask(true)
    if box is None:
        session.absent(t, organ)
    elif paints:
        session.erase(t, organ, ~true)
        session.paint(t, organ, true)
    else:
        session.give_box(t, organ, box)


def errors_ml(session: sautomed.Session, truth: LabelMap) -> np.ndarray:
    """Return the volume whose label is wrong, of each slice."""
    wrong = [np.count_nonzero(session.label_slice(t) != truth.array[t]) for t in range(session.depth)]
    return np.array(wrong) * np.prod(truth.spacing_mm) / 1000


def scores_of(labels: LabelMap, truth: LabelMap) -> tuple[float, float]:
    """Return DSC and HD95 in mm, means over the organs."""
    pairs = compare_labels(labels.array, truth.array, sorted(labels.names), truth.spacing_mm)
    found = [CONVENTIONS[OURS].scores(pair, DEFAULT_TOLERANCE_MM) for _, pair in pairs]
    return tuple(float(np.nanmean([score[name] for score in found])) for name in ("dsc", "hd95_mm"))  # type: ignore[return-value]  # two names


def scores_of_slide_sam(model: sautomed.Model, volume: Volume, truth: LabelMap) -> tuple[float, float, float]:
    """Return DSC, HD95 in mm and the error in ml of a system that takes true boxes from the start."""
    labels = segment_volume(model.network, volume, model.settings, model.labels, truth=truth)
    wrong = np.count_nonzero(labels.array != truth.array) * np.prod(truth.spacing_mm) / 1000
    return (*scores_of(labels, truth), float(wrong))


def rows_of(name: str, courses: Sequence[Course]) -> list[tuple[str, ...]]:
    """Return the rows of a table: means over cases; shares and percentages are of the sums."""
    updates = max(SHOWN) * len(courses)
    rises = [rise for course in courses for rise in course.rises_ml]
    raised = f"{len(rises)} of {updates}, at most by {max(rises):.2f} ml" if rises else f"0 of {updates}"
    first, seconds = (
        f"{np.mean([s for course in courses for s in found(course)]):.2f}"
        for found in (lambda course: course.first_s, lambda course: course.seconds)
    )
    start = np.mean([course.scores[0] for course in courses], 0)
    rows = list[tuple[str, ...]]()
    for number in (0, *SHOWN):
        dsc, hd95, error, untouched, untouched_at_start = np.mean([course.scores[number] for course in courses], 0)
        gain = start[2] - error
        share = f"{100 * (untouched_at_start - untouched) / gain:.0f} %" if gain > 0 else "-"
        last = (raised, first, seconds) if number == max(SHOWN) else ("", "", "")
        figures = (f"{dsc:.4f}", f"{hd95:.1f}", f"{error:.1f}", f"{100 * gain / start[2]:.1f} %", share)
        rows.append((name, str(number), *figures, *last))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--slide-sam", type=Path, metavar="MODEL")
    chosen = parser.parse_args()
    model, dataset = sautomed.load(chosen.model, "cpu"), read_dataset(chosen.dataset)
    slide_sam = None if chosen.slide_sam is None else sautomed.load(chosen.slide_sam, "cpu")
    trained_on = json.loads((chosen.model / "metrics.json").read_text(encoding="utf-8"))["train_cases"]
    cases = [case for case in dataset.cases if case.id not in trained_on]
    if not cases:
        raise SystemExit("Every case of the data set was trained on: give a model of a fold.")
    found: dict[tuple[str, bool], list[Course]] = {(name, paints): [] for name in UPDATES for paints in (True, False)}
    from_the_start = []
    for case in cases:
        volume, truth = dataset.load(case, model.settings.data.plane)
        session = sautomed.edit(model, volume)
        for (name, paints), courses in found.items():
            courses.append(correct_case(session, truth, paints, UPDATES[name]))
        if slide_sam is not None:
            from_the_start.append(scores_of_slide_sam(slide_sam, volume, truth))
    head = ("what is corrected", "corrections", "DSC", "HD95 (mm)", "error (ml)", "less than at first",
            "of it on untouched slices", "updates that made it worse", "seconds: that slice", "all slices")  # fmt: skip
    print(f"{machine()}, {torch.get_num_threads()} threads; {len(cases)} cases")
    for paints, title in ((True, "Masks are painted"), (False, "Boxes are drawn")):
        print(f"\n{title}:\n")
        rows = [row for name in UPDATES for row in rows_of(name, found[name, paints])]
        if from_the_start and not paints:
            dsc, hd95, error = np.mean(from_the_start, 0)
            figures = (f"{dsc:.4f}", f"{hd95:.1f}", f"{error:.1f}")
            rows.append(("Slide-SAM, a true box of each organ", str(len(model.labels)), *figures, *("",) * 5))
        print_table(head, rows)


if __name__ == "__main__":
    main()
