"""nnU-Net's raw layout: dataset.json, imagesTr/CASE_0000.nii.gz, labelsTr/CASE.nii.gz.

`file_ending` may be that of any format that is read.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sautomed.datasets import msd
from sautomed.datasets.dataset import Case, Dataset
from sautomed.datasets.description import (
    DESCRIPTION,
    bad_description,
    channel_name,
    label_names,
    read_description,
    refuse_too_many_labels,
)
from sautomed.datasets.names import CHANNEL_SUFFIX, files_in, unpaired_names
from sautomed.errors import MissingFile, NoCases, UnpairedFiles
from sautomed.errors.text import listed
from sautomed.scans.formats import FILE_ENDINGS

LOOKS_FOR = f"{DESCRIPTION} and imagesTr/CASE{CHANNEL_SUFFIX}.nii.gz"


def detect(folder: Path) -> bool:
    """Return whether there is a dataset.json other than the Decathlon's, which lists its files itself."""
    return (folder / DESCRIPTION).is_file() and not msd.detect(folder)


def read_dataset(folder: str | Path) -> Dataset:
    """Read the description of a dataset and list its cases.

    Raises:
        MissingFile: There is no such folder, or no dataset.json in it.
        BadDatasetJson: dataset.json is malformed, or has regions, an ignore label or an unknown file ending.
        TooManyChannels: It has more than one image channel.
        NoCases: imagesTr holds no case.
        UnpairedFiles: An image has no label map, or the reverse.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise MissingFile("there is no such dataset folder.", where=folder, cure="Check the path given with -d.")
    path = folder / DESCRIPTION
    if not path.is_file():
        raise MissingFile(
            "does not exist, so the folder is not in nnU-Net's raw layout (dataset.json, imagesTr, labelsTr).",
            where=path,
            cure="Give the folder that holds dataset.json, or write one.",
        )
    description = read_description(path)
    labels = label_names(description, path)
    refuse_too_many_labels(labels, path)
    cases, unpaired = _find_cases(folder, _ending(description, path))
    dataset = Dataset(
        folder=folder,
        name=str(description.get("name", folder.name)),
        channel=channel_name(description, path),
        labels=labels,
        cases=cases,
        layout="nnunet-raw",
    )
    if unpaired:
        raise UnpairedFiles(
            f"{len(unpaired)} files have no partner: {listed(unpaired)}.",
            where=folder,
            cure=f"Name them CASE{CHANNEL_SUFFIX} in imagesTr and CASE in labelsTr, or take them out.",
            result=dataset,
        )
    return dataset


def _ending(description: dict[str, Any], path: Path) -> str:
    ending = description.get("file_ending", ".nii.gz")
    if ending not in FILE_ENDINGS:
        raise bad_description(f"has the file_ending {ending!r}, but only {', '.join(FILE_ENDINGS)} are read.", path)
    return str(ending)


def _find_cases(folder: Path, ending: str) -> tuple[tuple[Case, ...], list[str]]:
    """Return the cases, and descriptions of the files that have no partner."""
    images = _files_by_id(folder / "imagesTr", CHANNEL_SUFFIX + ending)
    if not images:
        raise NoCases(
            f"has no cases: imagesTr holds no file named like CASE{CHANNEL_SUFFIX}{ending}.",
            where=folder,
            cure="Put the scans there, with that ending, or correct file_ending in dataset.json.",
        )
    if not (folder / "labelsTr").is_dir():
        return tuple(Case(case_id, image, None) for case_id, image in images.items()), []
    labels = _files_by_id(folder / "labelsTr", ending)
    cases = tuple(Case(case_id, image, labels.get(case_id)) for case_id, image in images.items())
    return cases, unpaired_names(set(images), set(labels))


def _files_by_id(folder: Path, ending: str) -> dict[str, Path]:
    return {path.name[: -len(ending)]: path for path in files_in(folder, ending)}
