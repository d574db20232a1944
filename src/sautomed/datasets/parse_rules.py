"""Read label rules from the command line."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path

from sautomed.datasets.layouts import read_label_names_of, read_names_in_headers
from sautomed.datasets.rules import LabelRules
from sautomed.errors import UnknownSetting
from sautomed.errors.text import listed, listed_labels
from sautomed.scans.label_names import plain_name
from sautomed.scans.values import MAX_LABEL


def rules_for(
    folder: Path, layout: str, maps: Sequence[str] | None, ignore: Sequence[str] | None, *, regrid: bool = False
) -> LabelRules:
    """Parse rules for a dataset, whose names are read only if a rule gives one.

    Args:
        folder: Of the dataset.
        layout: Its layout, or "auto".
        maps: As for `parse_rules`, or None.
        ignore: Likewise.
        regrid: As in `LabelRules`.
    Raises:
        UnknownSetting: As `parse_rules`.
        DataError: As `layouts.read_label_names_of`.
    """
    return parse_rules(
        maps or (),
        ignore or (),
        regrid,
        lambda: read_label_names_of(folder, layout),
        lambda: read_names_in_headers(folder, layout),
    )


def parse_rules(
    maps: Sequence[str] = (),
    ignore: Sequence[str] = (),
    regrid: bool = False,
    read_names: Callable[[], Mapping[int, str]] = dict,
    read_file_names: Callable[[], Iterable[str]] = tuple,
) -> LabelRules:
    """Parse rules from the command line, which give labels by value or by name.

    Args:
        maps: Such as "7=1" or "7=liver": value 7 of the label maps means label 1, whose name is liver.
        ignore: Such as "9" or "liver": this value is background.
        read_names: Reads the dataset's label names, without the background; called if a rule gives a name.
        read_file_names: Reads the names that label maps give in their headers; called for a name not in the dataset.
    Raises:
        UnknownSetting: A rule cannot be read, or two contradict each other.
        DataError: As `read_names` and `read_file_names`.
    """
    known = _KnownNames(read_names, read_file_names)
    mapped: dict[int | str, int] = {}
    for text in maps:
        old, equals, new = text.rpartition("=")
        if not equals:
            raise _unreadable_rule("--map", text)
        label = known.value(new, text, "--map")
        key = known.key(old, text, "--map")
        if mapped.setdefault(key, label) != label:
            raise UnknownSetting(f"maps {key} twice.", where="--map", cure="Keep one of the two.")
    ignored = {known.key(text, text, "--ignore") for text in ignore}
    both = sorted(map(str, ignored & mapped.keys()))
    if both:
        raise UnknownSetting(f"{both[0]} is both mapped and ignored.", where="--ignore", cure="Keep one of the two.")
    if 0 in mapped or 0 in ignored:
        raise UnknownSetting(
            "0 is the background, which is neither mapped nor ignored.",
            where="--map and --ignore",
            cure="Leave it out.",
        )
    names = {key: label for key, label in (mapped | dict.fromkeys(ignored, 0)).items() if isinstance(key, str)}
    return LabelRules(
        {key: label for key, label in mapped.items() if isinstance(key, int)},
        frozenset(key for key in ignored if isinstance(key, int)),
        regrid,
        names,
    )


class _KnownNames:
    """Names that a rule may use; read once, and only if one does.

    Args:
        read_names: As for `parse_rules`.
        read_file_names: Likewise.
    """

    def __init__(
        self, read_names: Callable[[], Mapping[int, str]], read_file_names: Callable[[], Iterable[str]]
    ) -> None:
        self._read_names, self._read_file_names = read_names, read_file_names

    @cached_property
    def labels(self) -> dict[int, str]:
        """Name of each label of the dataset, with the background."""
        return {0: "background", **dict(sorted(self._read_names().items()))}

    @cached_property
    def in_files(self) -> dict[str, str]:
        """Names in headers of label maps, by `plain_name`."""
        return {plain_name(name): name for name in sorted(set(self._read_file_names()))}

    def key(self, text: str, whole: str, flag: str) -> int | str:
        """Return the value that a part of a rule stands for; the `plain_name` of a name that only files give."""
        name = text.strip()
        if name and not name.isdecimal() and name not in self.labels.values() and plain_name(name) in self.in_files:
            return plain_name(name)
        return self.value(text, whole, flag)

    def value(self, text: str, whole: str, flag: str) -> int:
        """Return the value that a part of a rule gives as a number, or else by the name of its label."""
        text = text.strip()
        if text.isdecimal() and int(text) <= MAX_LABEL:
            return int(text)
        if not text or text.isdecimal():
            raise _unreadable_rule(flag, whole)
        values = {name: value for value, name in self.labels.items()}
        if text in values:
            return values[text]
        if len(values) == 1:
            raise _unreadable_rule(flag, whole)
        near = get_close_matches(text, [*values, *self.in_files.values()], n=1)
        in_files = f" The label maps name: {listed(self.in_files.values())}." if self.in_files else ""
        raise UnknownSetting(
            f"cannot read {whole!r}: the dataset has no label {text!r}.",
            where=flag,
            cure=f"{f'Did you mean {near[0]}? ' if near else ''}There are: {listed_labels(self.labels)}.{in_files} "
            "Give a name or a value.",
        )


def _unreadable_rule(flag: str, text: str) -> UnknownSetting:
    wanted, example = ("OLD=NEW", "--map 7=1") if flag == "--map" else ("one label", "--ignore 9")
    return UnknownSetting(
        f"cannot read {text!r}: it must be {wanted}, with label values from 0 to {MAX_LABEL} or names of labels.",
        where=flag,
        cure=f"Write, for example, {example}.",
    )
