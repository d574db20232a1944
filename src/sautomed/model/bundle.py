"""Model folders: everything that `segment` needs, in files that anyone can read.

model.safetensors   what was trained; a frozen pretrained trunk stays out and is named by its source and hash
config.json         the resolved settings
dataset.json        label names, as nnU-Net writes them
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import safetensors
from safetensors.torch import load_file, save_file
from torch import Tensor

from sautomed.config import SamTrunkSettings, Settings, parse_settings
from sautomed.datasets.nnunet_raw import read_label_names
from sautomed.errors import BadDatasetJson, NotAModel, TrunkChanged, UnknownSetting, WrongWeights
from sautomed.files import atomic_write, read_json, write_json
from sautomed.model.build import build_model
from sautomed.model.segmenter import Segmenter

FORMAT = 1


@dataclass(frozen=True)
class Bundle:
    """A trained network and what belongs to it.

    Attributes:
        labels: Value in the label map -> organ; class k of the network is the k-th smallest value.
    """

    network: Segmenter
    settings: Settings
    labels: dict[int, str]
    channel: str


def save_bundle(folder: Path, bundle: Bundle) -> None:
    """Write a model folder; each file appears whole or not at all, the weights last."""
    pretrained = asdict(bundle.network.pretrained) if bundle.network.pretrained else None
    write_json(
        folder / "config.json",
        {"format": FORMAT, "settings": bundle.settings.model_dump(mode="json"), "pretrained_trunk": pretrained},
    )
    write_json(
        folder / "dataset.json",
        {
            "channel_names": {"0": bundle.channel},
            "labels": {"background": 0, **{name: value for value, name in sorted(bundle.labels.items())}},
            "file_ending": ".nii.gz",
        },
    )
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in trained_state(bundle.network).items()}
    with atomic_write(folder / "model.safetensors") as temporary:
        save_file(state, temporary)


def load_bundle(folder: Path) -> Bundle:
    """Read a model folder onto the CPU, in evaluation mode.

    Raises:
        NotAModel: The folder is not one.
        ModelError: Weights that do not fit the configuration, or a pretrained trunk that is missing or has changed.
    """
    for name in ("config.json", "dataset.json", "model.safetensors"):
        if not (folder / name).is_file():
            raise NotAModel(
                f"is not a model folder: {name} is missing.",
                where=folder,
                cure="Give the folder that `sautomed train` wrote, or the run that holds it.",
            )
    config = read_json(folder / "config.json", NotAModel)
    if not isinstance(config, dict) or config.get("format") != FORMAT or "settings" not in config:
        raise NotAModel(
            f"is not of the model format {FORMAT} that this version reads.",
            where=folder / "config.json",
            cure="Use the sautomed version that wrote it, or train again.",
        )
    try:
        settings = _with_input_norm(parse_settings(config["settings"], str(folder / "config.json")), config)
        labels, channel = _read_dataset_json(folder / "dataset.json")
        network = build_model(settings.model, len(labels), int(settings.data.image_size))
    except (UnknownSetting, BadDatasetJson) as error:  # in a model folder these are faults of the model
        raise NotAModel(
            error.fault, where=error.where or folder, cure="Use the sautomed version that wrote it, or copy it again."
        ) from error
    _check_trunk(network, config.get("pretrained_trunk"), folder)
    _load_trained(network, folder / "model.safetensors")
    return Bundle(network.eval(), settings, labels, channel)


def _read_dataset_json(path: Path) -> tuple[dict[int, str], str]:
    """Label names by value, and the channel."""
    labels, channels = read_label_names(path), read_json(path).get("channel_names")
    if not isinstance(channels, dict) or "0" not in channels:
        raise NotAModel('has no "channel_names".', where=path, cure="Copy the model folder again as a whole.")
    return labels, str(channels["0"])


def trained_state(network: Segmenter) -> dict[str, Tensor]:
    """All but the frozen part of a pretrained trunk."""
    frozen = {name for name, p in network.named_parameters() if name.startswith("trunk.") and not p.requires_grad}
    return {
        name: tensor for name, tensor in network.state_dict().items() if not (network.pretrained and name in frozen)
    }


def _with_input_norm(settings: Settings, config: dict[str, Any]) -> Settings:
    """The input scaling that was trained with, even if the trunk's file has another name by now."""
    trunk, pretrained = settings.model.trunk, config.get("pretrained_trunk")
    if not pretrained or not isinstance(trunk, SamTrunkSettings):
        return settings
    trunk = trunk.model_copy(update={"input_norm": pretrained["input_norm"]})
    return settings.model_copy(update={"model": settings.model.model_copy(update={"trunk": trunk})})


def _check_trunk(network: Segmenter, pretrained: dict[str, str] | None, folder: Path) -> None:
    found = network.pretrained.sha256 if network.pretrained else "none"
    if pretrained and pretrained["sha256"] != found:
        raise TrunkChanged(
            f"was trained on the trunk {pretrained['source']} with hash {pretrained['sha256'][:12]}..., but what is "
            f"there now has {found[:12]}...; its masks would be wrong.",
            where=folder,
            cure="Put the original weights back, or train again.",
        )


def _load_trained(network: Segmenter, path: Path) -> None:
    try:
        state = load_file(path)
    except (safetensors.SafetensorError, OSError) as error:
        raise WrongWeights(
            f"cannot be read as safetensors: {error}.",
            where=path,
            cure="Copy the model folder again; the file is damaged.",
        ) from error
    wanted = trained_state(network)
    faults = [f"{name} is missing" for name in sorted(wanted.keys() - state.keys())]
    faults += [f"{name} is unexpected" for name in sorted(state.keys() - wanted.keys())]
    faults += [
        f"{name} has shape {tuple(state[name].shape)} instead of {tuple(wanted[name].shape)}"
        for name in sorted(wanted.keys() & state.keys())
        if state[name].shape != wanted[name].shape
    ]
    if faults:
        raise WrongWeights(
            f"does not fit its config.json: {'; '.join(faults[:12])} ({len(faults)} in all).",
            where=path,
            cure="Copy the model folder again as a whole.",
        )
    network.load_state_dict(state, strict=False)
