"""Medical Segmentation Decathlon: dataset.json names each image and label map; files carry no channel number."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any

from sautomed.datasets.dataset import Case, Dataset
from sautomed.datasets.description import (
    DESCRIPTION,
    bad_description,
    channel_name,
    label_names,
    read_description,
    refuse_too_many_labels,
)
from sautomed.datasets.names import CHANNEL_SUFFIX, in_number_order, without_ending
from sautomed.errors import BadDatasetJson, MissingFile, NoCases, UnpairedFiles
from sautomed.errors.text import listed

LOOKS_FOR = f'{DESCRIPTION} with "training": [{{"image": ..., "label": ...}}, ...] and imagesTr/CASE.nii.gz'


def detect(folder: Path) -> bool:
    """Return whether dataset.json lists pairs of files without nnU-Net's channel numbers.

    nnU-Net's first version lists its files too, but numbers them.
    """
    try:
        training = read_description(folder / DESCRIPTION).get("training")
    except (MissingFile, BadDatasetJson):
        return False
    if not isinstance(training, list) or not all(isinstance(pair, dict) for pair in training):
        return False
    return not any(path.name.split(".")[0].endswith(CHANNEL_SUFFIX) for path in (folder / "imagesTr").glob("[!.]*"))


def read_dataset(folder: Path) -> Dataset:
    """Read a task of the Decathlon.

    Raises:
        MissingFile, BadDatasetJson: There is no dataset.json, or it is malformed.
        TooManyChannels: The scans have several channels.
        NoCases: dataset.json lists no pair.
        UnpairedFiles: It lists files that do not exist, or a case twice.
    """
    path = folder / DESCRIPTION
    description = read_description(path)
    labels = label_names(description, path)
    refuse_too_many_labels(labels, path)
    channel = channel_name(
        description,
        path,
        cure="Write one channel of each scan to a file of its own (sautomed convert --frame K), in a new dataset whose "
        "dataset.json names that channel alone.",
    )
    cases = _cases(folder, description, path)
    return Dataset(folder, str(description.get("name", folder.name)), channel, labels, cases, "msd")


def _cases(folder: Path, description: dict[str, Any], path: Path) -> tuple[Case, ...]:
    training = description.get("training")
    if not isinstance(training, list):
        raise bad_description('has no list "training" of {"image": ..., "label": ...}.', path)
    pairs = [_pair(entry, folder, path) for entry in training]
    pairs = [(image, label) for image, label in pairs if not image.name.startswith(".")]  # "._NAME" of macOS
    if not pairs:
        raise NoCases("lists no case under training.", where=path, cure="Download the task again.")
    missing = [str(file.relative_to(folder)) for pair in pairs for file in pair if not file.is_file()]
    if missing:
        raise UnpairedFiles(
            f"lists {len(missing)} files that do not exist: {listed(missing)}.",
            where=path,
            cure="Unpack the task again, or remove their entries.",
        )
    cases = [Case(without_ending(image.name), image, label) for image, label in sorted(pairs, key=_image_order)]
    twice = sorted({case.id for case in cases if sum(case.id == other.id for other in cases) > 1})
    if twice:
        raise UnpairedFiles(f"lists the case {listed(twice)} twice.", where=path, cure="Remove one of the entries.")
    return tuple(cases)


def _image_order(pair: tuple[Path, Path]) -> tuple[int, str]:
    return in_number_order(pair[0])


def _pair(entry: Any, folder: Path, path: Path) -> tuple[Path, Path]:
    names = [entry.get(key) if isinstance(entry, dict) else None for key in ("image", "label")]
    if not all(isinstance(name, str) and name for name in names):
        raise bad_description(f'has the entry {entry!r} under "training", not {{"image": ..., "label": ...}}.', path)
    image, label = (PurePosixPath(str(name)) for name in names)
    if any(name.is_absolute() or ".." in name.parts for name in (image, label)):
        raise bad_description(f"names files outside of its folder: {image}, {label}.", path)
    return folder / image, folder / label
