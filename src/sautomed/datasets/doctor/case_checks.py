"""Checks of one case: pure functions from its facts to findings.

To add a check, write a function and put it into `CASE_CHECKS`. Thresholds are ours unless a source is named.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from sautomed.datasets.description import is_ct
from sautomed.datasets.doctor.anatomy import AXES, BODY, Relation, relations_of
from sautomed.datasets.doctor.diagnosis import Finding, Severity
from sautomed.datasets.doctor.facts import CaseFacts, Intensities
from sautomed.datasets.rules import cure_of_unknown_values
from sautomed.errors import (
    BadGeometry,
    ConstantImage,
    GridMismatch,
    NonFiniteVoxels,
    NotIntegerLabels,
    SautomedError,
    ShearedGrid,
    UnknownSpacing,
    UnmatchedNames,
)
from sautomed.errors.text import listed, listed_labels
from sautomed.scans.volume import CORNER_TOLERANCE_MM, ROUNDING_MM

LEAST_SLICES = 3
LEAST_PIXELS = 16
MOST_VOXELS = 500_000_000  # two gigabytes as float32
LOWEST_HU = -3100.0  # scanners pad with -1024, -2000, -2048 or -3024
NOT_AIR_HU = -500.0
LIKE_HU = -900.0
_FAULT_CHECKS: tuple[tuple[type[SautomedError], str], ...] = (
    (NonFiniteVoxels, "finite"),
    (ConstantImage, "constant"),
    (GridMismatch, "grids"),
    (NotIntegerLabels, "label values"),
    (UnmatchedNames, "label names"),
    (ShearedGrid, "header"),
    (BadGeometry, "header"),
    (UnknownSpacing, "header"),
)
# The check that a warning of reading belongs to, by words in it; all other warnings are about the header.
_WARNING_CHECKS = (("NaN or infinite", "finite"), ("named .gz", "file name"), ("onto the scan's grid", "grids"))


@dataclass(frozen=True)
class Description:
    """What the dataset declares about its cases."""

    channel: str
    labels: dict[int, str]
    declared_in: str  # for messages


Check = Callable[[CaseFacts, Description], Iterator[Finding]]


def check_case(facts: CaseFacts, description: Description) -> list[Finding]:
    """Return all findings of one case."""
    return [finding for check in CASE_CHECKS for finding in check(facts, description)]


def reading_faults(facts: CaseFacts, description: Description) -> Iterator[Finding]:
    """Report the faults that stopped reading."""
    for fault in facts.faults:
        name = next((name for kind, name in _FAULT_CHECKS if isinstance(fault, kind)), "readable")
        place = f"{fault.where}: " if fault.where else ""
        yield Finding(name, "error", f"{place}{fault.fault}", fault.cure, facts.id, error_id=fault.id)


def reading_warnings(facts: CaseFacts, description: Description) -> Iterator[Finding]:
    """Report the warnings of reading; a corrected copy has none of them."""
    for text in facts.warnings:
        name = next((name for words, name in _WARNING_CHECKS if words in text), "header")
        cure = "Check it once; a copy written with --fix no longer has this fault."
        yield Finding(name, "warning", text, cure, facts.id, fixable=True)


def grid_mismatch(facts: CaseFacts, description: Description) -> Iterator[Finding]:
    """Report an image and a label map on different grids."""
    if facts.gap_mm is None or facts.gap_mm <= ROUNDING_MM or facts.image is None or facts.label is None:
        return
    if facts.gap_mm <= CORNER_TOLERANCE_MM:
        text = f"image and label map lie up to {facts.gap_mm:.2g} mm apart at the corners; they are taken for one grid."
        cure = "Check once that they belong together; copies written with --fix are on the scan's grid."
        yield Finding("grids", "warning", text, cure, facts.id, fixable=True)
        return
    how = "have different shapes"
    if facts.gap_mm != float("inf"):
        how = f"lie up to {facts.gap_mm:.3g} mm apart at the corners"
    yield Finding(
        "grids",
        "error",
        f"image and label map {how}, so their voxels do not belong together. Image: {facts.image.line()}; "
        f"label map: {facts.label.line()}.",
        "If they belong together, train with --regrid-labels, or write copies with --fix.",
        facts.id,
        fixable=True,
        error_id="SAM-E0307",
    )


def unknown_values(facts: CaseFacts, description: Description) -> Iterator[Finding]:
    """Report label values without a name."""
    unknown = {value: count for value, count in facts.voxels.items() if value not in description.labels}
    if not unknown:
        return
    counts = listed(f"{value} ({count} voxels)" for value, count in unknown.items())
    known = listed_labels(description.labels)
    yield Finding(
        "label values",
        "error",
        f"holds label values that have no name: {counts}. Known are: 0 background, {known}.",
        cure_of_unknown_values(unknown, description.declared_in),
        facts.id,
        error_id="SAM-E0308",
    )


def float_labels(facts: CaseFacts, description: Description) -> Iterator[Finding]:
    """Report labels stored as floating-point numbers."""
    if facts.label is not None and facts.label_dtype.startswith("float"):
        text = f"stores its labels as {facts.label_dtype}; all are whole numbers, but other tools may refuse them."
        cure = "Store them as integers, for example with --fix."
        yield Finding("label type", "note", text, cure, facts.id, fixable=True)


def empty_labels(facts: CaseFacts, description: Description) -> Iterator[Finding]:
    """Report a label map without any label."""
    if facts.label is not None and not facts.voxels:
        text = "has an empty label map: all its voxels are background."
        cure = "Take the case out unless the scan really shows none of the structures."
        yield Finding("empty", "warning", text, cure, facts.id)


def unusual_size(facts: CaseFacts, description: Description) -> Iterator[Finding]:
    """Report scans that are too small to be whole volumes, or so large that they may not fit into memory."""
    if facts.image is None:
        return
    shape = facts.image.shape
    lengths = " x ".join(map(str, shape))
    if min(shape) < LEAST_SLICES or sorted(shape)[1] < LEAST_PIXELS:
        text = f"is tiny: {lengths} voxels."
        yield Finding("size", "warning", text, "Check that it is the whole scan.", facts.id)
    count = shape[0] * shape[1] * shape[2]
    if count > MOST_VOXELS:
        text = f"is huge: {lengths} voxels, {count * 4 / 1e9:.1f} GB in memory."
        yield Finding("size", "warning", text, "Crop or resample it if memory runs out.", facts.id)


def unlikely_intensities(facts: CaseFacts, description: Description) -> Iterator[Finding]:
    """Report intensities that do not fit the name of the channel."""
    if facts.intensities is None:
        return
    found = facts.intensities
    span = f"intensities go from {found.least:g} to {found.most:g}"
    if is_ct(description.channel):
        unlikely = _unlikely_for_ct(found)
        if unlikely:
            severity, fault, cure = unlikely
            yield Finding("intensities", severity, f"{span}: {fault}", cure, facts.id)
    elif found.least <= LIKE_HU and found.most >= 100 and found.least >= LOWEST_HU:
        text = f"{span}: these look like Hounsfield units, but the channel is called {description.channel!r}."
        cure = 'If it is CT, call the channel "CT", so that a fixed window is used.'
        yield Finding("intensities", "warning", text, cure, facts.id)


def _unlikely_for_ct(found: Intensities) -> tuple[Severity, str, str] | None:
    """Return severity, fault and cure if these are not plausible Hounsfield units."""
    rename = 'Export the scan in Hounsfield units, or call the channel other than "CT" so that percentiles are used.'
    if found.least >= 0 and found.most <= 1.001:
        return "error", "these are not Hounsfield units but values scaled to 0 to 1.", rename
    if found.least >= 0 and found.most <= 255:
        return "error", "these look like a window stored as 0 to 255, not Hounsfield units.", rename
    if found.least >= 0 and found.most > 1024:
        shift = "Subtract 1024, or export the scan with its rescale intercept applied."
        return "error", "nothing is below 0, so this looks like Hounsfield units + 1024.", shift
    if found.least < LOWEST_HU:
        crop = "Check the padding value and the rescale slope; set voxels outside the patient to -1024."
        return "warning", f"no tissue is below {LOWEST_HU:g} HU.", crop
    if found.least > NOT_AIR_HU:
        return "warning", "there is no air, so the scan was probably windowed or cropped.", rename
    return None


def misplaced_organs(facts: CaseFacts, description: Description) -> Iterator[Finding]:
    """Report organs in places where no patient has them: the header or the names of the labels must be wrong."""
    places = {
        description.labels[value]: place for value, place in facts.centres_mm.items() if value in description.labels
    }
    if facts.body_mm is not None:
        places.setdefault(BODY, facts.body_mm)
    relations = relations_of(places)
    exchanged = _exchanged(relations)
    if exchanged:
        lines = "; ".join(relation.line() for relation in exchanged)
        values = {name: value for value, name in description.labels.items()}
        pairs = [(values[relation.lower], values[relation.higher]) for relation in exchanged]
        maps = " ".join(f"--map {left}={right} --map {right}={left}" for left, right in pairs)
        cure = f"Exchange the labels of the case; if all cases have them exchanged, use {maps}."
        yield Finding("orientation", "error", f"left and right labels are exchanged: {lines}.", cure, facts.id)
    names = {name for relation in exchanged for name in (relation.lower, relation.higher)}
    others = [relation for relation in relations if not {relation.lower, relation.higher} & names]
    yield from _wrong_axes(others, facts.id)


def _exchanged(relations: list[Relation]) -> list[Relation]:
    """Return violated left-right pairs if the other organs show that the scan itself is the right way round."""
    across = [relation for relation in relations if relation.axis == 0]
    wrong = [relation for relation in across if relation.twins and relation.violated]
    names = {name for relation in wrong for name in (relation.lower, relation.higher)}
    others = [relation for relation in across if not {relation.lower, relation.higher} & names]
    agreeing = [relation for relation in others if relation.distance_mm > 0]
    return wrong if agreeing and not any(relation.violated for relation in others) else []


def _wrong_axes(relations: list[Relation], case: str) -> Iterator[Finding]:
    """Report axes along which every organ is the wrong way round, and single organs in an unusual place."""
    cure = (
        "Compare with the original scan: correct the affine if the scan is mirrored or turned, else the label map. "
        "(Situs inversus and transplants look like this too.)"
    )
    flipped: list[str] = []
    lines: list[str] = []
    organ_pairs = 0  # wrong relations between two organs; the middle of the body alone is weak evidence
    for axis, name in enumerate(AXES):
        along = [relation for relation in relations if relation.axis == axis]
        wrong = [relation for relation in along if relation.violated]
        if wrong and not any(relation.distance_mm > 0 for relation in along):
            flipped.append(name)
            lines += [relation.line() for relation in wrong]
            organ_pairs += sum(1 for relation in wrong if BODY not in (relation.lower, relation.higher))
        elif wrong:
            places = "; ".join(relation.line() for relation in wrong[:4])
            yield Finding("orientation", "warning", f"an organ is in an unusual place: {places}.", cure, case)
    if flipped:
        severity: Severity = "error" if organ_pairs else "warning"
        text = f"content and header disagree {' and '.join(flipped)}: {'; '.join(lines[:4])}."
        yield Finding("orientation", severity, text, cure, case)


CASE_CHECKS: tuple[Check, ...] = (
    reading_faults,
    grid_mismatch,
    unknown_values,
    float_labels,
    empty_labels,
    misplaced_organs,
    unlikely_intensities,
    unusual_size,
    reading_warnings,
)
