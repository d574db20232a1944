"""nnU-Net's raw layout: dataset.json, imagesTr/CASE_0000.nii.gz, labelsTr/CASE.nii.gz.

Only names are read here until a case is loaded.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

from sautomed.errors import BadDatasetJson, MissingFile, NoCases, TooManyChannels, UnpairedFiles
from sautomed.files import read_json
from sautomed.grid import Plane
from sautomed.io.read import read_labels, read_scan, refuse_unknown_values
from sautomed.io.values import MAX_LABEL
from sautomed.io.write import NIFTI_ENDINGS
from sautomed.volume import LabelMap, Volume, require_same_grid

CHANNEL_SUFFIX = "_0000"
MAX_CLASSES = 254  # prepared cases keep a class in one byte: 0 is the background, 255 marks what is undeclared


@dataclass(frozen=True)
class Case:
    """One scan by its files; `label` is None where the dataset has no labelsTr."""

    id: str
    image: Path
    label: Path | None


@dataclass(frozen=True)
class Dataset:
    """A folder of cases.

    Args:
        folder: Where it lies.
        name: From dataset.json, or the folder's name.
        channel: Name of the one image channel, for example "CT"; it decides how intensities are scaled.
        labels: Name of each label 1..K, without the background.
        cases: Sorted by id.
    """

    folder: Path
    name: str
    channel: str
    labels: dict[int, str]
    cases: tuple[Case, ...]


def read_dataset(folder: str | Path) -> Dataset:
    """Read the description of a dataset and list its cases.

    Raises:
        MissingFile: There is no such folder, or no dataset.json in it.
        BadDatasetJson: dataset.json is malformed or asks for what is not supported.
        TooManyChannels: It has more than one image channel.
        NoCases: imagesTr holds no case.
        UnpairedFiles: An image has no label map, or the reverse.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise MissingFile("there is no such dataset folder.", where=folder, cure="Check the path given with -d.")
    path = folder / "dataset.json"
    if not path.is_file():
        raise MissingFile(
            "does not exist, so the folder is not in nnU-Net's raw layout (dataset.json, imagesTr, labelsTr).",
            where=path,
            cure="Give the folder that holds dataset.json, or write one.",
        )
    description = _object(read_json(path), path)
    labels = _labels(description, path)
    _refuse_too_many(labels, path)
    return Dataset(
        folder=folder,
        name=str(description.get("name", folder.name)),
        channel=_channel(description, path),
        labels=labels,
        cases=_find_cases(folder, _ending(description, path)),
    )


def read_label_names(path: str | Path) -> dict[int, str]:
    """The labels of a dataset.json, without the background.

    Raises:
        MissingFile, BadDatasetJson: As `read_dataset`.
    """
    path = Path(path)
    return _labels(_object(read_json(path), path), path)


def without_ending(name: str) -> str:
    """A file name without its NIfTI ending; another name as it is."""
    return next((name[: -len(ending)] for ending in NIFTI_ENDINGS if name.endswith(ending)), name)


def case_name(path: Path) -> str:
    """The case that a scan or label map is of: its name without ending and without nnU-Net's channel number."""
    return without_ending(path.name).removesuffix(CHANNEL_SUFFIX)


def load_case(dataset: Dataset, case: Case, plane: Plane | Literal["auto"] = "auto") -> tuple[Volume, LabelMap]:
    """Read scan and label map of a case and hold them against each other.

    Raises:
        UnpairedFiles: The case has no label map.
        GridMismatch: The two lie on different grids (see `volume.require_same_grid`).
        UnknownLabels: The label map holds values that dataset.json lacks.
        DataError: As `io.read_scan` and `io.read_labels`.
    """
    if case.label is None:
        raise UnpairedFiles(
            "has no label map, which training and scoring need.",
            where=f"case {case.id}",
            cure=f"Put it into {dataset.folder / 'labelsTr'}.",
        )
    volume = read_scan(case.image, plane)
    labels = replace(read_labels(case.label, volume.plane), names=dict(dataset.labels))
    place = f"case {case.id} ({case.label})"
    require_same_grid(volume, labels, first_name="image", second_name="label map", where=place)
    refuse_unknown_values(labels, where=place)
    return volume, labels


def _object(value: Any, path: Path) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _bad("must hold one JSON object.", path)
    return value


def _bad(fault: str, path: Path) -> BadDatasetJson:
    return BadDatasetJson(
        fault,
        where=path,
        cure='It should read like {"channel_names": {"0": "CT"}, "labels": {"background": 0, "liver": 1}, '
        '"file_ending": ".nii.gz"}.',
    )


