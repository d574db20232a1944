"""dataset.json of nnU-Net or the Medical Segmentation Decathlon: names of the labels and of the channel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sautomed.errors import BadDatasetJson, TooManyChannels
from sautomed.errors.text import listed
from sautomed.scans.paths import read_json
from sautomed.scans.values import MAX_LABEL

DESCRIPTION = "dataset.json"
MAX_CLASSES = 254  # prepared cases keep a class in one byte: 0 is the background, 255 marks undeclared values

_ONE_CHANNEL = "Keep one channel: its files as CASE_0000, and its name alone in channel_names."
CT_CHANNELS = frozenset({"ct", "cta", "ncct", "cect", "hu"})


def is_ct(channel: str) -> bool:
    """Return whether a channel of that name holds Hounsfield units."""
    return channel.strip().lower() in CT_CHANNELS


def read_description(path: Path) -> dict[str, Any]:
    """Read the object in a dataset.json. Raises MissingFile or BadDatasetJson."""
    description = read_json(path)
    if not isinstance(description, dict):
        raise bad_description("must hold one JSON object.", path)
    return description


def read_label_names(path: str | Path) -> dict[int, str]:
    """Read the label names of a dataset.json, without the background.

    Raises:
        MissingFile: There is no such file.
        BadDatasetJson: It is malformed.
    """
    path = Path(path)
    return label_names(read_description(path), path)


def bad_description(fault: str, path: Path) -> BadDatasetJson:
    """Return a BadDatasetJson with an example of a good file as its cure."""
    return BadDatasetJson(
        fault,
        where=path,
        cure='It should read like {"channel_names": {"0": "CT"}, "labels": {"background": 0, "liver": 1}, '
        '"file_ending": ".nii.gz"}.',
    )


def channel_name(description: dict[str, Any], path: Path, cure: str = _ONE_CHANNEL) -> str:
    """Return the name of the one image channel. Raises BadDatasetJson, or TooManyChannels if there are several."""
    # "modality" is the older name, kept by datasets that were converted from nnU-Net's first version.
    channels = description.get("channel_names", description.get("modality"))
    if not isinstance(channels, dict) or not channels:
        raise bad_description('has no "channel_names".', path)
    if len(channels) > 1:
        raise TooManyChannels(
            f"has {len(channels)} image channels ({listed(channels.values())}), but the method takes one.",
            where=path,
            cure=cure,
        )
    return str(next(iter(channels.values())))


def label_names(description: dict[str, Any], path: Path) -> dict[int, str]:
    """Return label names by value; gaps between values are allowed. Raises BadDatasetJson."""
    labels = description.get("labels")
    if not isinstance(labels, dict) or len(labels) < 2:
        raise bad_description('needs "labels" with the background and at least one structure.', path)
    if all(str(key).isdecimal() for key in labels) and all(isinstance(name, str) for name in labels.values()):
        _require_different(list(labels.values()), path)
        labels = {
            name: int(key) for key, name in labels.items()
        }  # the Decathlon writes names by value, nnU-Net the reverse
    for name, value in labels.items():
        if isinstance(value, bool) or not isinstance(value, int):
            raise bad_description(
                f"label {name!r} has the value {value!r}; one whole number is needed (no regions).", path
            )
        if name.lower() == "ignore":
            raise bad_description('has an "ignore" label, which is not supported.', path)
    names = {value: str(name) for name, value in labels.items()}
    if len(names) < len(labels) or min(names) < 0 or max(names) > MAX_LABEL:
        raise bad_description(
            f"label values must differ and lie in 0 to {MAX_LABEL}, but are {sorted(labels.values())}.", path
        )
    if names.get(0, "").lower() != "background":
        raise bad_description(f"label 0 must be the background, but is {names.get(0)!r}.", path)
    return {value: names[value] for value in sorted(names) if value}


def _require_different(names: list[str], path: Path) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise bad_description(f"gives several labels the name {listed(twice)}.", path)


def refuse_too_many_labels(labels: dict[int, str], path: Path) -> None:
    """Raise BadDatasetJson if there are more labels than can be trained."""
    if len(labels) > MAX_CLASSES:
        raise BadDatasetJson(
            f"has {len(labels)} labels, but at most {MAX_CLASSES} can be trained, since a class is kept in one byte.",
            where=path,
            cure="Leave out or merge labels, here and in labelsTr.",
        )
