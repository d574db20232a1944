"""Names of the labels to score: predictions and references are compared by name, whatever their numbers."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path

from pydantic import BaseModel, Field, ValidationError

from sautomed.datasets import read_label_names
from sautomed.datasets.description import DESCRIPTION
from sautomed.datasets.names import without_ending
from sautomed.errors import DataError, UnmatchedNames
from sautomed.errors.text import listed, listed_labels
from sautomed.evaluation.pairs import Pairs
from sautomed.scans import read_geometry
from sautomed.scans.label_names import is_placeholder, numbering, plain_name

log = logging.getLogger(__name__)
Names = Mapping[int, str]
_SCHEMA = "sautomed case "  # followed by the version


class _Organ(BaseModel):
    """Label of a CASE.json."""

    value: int
    name: str


class _Output(BaseModel):
    """File that a CASE.json lists."""

    path: str


class _Report(BaseModel):
    """The parts of CASE.json that name labels."""

    schema_name: str = Field(alias="schema")
    organs: list[_Organ]
    outputs: list[_Output]


def names_by_case(files: Mapping[str, Path], shared: Names) -> dict[str, Names]:
    """Return the names that each label map has for its values; empty where it has none.

    They come from its header; or from the CASE.json beside it; or are those of its folder.

    Args:
        files: Label map by case id.
        shared: Names for the whole folder.
    """
    return {case: _names_in_header(path) or _names_in_report(path) or shared for case, path in files.items()}


def names_of_folder(path: Path) -> Names:
    """Return the names in a dataset.json in or beside a folder, or beside a file; none if there is no dataset.json.

    Raises:
        BadDatasetJson: It cannot be read.
    """
    folder = path.parent if path.is_file() else path
    near = next((place / DESCRIPTION for place in (folder, folder.parent) if (place / DESCRIPTION).is_file()), None)
    return {} if near is None else read_label_names(near)


def labels_to_score(
    pairs: Pairs, declared: Names, expected: Mapping[str, Names], predicted: Mapping[str, Names]
) -> dict[int, str]:
    """Return the name of each label to score; empty if no file has names, so that labels are compared by value.

    The references decide, first by what their folder declares; if they have no names, the predictions do. Files without
    names are taken to have the declared numbers, or those of the others, which must then agree.

    Args:
        declared: Names for the whole folder of the references.
        expected: Names of the references by case id.
        predicted: Names of the predictions, likewise.
    Raises:
        UnmatchedNames: Files without names are compared with files that number their labels differently.
    """
    named = expected if any(expected.values()) else predicted
    labels = _common_numbering([declared, *named.values()])
    nameless = [case for case in pairs.files if not (expected[case] and predicted[case])]
    differing = [case for case, names in named.items() if numbering(names, labels).differs]
    if labels and not declared and nameless and differing:
        first, other = pairs.files[nameless[0]]
        raise UnmatchedNames(
            f"has no names for its labels, or {other.name} has none, and the files that have names number them "
            f"differently ({listed(differing)} are not as {listed_labels(labels)}), so scores would compare different "
            "organs.",
            where=first,
            cure=f"Name the labels of the files without names in a {DESCRIPTION} beside them.",
        )
    return labels


def warn_of_labels_never_predicted(labels: Names, predicted: Mapping[str, Names], predictions: Path) -> None:
    """Warn of labels that no prediction has a name for; they count as missed."""
    if not all(predicted.values()):
        return
    known = {plain_name(name) for names in predicted.values() for name in names.values()}
    lacking = [name for name in labels.values() if plain_name(name) not in known]
    if lacking:
        log.warning("%s: no prediction has a label named %s; where a reference has it, it counts as missed.",
                    predictions, listed(lacking))  # fmt: skip


def _names_in_header(path: Path) -> Names:
    if not path.is_file():  # a folder of pictures or of a series
        return {}
    try:
        names = read_geometry(path, labels=True).names
    except DataError:  # reading the voxels reports it
        return {}
    return {value: name for value, name in names.items() if not is_placeholder(name)}


def _names_in_report(path: Path) -> Names:
    """Return the names in a CASE.json that lists the file among its outputs."""
    place = path.with_name(f"{without_ending(path.name)}.json")
    try:
        report = _Report.model_validate_json(place.read_bytes())
    except (OSError, ValidationError):  # there is none, or it is some other file
        return {}
    listed_here = report.schema_name.startswith(_SCHEMA) and path.name in {output.path for output in report.outputs}
    return {organ.value: organ.name for organ in report.organs} if listed_here else {}


def _common_numbering(files: Iterable[Names]) -> dict[int, str]:
    """Return one number for each name: that of the first file that has it, or the next free one if it is taken."""
    labels: dict[int, str] = {}
    known: set[str] = set()
    for names in files:
        for value, name in sorted(names.items()):
            if plain_name(name) in known:
                continue
            known.add(plain_name(name))
            while value in labels:
                value += 1
            labels[value] = name
    return dict(sorted(labels.items()))
