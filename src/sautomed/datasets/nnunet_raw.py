"""nnU-Net's raw layout: dataset.json, imagesTr/CASE_0000.nii.gz, labelsTr/CASE.nii.gz.

`file_ending` may be that of any format that is read.
"""

from __future__ import annotations

import logging
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
from sautomed.datasets.names import CHANNEL_SUFFIX, case_name, files_in, unpaired_names, without_ending
from sautomed.errors import MissingFile, NoCases, UnpairedFiles
from sautomed.errors.text import listed
from sautomed.scans.formats import FILE_ENDINGS
from sautomed.scans.paths import require_folder

log = logging.getLogger(__name__)

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
    require_folder(folder)
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
    ending = _ending(description, path)
    cases, unpaired = _find_cases(folder, ending)
    _warn_of_other_endings(folder, ending, {case.id for case in cases})
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
            cure=f"Name them CASE{CHANNEL_SUFFIX}{ending} in imagesTr and CASE{ending} in labelsTr, or take them out. "
            "To change an ending: `sautomed convert -i OLD -o NEW`, for label maps with --labels.",
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
    other_images = _other_endings(folder / "imagesTr", CHANNEL_SUFFIX, set(labels) - set(images))
    other_maps = _other_endings(folder / "labelsTr", "", set(images) - set(labels))
    others = [f"image {path.name}" for path in other_images.values()]
    others += [f"label map {path.name}" for path in other_maps.values()]
    # CASE.seg.nrrd is named CASE.seg where .nrrd is wanted
    strays = {name for name, path in labels.items() if path in other_maps.values()}
    lost_images, lost_maps = set(images) - set(other_maps), set(labels) - set(other_images) - strays
    return cases, [f"{name} (must end in {ending})" for name in others] + unpaired_names(lost_images, lost_maps)


def _other_endings(folder: Path, suffix: str, wanted: set[str]) -> dict[str, Path]:
    """Return files of the wanted cases whatever format's ending they have."""
    found = {without_ending(path.name): path for path in files_in(folder, *FILE_ENDINGS)}
    return {case_id: found[case_id + suffix] for case_id in sorted(wanted) if case_id + suffix in found}


def _warn_of_other_endings(folder: Path, ending: str, cases: set[str]) -> None:
    """Warn of files in other formats, which are not read, and whose case is not there in the right one."""
    files = (path for part in ("imagesTr", "labelsTr") for path in files_in(folder / part, *FILE_ENDINGS))
    unused = [path for path in files if not path.name.lower().endswith(ending) and case_name(path) not in cases]
    if unused:
        names = listed(f"{path.parent.name}/{path.name}" for path in unused)
        log.warning("%s: not used, as they do not end in %s: %s.", folder, ending, names)


def _files_by_id(folder: Path, ending: str) -> dict[str, Path]:
    return {path.name[: -len(ending)]: path for path in files_in(folder, ending)}