def _channel(description: dict[str, Any], path: Path) -> str:
    # "modality" is the older name, kept by datasets that were converted from nnU-Net's first version.
    channels = description.get("channel_names", description.get("modality"))
    if not isinstance(channels, dict) or not channels:
        raise _bad('has no "channel_names".', path)
    if len(channels) > 1:
        raise TooManyChannels(
            f"has {len(channels)} image channels ({', '.join(map(str, channels.values()))}), but the method takes one.",
            where=path,
            cure="Keep one channel: its files as CASE_0000, and its name alone in channel_names.",
        )
    return str(next(iter(channels.values())))


def _labels(description: dict[str, Any], path: Path) -> dict[int, str]:
    """Names by value; nnU-Net writes values by name. Gaps between values are taken as they are."""
    labels = description.get("labels")
    if not isinstance(labels, dict) or len(labels) < 2:
        raise _bad('needs "labels" with the background and at least one structure.', path)
    if all(str(key).isdigit() for key in labels) and all(isinstance(name, str) for name in labels.values()):
        labels = {name: int(key) for key, name in labels.items()}  # the Decathlon's direction
    for name, value in labels.items():
        if isinstance(value, bool) or not isinstance(value, int):
            raise _bad(f"label {name!r} has the value {value!r}; one whole number is needed (no regions).", path)
        if name.lower() == "ignore":
            raise _bad('has an "ignore" label, which is not supported.', path)
    names = {value: str(name) for name, value in labels.items()}
    if len(names) < len(labels) or min(names) < 0 or max(names) > MAX_LABEL:
        raise _bad(f"label values must differ and lie in 0 to {MAX_LABEL}, but are {sorted(labels.values())}.", path)
    if names.get(0, "").lower() != "background":
        raise _bad(f"label 0 must be the background, but is {names.get(0)!r}.", path)
    return {value: names[value] for value in sorted(names) if value}


def _refuse_too_many(labels: dict[int, str], path: Path) -> None:
    if len(labels) > MAX_CLASSES:
        raise BadDatasetJson(
            f"has {len(labels)} labels, but at most {MAX_CLASSES} can be trained, since a class is kept in one byte.",
            where=path,
            cure="Leave out or merge labels, here and in labelsTr.",
        )


def _ending(description: dict[str, Any], path: Path) -> str:
    ending = description.get("file_ending", ".nii.gz")
    if ending not in NIFTI_ENDINGS:
        raise _bad(f'has the file_ending {ending!r}; only ".nii.gz" and ".nii" are read.', path)
    return str(ending)


def _find_cases(folder: Path, ending: str) -> tuple[Case, ...]:
    images = _files_by_id(folder / "imagesTr", CHANNEL_SUFFIX + ending)
    if not images:
        raise NoCases(
            f"has no cases: imagesTr holds no file named like CASE{CHANNEL_SUFFIX}{ending}.",
            where=folder,
            cure="Put the scans there, with that ending, or correct file_ending in dataset.json.",
        )
    if not (folder / "labelsTr").is_dir():
        return tuple(Case(case_id, image, None) for case_id, image in images.items())
    labels = _files_by_id(folder / "labelsTr", ending)
    _require_pairs(folder, set(images), set(labels))
    return tuple(Case(case_id, image, labels[case_id]) for case_id, image in images.items())


def _files_by_id(folder: Path, ending: str) -> dict[str, Path]:
    if not folder.is_dir():
        return {}
    # Names with a leading dot are left by file managers and by interrupted writes.
    paths = [path for path in sorted(folder.iterdir()) if path.name.endswith(ending) and not path.name.startswith(".")]
    return {path.name[: -len(ending)]: path for path in paths}


def _require_pairs(folder: Path, images: set[str], labels: set[str]) -> None:
    lonely = [("image", case, labels) for case in sorted(images - labels)]
    lonely += [("label map", case, images) for case in sorted(labels - images)]
    if not lonely:
        return
    told = []
    for kind, case, others in lonely[:5]:
        near = get_close_matches(case, sorted(others - (images & labels)), n=1)
        told.append(f"{kind} {case}" + (f" (nearest: {near[0]})" if near else ""))
    more = f" and {len(lonely) - 5} more" if len(lonely) > 5 else ""
    raise UnpairedFiles(
        f"{len(lonely)} files have no partner: {', '.join(told)}{more}.",
        where=folder,
        cure=f"Name them CASE{CHANNEL_SUFFIX} in imagesTr and CASE in labelsTr, or take them out.",
    )
