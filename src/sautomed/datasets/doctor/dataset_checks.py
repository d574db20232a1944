"""Checks of a dataset as a whole, which compare its cases: pure functions from facts to findings.

To add a check, write a function and put it into `DATASET_CHECKS`. Thresholds are ours.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from sautomed.datasets.description import is_ct
from sautomed.datasets.doctor.diagnosis import Finding, Severity
from sautomed.datasets.doctor.facts import CaseFacts
from sautomed.datasets.folds import SPLITS, Fold
from sautomed.errors.text import listed

ENOUGH = 5  # with fewer cases a median means little
SPACING_RATIO = 2.5
EXTENT_RATIO = 2.5
VOLUME_RATIO = 10.0
INTENSITY_RATIO = 10.0  # MR units are arbitrary
MEDIAN_SHIFT_HU = 500.0


@dataclass(frozen=True)
class DatasetFacts:
    """Facts of a dataset.

    Args:
        cases: All of them, readable or not.
        labels: Name of each label.
        channel: Name of the image channel.
        folds: As training uses them; empty if it cannot.
        folds_from: Their source, for messages: "seed 0", or the name of a file.
    """

    cases: Sequence[CaseFacts]
    labels: dict[int, str]
    channel: str
    folds: Sequence[Fold]
    folds_from: str

    @property
    def scans(self) -> list[CaseFacts]:
        """Cases whose scan can be read."""
        return [case for case in self.cases if case.image is not None]


Check = Callable[[DatasetFacts], Iterator[Finding]]


def check_dataset(dataset: DatasetFacts) -> list[Finding]:
    """Return all findings about more than one case."""
    return [finding for check in DATASET_CHECKS for finding in check(dataset)]


def missing_label_maps(dataset: DatasetFacts) -> Iterator[Finding]:
    """Report a dataset without any label map; single missing ones are reported when its files are listed."""
    if dataset.scans and not any(case.label is not None or case.faults for case in dataset.cases):
        text = f"none of the {len(dataset.cases)} cases has a label map, which training needs."
        yield Finding("pairs", "error", text, "Add the label maps.", error_id="SAM-E0313")


def absent_classes(dataset: DatasetFacts) -> Iterator[Finding]:
    """Report classes that no case shows."""
    read = [case for case in dataset.cases if case.label is not None]
    for value, name in dataset.labels.items():
        if read and not any(value in case.voxels for case in read):
            yield Finding(
                "classes",
                "error",
                f"class {value} {name} has no voxel in any of the {len(read)} label maps that can be read.",
                "Take it out of the dataset's description, or correct the label maps.",
                fixable=True,
                error_id="SAM-E0324",
            )


def classes_absent_from_folds(dataset: DatasetFacts) -> Iterator[Finding]:
    """Report classes that some case shows, but no training case, or no validation case, of a fold."""
    yield from _absent_from(
        "training",
        [fold.train for fold in dataset.folds],
        dataset,
        severity="warning",
        cure=f"Such a fold is refused: use -f all, or other folds, by a {SPLITS} in the dataset's folder"
        f"{'' if dataset.folds_from == SPLITS else ' or another --seed'}.",
    )
    yield from _absent_from(
        "validation",
        [fold.val for fold in dataset.folds],
        dataset,
        severity="note",
        cure="Its validation score leaves the class out; other folds score it.",
    )


def _absent_from(
    part: str, folds: Sequence[Sequence[str]], dataset: DatasetFacts, *, severity: Severity, cure: str
) -> Iterator[Finding]:
    """Report classes that some case shows, but none of the given cases of a fold.

    Args:
        part: The name of this part of each fold.
        folds: Case ids of this part, for each fold.
    """
    shown = {case.id: set(case.voxels) for case in dataset.cases if case.voxels}  # other checks report empty ones
    for value, name in dataset.labels.items():
        with_class = {case for case, values in shown.items() if value in values}
        absent = [number for number, ids in enumerate(folds) if shown.keys() & set(ids) and not with_class & set(ids)]
        if with_class and absent:
            text = f"class {value} {name} is in no {part} case of fold {listed(absent)} of {dataset.folds_from}."
            yield Finding("folds", severity, text, cure)


def renumbered_labels(dataset: DatasetFacts) -> Iterator[Finding]:
    """Report label maps whose headers number labels otherwise than the dataset, as 3D Slicer does."""
    cases = [case.id for case in dataset.cases if case.renumbered]
    if cases:
        which = "1 label map has" if len(cases) == 1 else f"{len(cases)} label maps have"
        yield Finding(
            "label names",
            "note",
            f"{which} segments with other values than the dataset's labels of these names; the names in the header "
            f"decide: {listed(cases)}.",
            "Harmless here; other tools read labels by value alone: give them copies written with --fix.",
            fixable=True,
        )


def duplicates(dataset: DatasetFacts) -> Iterator[Finding]:
    """Report cases that share their voxels."""
    twins = _groups(dataset.scans, lambda case: case.image_hash)
    twin_pairs = {frozenset(pair) for ids in twins for pair in combinations([case.id for case in ids], 2)}
    for cases in twins:
        ids = [case.id for case in cases]
        same_labels = "the same label map" if len({case.label_hash for case in cases}) == 1 else "different label maps"
        apart = len({case.group or case.id for case in cases}) > 1
        leak = _leaking_folds(cases, dataset.folds)
        leak_note = (
            f" In fold {listed(leak)} of {dataset.folds_from} one trains and another validates, so scores would be too "
            "good."
            if leak
            else ""
        )
        yield Finding(
            "duplicates",
            "error" if apart else "warning",
            f"{listed(ids)} are the same scan, voxel for voxel, with {same_labels}.{leak_note}",
            "Keep one of them; --fix keeps the first.",
            case=ids[0],
            fixable=True,
        )
    for cases in _groups([case for case in dataset.cases if case.voxels], lambda case: case.label_hash):
        ids = [case.id for case in cases]
        new = any(frozenset(pair) not in twin_pairs for pair in combinations(ids, 2))
        if new and len({case.group or case.id for case in cases}) > 1:
            yield Finding(
                "duplicates",
                "warning",
                f"{listed(ids)} are different scans with the same label map, voxel for voxel.",
                "Either a label map was copied by mistake, or they are scans of one patient, which must not be split "
                f"between training and validation: then list them together in a {SPLITS} in the dataset's folder.",
                case=ids[0],
            )


def _groups(cases: Sequence[CaseFacts], key: Callable[[CaseFacts], str]) -> list[list[CaseFacts]]:
    """Group cases by key; groups of one are left out."""
    found: dict[str, list[CaseFacts]] = defaultdict(list)
    for case in cases:
        if key(case):
            found[key(case)].append(case)
    return [group for group in found.values() if len(group) > 1]


def _leaking_folds(cases: Sequence[CaseFacts], folds: Sequence[Fold]) -> list[int]:
    ids = {case.id for case in cases}
    return [number for number, fold in enumerate(folds) if ids & set(fold.train) and ids & set(fold.val)]


def unlike_the_others(dataset: DatasetFacts) -> Iterator[Finding]:
    """Report scans whose grid differs much from the others'."""
    scans = dataset.scans
    if len(scans) < ENOUGH:
        return
    cure = "Check that it belongs to the dataset, and that its header is right."
    spacings = np.array([sorted(case.image.spacing_mm) for case in scans if case.image])
    extents = np.array([sorted(np.multiply(case.image.spacing_mm, case.image.shape)) for case in scans if case.image])
    for rows, ratio, name in ((spacings, SPACING_RATIO, "spacing"), (extents, EXTENT_RATIO, "field of view")):
        middle = np.median(rows, axis=0)
        for case, row in zip(scans, rows, strict=True):
            if np.maximum(row / middle, middle / row).max() > ratio:
                text = f"its {name} is {_as_text(row)} mm, while the median of the dataset is {_as_text(middle)} mm."
                yield Finding("unlike", "warning", text, cure, case.id)
    usual = Counter(case.plane for case in scans).most_common(1)[0][0]
    for case in scans:
        if case.plane != usual:
            text = f"its slices are {case.plane}, while those of most cases are {usual}; it is resliced for training."
            yield Finding("unlike", "warning", text, cure, case.id)


