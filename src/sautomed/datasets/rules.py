"""What a user says about label maps that do not fit their description: values to map, values to ignore, other grids.

A dataset under rules is a dataset: everything that takes one works on it unchanged.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from sautomed.datasets.dataset import AnyPlane, Case, Dataset, Reader
from sautomed.datasets.regrid import regrid_labels
from sautomed.errors import UnknownLabels, UnknownSetting
from sautomed.scans import Geometry
from sautomed.scans.values import MAX_LABEL
from sautomed.scans.volume import LabelMap, Volume


@dataclass(frozen=True)
class LabelRules:
    """Applied to a label map when it is read: grid first, then values, all at once (so two values can be exchanged).

    Args:
        map: Value in the file to value in the dataset.
        ignore: Values in the file that become background. They are trained as background, not left out of the loss.
        regrid: Bring a label map that lies on another grid onto that of its scan, nearest neighbour.
    """

    map: Mapping[int, int] = field(default_factory=dict)
    ignore: frozenset[int] = frozenset()
    regrid: bool = False

    def __bool__(self) -> bool:
        return bool(self.map or self.ignore or self.regrid)

    def names(self, labels: Mapping[int, str]) -> dict[int, str]:
        """The labels that are left: without those that are ignored, or mapped while nothing is mapped onto them."""
        gone = self.ignore | (self.map.keys() - set(self.map.values()))
        return {value: name for value, name in labels.items() if value not in gone}

    def values(self, labels: LabelMap) -> LabelMap:
        """The label map with its values mapped; the other values stay."""
        changes = dict(self.map) | dict.fromkeys(self.ignore, 0)
        if not changes:
            return labels
        most = max(int(labels.array.max()), *changes, *changes.values())
        table = np.arange(most + 1, dtype=np.uint8 if most <= 255 else np.uint16)
        table[list(changes)] = list(changes.values())
        return replace(labels, array=table[labels.array])

    @property
    def key(self) -> str:
        """A short name of these rules for a folder."""
        return f"rules-{hashlib.sha256(json.dumps(self.as_dict()).encode()).hexdigest()[:8]}"

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        mapped = {str(old): new for old, new in sorted(self.map.items())}
        return {"map": mapped, "ignore": sorted(self.ignore), "regrid": self.regrid}


NO_RULES = LabelRules()


@dataclass(frozen=True)
class RuledReader:
    """A reader whose label maps come out under rules."""

    inner: Reader
    rules: LabelRules

    def geometry(self, case: Case) -> Geometry:
        return self.inner.geometry(case)

    def image(self, case: Case, plane: AnyPlane) -> Volume:
        return self.inner.image(case, plane)

    def label(self, case: Case, path: Path, plane: AnyPlane, image: Volume | None) -> tuple[LabelMap, tuple[str, ...]]:
        labels, notes = self.inner.label(case, path, plane, image)  # type: ignore[arg-type]
        if self.rules.regrid:
            native = self.inner.geometry(case).native if image is None else image.native
            labels, done = regrid_labels(labels, native, labels.plane, where=f"case {case.id} ({path})")
            if done.method != "none":
                notes = (*notes, f"{path}: {done.line()}.")
        return self.rules.values(labels), notes

    def sources(self, case: Case) -> tuple[Path, ...]:
        return self.inner.sources(case)


def with_rules(dataset: Dataset, rules: LabelRules) -> Dataset:
    """The dataset as its label maps read under the rules; itself if there are none.

    Raises:
        UnknownSetting: A value is mapped onto one that the dataset has no name for, or no label is left.
    """
    if not rules:
        return dataset
    strangers = sorted(set(rules.map.values()) - dataset.labels.keys() - {0})
    known = ", ".join(f"{value} {name}" for value, name in sorted(dataset.labels.items()))
    if strangers:
        raise UnknownSetting(
            f"maps onto {', '.join(map(str, strangers))}, which has no name in the dataset.",
            where="--map",
            cure=f"Map onto one of: 0 background, {known}.",
        )
    names = rules.names(dataset.labels)
    if not names:
        raise UnknownSetting("leaves no label to train.", where="--map and --ignore", cure=f"Keep one of: {known}.")
    return replace(dataset, labels=names, reader=RuledReader(dataset.reader, rules))


def parse_rules(maps: Sequence[str] = (), ignore: Sequence[str] = (), regrid: bool = False) -> LabelRules:
    """Rules from the command line.

    Args:
        maps: Such as "7=1": value 7 of the label maps means label 1.
        ignore: Such as "9": value 9 is background.
    Raises:
        UnknownSetting: A rule cannot be read, or two contradict each other.
    """
    mapped: dict[int, int] = {}
    for text in maps:
        old, equals, new = text.partition("=")
        if not equals:
            raise _bad("--map", text)
        value = _value(old, text, "--map")
        if mapped.get(value, _value(new, text, "--map")) != _value(new, text, "--map"):
            raise UnknownSetting(f"maps {value} twice.", where="--map", cure="Keep one of the two.")
        mapped[value] = _value(new, text, "--map")
    ignored = frozenset(_value(text, text, "--ignore") for text in ignore)
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
    """A fault that lists every value without a name over all the cases, with voxels and cases; None if there is none.

    Reads all label maps, and stops at one that cannot be read with its fault.
    """
    voxels: dict[int, int] = {}
    places: dict[int, list[str]] = {}
    for case in cases:
        for value, count in dataset.read_label(case).unknown_values().items():
            voxels[value] = voxels.get(value, 0) + count
            places.setdefault(value, []).append(case.id)
    if not voxels:
        return None
    told = "; ".join(f"{value} ({voxels[value]} voxels in {_listed(places[value])})" for value in sorted(voxels))
    known = ", ".join(f"{value} {name}" for value, name in sorted(dataset.labels.items()))
    return UnknownLabels(
        f"holds label values that have no name in the dataset: {told}. Known are: 0 background, {known}.",
        where=dataset.folder,
        cure=f"Say what they are with --map {min(voxels)}=LABEL, leave them out with --ignore {min(voxels)}, or name "
        "them in dataset.json.",
    )


def _listed(cases: list[str]) -> str:
    shown = ", ".join(cases[:5])
    return f"{len(cases)} case{'' if len(cases) == 1 else 's'}: {shown}{', ...' if len(cases) > 5 else ''}"


def _value(text: str, whole: str, flag: str) -> int:
    if not text.strip().isdecimal() or int(text) > MAX_LABEL:
        raise _bad(flag, whole)
    return int(text)


def _bad(flag: str, text: str) -> UnknownSetting:
    wanted = "OLD=NEW, as in --map 7=1" if flag == "--map" else "a label value, as in --ignore 9"
    return UnknownSetting(
        f"cannot read {text!r}: it must be {wanted}, with whole numbers from 0 to {MAX_LABEL}.",
        where=flag,
        cure="Correct it.",
    )
