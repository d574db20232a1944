"""Rules for label maps that do not fit their dataset: values to map, values to ignore, grids to correct.

A dataset with rules is a `Dataset` like any other; only its reader differs.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from sautomed.datasets.dataset import AnyPlane, Case, Dataset, LayoutReader
from sautomed.datasets.description import DESCRIPTION
from sautomed.datasets.regrid import regrid_labels
from sautomed.errors import UnknownLabels, UnknownSetting, UnmatchedNames
from sautomed.errors.text import listed, listed_labels
from sautomed.scans import Geometry
from sautomed.scans.grid import Plane
from sautomed.scans.label_names import cure_of_unmatched_names, match_names
from sautomed.scans.volume import LabelMap, Volume


@dataclass(frozen=True)
class LabelRules:
    """Corrections of a label map as it is read: first its grid, then all values at once, so two values can be swapped.

    Args:
        map: Value in the dataset for each value as read, which is that of the dataset where the file names its labels.
        ignore: Values as read that become background. They are trained as background, not left out of the loss.
        regrid: Bring a label map with another grid onto that of its scan, by nearest neighbour.
        names: Value in the dataset for names that only files give, by `label_names.plain_name`; 0 for the background.
    """

    map: Mapping[int, int] = field(default_factory=dict)
    ignore: frozenset[int] = frozenset()
    regrid: bool = False
    names: Mapping[str, int] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.map or self.ignore or self.regrid or self.names)

    def apply(self, labels: LabelMap, known: Mapping[int, str], where: str | Path) -> LabelMap:
        """Return the label map numbered as the dataset's labels, with its values mapped.

        Args:
            labels: With the names of its file.
            known: Name of each label of the dataset, before the rules.
            where: Of the label map.
        Raises:
            UnmatchedNames: As `label_names.match_names`.
        """
        return self.map_values(match_names(labels, known, where=where, renames=self.names))

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
        rules: dict[str, object] = {"map": mapped, "ignore": sorted(self.ignore), "regrid": self.regrid}
        return rules | ({"names": dict(sorted(self.names.items()))} if self.names else {})


NO_RULES = LabelRules()
_OPTIONS = ("--map {}=LABEL", "--ignore {}")
_MOST_OPTIONS = 8  # ours: a scan given as a label map has thousands of values


@dataclass(frozen=True)
class RuledReader:
    """Reader that applies rules to the label maps of another reader."""

    inner: LayoutReader
    rules: LabelRules
    known: Mapping[int, str]  # labels of the dataset, before the rules

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
        return self.rules.apply(labels, self.known, f"case {case.id} ({path})"), notes

    def sources(self, case: Case) -> tuple[Path, ...]:
        return self.inner.sources(case)


def with_rules(dataset: Dataset, rules: LabelRules) -> Dataset:
    """Return the dataset with rules applied to its label maps; the dataset itself if there are no rules.

    Raises:
        UnknownSetting: A value is mapped onto one that the dataset has no name for, or no label is left.
    """
    if not rules:
        return dataset
    unnamed = sorted({*rules.map.values(), *rules.names.values()} - dataset.labels.keys() - {0})
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
    return replace(dataset, labels=labels, reader=RuledReader(dataset.reader, rules, dataset.labels))


def unusable_labels(dataset: Dataset, cases: Iterable[Case]) -> UnknownLabels | UnmatchedNames | None:
    """Read all label maps and return a fault that lists every value without a name, or every name that is no label's.

    None if the labels of all can be used. Names come first, since values may be right once these are mapped.

    Raises:
        DataError: A label map cannot be read.
    """
    voxels: dict[int, int] = {}
    places: dict[int, list[str]] = {}
    names: dict[str, list[str]] = {}
    for case in cases:
        try:
            counts = dataset.read_label(case).unknown_values()
        except UnmatchedNames as fault:
            for name in fault.names:
                names.setdefault(name, []).append(case.id)
            continue
        for value, count in counts.items():
            voxels[value] = voxels.get(value, 0) + count
            places.setdefault(value, []).append(case.id)
    known = listed_labels(dict(sorted(dataset.labels.items())))
    if names:
        found = "; ".join(f"{name} ({_count_cases(names[name])})" for name in sorted(names))
        return UnmatchedNames(
            f"has label maps that name labels which are none of {known}: {found}.",
            where=dataset.folder,
            cure=cure_of_unmatched_names(names),
            names=tuple(sorted(names)),
        )
    if not voxels:
        return None
    values = "; ".join(f"{value} ({voxels[value]} voxels in {_count_cases(places[value])})" for value in sorted(voxels))
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
