"""Rules for label maps that do not fit their dataset: values to map, values to ignore, grids to correct.

A dataset with rules is a `Dataset` like any other; only its reader differs.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path

import numpy as np

from sautomed.datasets.dataset import AnyPlane, Case, Dataset, LayoutReader
from sautomed.datasets.description import DESCRIPTION
from sautomed.datasets.regrid import regrid_labels
from sautomed.errors import UnknownLabels, UnknownSetting
from sautomed.errors.text import listed, listed_labels
from sautomed.scans import Geometry
from sautomed.scans.grid import Plane
from sautomed.scans.values import MAX_LABEL
from sautomed.scans.volume import LabelMap, Volume


@dataclass(frozen=True)
class LabelRules:
    """Corrections of a label map as it is read: first its grid, then all values at once, so two values can be swapped.

    Args:
        map: Value in the dataset for each value in the file.
        ignore: Values in the file that become background. They are trained as background, not left out of the loss.
        regrid: Bring a label map with another grid onto that of its scan, by nearest neighbour.
    """

    map: Mapping[int, int] = field(default_factory=dict)
    ignore: frozenset[int] = frozenset()
    regrid: bool = False

    def __bool__(self) -> bool:
        return bool(self.map or self.ignore or self.regrid)

    def remaining(self, labels: Mapping[int, str]) -> dict[int, str]:
        """Return the labels that can still occur: mapped onto, or neither ignored nor mapped away."""
        gone = (self.ignore | self.map.keys()) - set(self.map.values())
        return {value: name for value, name in labels.items() if value not in gone}

    def map_values(self, labels: LabelMap) -> LabelMap:
        """Return the label map with its values mapped; other values stay."""
        changes = dict(self.map) | dict.fromkeys(self.ignore, 0)
        if not changes:
            return labels
        most = max(int(labels.array.max()), *changes, *changes.values())
        table = np.arange(most + 1, dtype=np.uint8 if most <= 255 else np.uint16)
        table[list(changes)] = list(changes.values())
        return replace(labels, array=table[labels.array])

    @property
    def key(self) -> str:
        """Short name for a folder of cases prepared with these rules."""
        return f"rules-{hashlib.sha256(json.dumps(self.as_dict()).encode()).hexdigest()[:8]}"

    def as_dict(self) -> dict[str, object]:
        """Return the rules as they are written to JSON."""
        mapped = {str(old): new for old, new in sorted(self.map.items())}
        return {"map": mapped, "ignore": sorted(self.ignore), "regrid": self.regrid}


NO_RULES = LabelRules()
_OPTIONS = ("--map {}=LABEL", "--ignore {}")
_MOST_OPTIONS = 8  # ours: a scan given as a label map has thousands of values


@dataclass(frozen=True)
class RuledReader:
    """Reader that applies rules to the label maps of another reader."""

    inner: LayoutReader
    rules: LabelRules

    def geometry(self, case: Case) -> Geometry:
        return self.inner.geometry(case)

    def image(self, case: Case, plane: AnyPlane) -> Volume:
        return self.inner.image(case, plane)

    def label(self, case: Case, path: Path, plane: Plane, image: Volume | None) -> tuple[LabelMap, tuple[str, ...]]:
        labels, notes = self.inner.label(case, path, plane, image)
        if self.rules.regrid:
            native = self.inner.geometry(case).native if image is None else image.native
            labels, done = regrid_labels(labels, native, labels.plane, where=f"case {case.id} ({path})")
            if done.method != "none":
                notes = (*notes, f"{path}: {done.line()}.")
        return self.rules.map_values(labels), notes

    def sources(self, case: Case) -> tuple[Path, ...]:
        return self.inner.sources(case)


def with_rules(dataset: Dataset, rules: LabelRules) -> Dataset:
    """Return the dataset with rules applied to its label maps; the dataset itself if there are no rules.

    Raises:
        UnknownSetting: A value is mapped onto one that the dataset has no name for, or no label is left.
    """
    if not rules:
        return dataset
    unnamed = sorted(set(rules.map.values()) - dataset.labels.keys() - {0})
    known = listed_labels(dict(sorted(dataset.labels.items())))
    if unnamed:
        raise UnknownSetting(
            f"maps onto {listed(unnamed)}, which has no name in the dataset.",
            where="--map",
            cure=f"Map onto one of: 0 background, {known}.",
        )
    labels = rules.remaining(dataset.labels)
    if not labels:
        raise UnknownSetting("leaves no label to train.", where="--map and --ignore", cure=f"Keep one of: {known}.")
    return replace(dataset, labels=labels, reader=RuledReader(dataset.reader, rules))


def parse_rules(
    maps: Sequence[str] = (),
    ignore: Sequence[str] = (),
    regrid: bool = False,
    read_names: Callable[[], Mapping[int, str]] = dict,
) -> LabelRules:
    """Parse rules from the command line, which give labels by value or by name.

    Args:
        maps: Such as "7=1" or "7=liver": value 7 of the label maps means label 1, whose name is liver.
        ignore: Such as "9" or "liver": this value is background.
        read_names: Reads the dataset's label names, without the background; called if a rule gives a name.
    Raises:
        UnknownSetting: A rule cannot be read, or two contradict each other.
        DataError: As `read_names`.
    """
    mapped: dict[int, int] = {}
    for text in maps:
        old, equals, new = text.partition("=")
        if not equals:
            raise _unreadable_rule("--map", text)
        value, label = (_parse_value(part, text, "--map", read_names) for part in (old, new))
        if mapped.setdefault(value, label) != label:
            raise UnknownSetting(f"maps {value} twice.", where="--map", cure="Keep one of the two.")
    ignored = frozenset(_parse_value(text, text, "--ignore", read_names) for text in ignore)
    both = sorted(ignored & mapped.keys())
    if both:
        raise UnknownSetting(f"{both[0]} is both mapped and ignored.", where="--ignore", cure="Keep one of the two.")
    if 0 in mapped or 0 in ignored:
        raise UnknownSetting(
            "0 is the background, which is neither mapped nor ignored.",
            where="--map and --ignore",
            cure="Leave it out.",
        )
    return LabelRules(mapped, ignored, regrid)


def unknown_labels(dataset: Dataset, cases: Iterable[Case]) -> UnknownLabels | None:
    """Read all label maps and return a fault that lists every value without a name; None if all have names.

    Raises:
        DataError: A label map cannot be read.
    """
    voxels: dict[int, int] = {}
    places: dict[int, list[str]] = {}
    for case in cases:
        for value, count in dataset.read_label(case).unknown_values().items():
            voxels[value] = voxels.get(value, 0) + count
            places.setdefault(value, []).append(case.id)
    if not voxels:
        return None
    values = "; ".join(f"{value} ({voxels[value]} voxels in {_count_cases(places[value])})" for value in sorted(voxels))
    known = listed_labels(dict(sorted(dataset.labels.items())))
    return UnknownLabels(
        f"holds label values that have no name in the dataset: {values}. Known are: 0 background, {known}.",
        where=dataset.folder,
        cure=cure_of_unknown_values(voxels, dataset.declared_in),
    )


def cure_of_unknown_values(values: Iterable[int], declared_in: str) -> str:
    """Return the cure for label values without a name, with the options for each of them, as far as there is room.

    Args:
        declared_in: As `Dataset.declared_in`.
    """
    every = sorted(values)
    more = " and so on" if len(every) > _MOST_OPTIONS else ""
    maps, ignores = (" ".join(option.format(value) for value in every[:_MOST_OPTIONS]) + more for option in _OPTIONS)
    cures = f"Give their labels with {maps}, by value or name, or leave them out with {ignores}"
    return f"{cures}, or name them in {DESCRIPTION}." if declared_in == DESCRIPTION else f"{cures}."


def _count_cases(cases: list[str]) -> str:
    return f"{len(cases)} case{'' if len(cases) == 1 else 's'}: {listed(cases)}"


def _parse_value(text: str, whole: str, flag: str, read_names: Callable[[], Mapping[int, str]]) -> int:
    """Return the value that a part of a rule gives as a number, or else by the name of its label."""
    text = text.strip()
    if text.isdecimal() and int(text) <= MAX_LABEL:
        return int(text)
    if not text or text.isdecimal():
        raise _unreadable_rule(flag, whole)
    names = {0: "background", **dict(sorted(read_names().items()))}
    values = {name: value for value, name in names.items()}
    if text in values:
        return values[text]
    if len(names) == 1:
        raise _unreadable_rule(flag, whole)
    near = get_close_matches(text, values, n=1)
    raise UnknownSetting(
        f"cannot read {whole!r}: the dataset has no label {text!r}.",
        where=flag,
        cure=f"{f'Did you mean {near[0]}? ' if near else ''}There are: {listed_labels(names)}. Give a name or a value.",
    )


def _unreadable_rule(flag: str, text: str) -> UnknownSetting:
    wanted, example = ("OLD=NEW", "--map 7=1") if flag == "--map" else ("one label", "--ignore 9")
    return UnknownSetting(
        f"cannot read {text!r}: it must be {wanted}, with label values from 0 to {MAX_LABEL} or names of labels.",
        where=flag,
        cure=f"Write, for example, {example}.",
    )
