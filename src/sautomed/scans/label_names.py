"""Names that label maps give their values, and label maps renumbered by them.

Programs number labels as they like: 3D Slicer in the order in which segments were made, so that one organ has another
value in another file. Where a file names its values, the names decide.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

import numpy as np

from sautomed.errors import UnmatchedNames
from sautomed.errors.text import listed, listed_labels
from sautomed.scans.volume import LabelMap

Renames = Mapping[str, int]  # the value that a name stands for, by `plain_name`; 0 for the background
NO_RENAMES: Renames = MappingProxyType({})
_NUMBERED = re.compile(r"(segment|segmentation|label|class|region|structure|roi|mask)? ?[0-9]+")


def plain_name(name: str) -> str:
    """Return a name for comparison: in lower case, with one blank for everything that is no letter and no digit."""
    return " ".join(re.sub(r"[\W_]+", " ", name.casefold()).split())


def is_placeholder(name: str) -> bool:
    """Return whether a name only numbers its label, such as "Segment_1" or "label 3", or is empty."""
    plain = plain_name(name)
    return not plain or _NUMBERED.fullmatch(plain) is not None


@dataclass(frozen=True)
class Numbering:
    """Values of a file in the terms of other labels.

    Args:
        values: New value of each value that the file names, or that a rename names; 0 for the background.
        unmatched: Values whose names are none of the other labels.
    """

    values: Mapping[int, int]
    unmatched: Mapping[int, str]

    @property
    def differs(self) -> bool:
        """Whether a value has another number than in the file."""
        return any(old != new for old, new in self.values.items())


def numbering(own: Mapping[int, str], wanted: Mapping[int, str], renames: Renames = NO_RENAMES) -> Numbering:
    """Match the names of a file with other labels, ignoring case and separators.

    Args:
        own: Name of each value of the file.
        wanted: Name of each label to match, without the background.
        renames: Values that further names stand for.
    """
    exact = {name: value for value, name in wanted.items()}
    plain = {plain_name(name): value for value, name in wanted.items()}
    if len(plain) < len(wanted):  # two of them differ in case or separators only
        plain = {}
    values, unmatched = {}, {}
    for value, name in own.items():
        new = renames.get(plain_name(name), exact.get(name, plain.get(plain_name(name))))
        if new is not None:
            values[value] = new
        elif not is_placeholder(name):
            unmatched[value] = name
    return Numbering(values, unmatched)


def match_names(
    labels: LabelMap, wanted: Mapping[int, str], *, where: str | Path, renames: Renames = NO_RENAMES
) -> LabelMap:
    """Return a label map whose values are those of `wanted`, matched by the names that it gives them.

    Values without a name, or with one that only numbers them, keep their number.

    Args:
        labels: With the names of its file.
        wanted: Name of each label, without the background.
        where: Of the label map, for the error.
        renames: As in `numbering`.
    Raises:
        UnmatchedNames: A voxel has a label whose name is none of `wanted`; or has a value without a name, while the
            named ones are numbered otherwise than in `wanted`, so that its number says nothing.
    """
    found = numbering(labels.names, wanted, renames)
    if not found.unmatched and not found.differs:
        return replace(labels, names=dict(wanted))
    counts = labels.voxel_counts()
    unmatched = {value: name for value, name in found.unmatched.items() if value in counts}
    if found.differs:
        nameless = counts.keys() - found.values.keys() - found.unmatched.keys() - {0}
        unmatched |= {value: labels.names.get(value, f"label {value}") for value in nameless if value in wanted}
    if unmatched:
        raise unmatched_names(unmatched, wanted, where)
    values = {old: new for old, new in found.values.items() if old in counts}
    most = max(*counts, *values.values(), 0)
    table = np.arange(most + 1, dtype=np.uint8 if most <= 255 else np.uint16)
    table[list(values)] = list(values.values())
    return replace(labels, array=table[labels.array], names=dict(wanted))


def unmatched_names(unmatched: Mapping[int, str], wanted: Mapping[int, str], where: str | Path) -> UnmatchedNames:
    """Return the error for labels whose names are none of `wanted`.

    Args:
        unmatched: Name by value in the file.
    """
    names = sorted(set(unmatched.values()))
    return UnmatchedNames(
        f"names labels that are none of {listed_labels(dict(sorted(wanted.items())))}: "
        f"{listed(f'{name} (value {value})' for value, name in sorted(unmatched.items()))}.",
        where=where,
        cure=cure_of_unmatched_names(names),
        names=tuple(names),
    )


def cure_of_unmatched_names(names: Iterable[str]) -> str:
    """Return the cure for names that are no label's."""
    names = sorted(names)
    return (
        f"Give their labels with {_options('--map', (f'{name}=LABEL' for name in names))}, by value or name; or leave "
        f"them out with {_options('--ignore', names)}; or rename them in the file."
    )


def _options(flag: str, values: Iterable[str]) -> str:
    return " ".join(f"{flag} {shlex.quote(value)}" for value in values)