def unlike_intensities(dataset: DatasetFacts) -> Iterator[Finding]:
    """Report scans whose intensities differ much from the others'."""
    scans = [case for case in dataset.scans if case.intensities is not None]
    if len(scans) < ENOUGH:
        return
    rows = np.array(
        [[case.intensities.median, case.intensities.high - case.intensities.low] for case in scans if case.intensities]
    )
    middle = np.median(rows, axis=0)
    spans: dict[str, float] = {}
    for case, (median, span) in zip(scans, rows, strict=True):
        if is_ct(dataset.channel):
            if abs(median - middle[0]) > MEDIAN_SHIFT_HU and case.intensities and case.intensities.least < 0:
                text = f"its median intensity is {median:g} HU, while that of the dataset is {middle[0]:g} HU."
                yield Finding("unlike", "warning", text, "Check its rescale slope and intercept.", case.id)
        elif span > 0 and max(span / middle[1], middle[1] / span) > INTENSITY_RATIO:
            spans[case.id] = float(span)
    if spans:
        yield Finding(
            "unlike",
            "note",
            f"the intensities of {len(spans)} scans span {min(spans.values()):.3g} to {max(spans.values()):.3g} "
            f"(0.5 to 99.5 %), while the median of the dataset is {middle[1]:.3g}: {listed(spans)}.",
            "Harmless where units are arbitrary, as in MR: each scan is scaled by its own percentiles.",
        )


def unlike_volumes(dataset: DatasetFacts) -> Iterator[Finding]:
    """Report structures far larger or smaller than in the other cases."""
    for value, name in dataset.labels.items():
        having = [case for case in dataset.cases if value in case.millilitres]
        if len(having) < ENOUGH:
            continue
        middle = float(np.median([case.millilitres[value] for case in having]))
        for case in having:
            found = case.millilitres[value]
            if max(found / middle, middle / found) > VOLUME_RATIO:
                text = f"its {name} measures {found:.3g} ml, while the median of the dataset is {middle:.3g} ml."
                yield Finding("volumes", "warning", text, "Look at its label map.", case.id)


def _as_text(lengths: np.ndarray) -> str:
    return " x ".join(f"{length:.3g}" for length in lengths)


DATASET_CHECKS: tuple[Check, ...] = (
    missing_label_maps,
    absent_classes,
    classes_absent_from_folds,
    renumbered_labels,
    duplicates,
    unlike_the_others,
    unlike_intensities,
    unlike_volumes,
)
