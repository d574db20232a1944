"""swin_tiny_patch4_window7_224.pth, the ImageNet weights of Swin-Unet's encoder and, mirrored, of its decoder.

Swin-T's third stage has six blocks and Swin-Unet's has two, which get the first two, as in the public code. The
classifier is not read. Knows the network only by its parameters' names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sautomed.baselines.pretrained import check_entries, find_weights_file, refuse_faults
from sautomed.config.baselines import SwinUnetSettings
from sautomed.errors import WrongWeights
from sautomed.model.sam.files import read_tensors

_CURE = "Give swin_tiny_patch4_window7_224.pth of Microsoft's Swin transformers, or leave model.weights out."
_DERIVED = (".attn_mask", ".relative_position_index")  # tables that are computed from the sizes
_ENCODER = ("patch_embed.", "layers.", "norm.")
_BLOCK = re.compile(r"layers\.(\d+)\.blocks\.(\d+)\.")


def load_imagenet(network: nn.Module, settings: SwinUnetSettings, weights: str) -> None:
    """Copy the file's numbers into the encoder of a Swin-Unet, and blocks also into the decoder's of the same scale.

    Args:
        settings: Of the network.
        weights: The file.
    Raises:
        WeightsNotFound: There is no such file.
        WrongWeights: It is something else, or entries are missing, unexpected or misshapen; all are listed.
        DamagedWeights: It is cut short or broken.
        UnsafeWeights: It holds objects that would run code.
    """
    path = find_weights_file(weights, _CURE)
    own = network.state_dict()
    names = {_name_in_file(name): name for name in own if name.startswith(_ENCODER) and not name.endswith(_DERIVED)}
    found = _select_needed(_read(path), settings.depths)
    _check(found, {theirs: tuple(own[ours].shape) for theirs, ours in names.items()}, path)
    with torch.no_grad():
        for theirs, ours in names.items():
            mirrored = ours.replace("layers.", "up.", 1)
            for name in (ours, mirrored) if _BLOCK.match(ours) and mirrored in own else (ours,):
                own[name].copy_(found[theirs])


def _name_in_file(ours: str) -> str:
    """Return Swin's name of a parameter; MONAI has other names for the layers of an MLP."""
    return re.sub(r"\.mlp\.linear(\d)\.", r".mlp.fc\1.", ours)


def _read(path: Path) -> Mapping[str, Any]:
    try:
        content = read_tensors(path)
    except WrongWeights as error:
        raise WrongWeights(error.fault, where=path, cure=_CURE) from error
    inside = content.get("model", content)
    return inside if isinstance(inside, Mapping) else content


def _select_needed(state: Mapping[str, Any], depths: Sequence[int]) -> dict[str, Any]:
    """Leave out the classifier, derived tables, and blocks past the network's depth; strangers stay for the check."""

    def is_needed(name: str) -> bool:
        block = _BLOCK.match(name)
        too_deep = block is not None and int(block[1]) < len(depths) and int(block[2]) >= depths[int(block[1])]
        return not (too_deep or name.startswith("head.") or name.endswith(_DERIVED))

    return {str(name): value for name, value in state.items() if is_needed(str(name))}


def _check(found: Mapping[str, Any], wanted: Mapping[str, tuple[int, ...]], path: Path) -> None:
    tensors = {name: value for name, value in found.items() if isinstance(value, Tensor)}
    odd = [n for n in wanted if n in found and (n not in tensors or not tensors[n].is_floating_point())]
    check_entries({name: tuple(value.shape) for name, value in tensors.items()}, wanted, path, _CURE)
    infinite = [n for n, value in tensors.items() if n not in odd and not torch.isfinite(value).all()]
    refuse_faults({"not floating point": odd, "not finite": infinite}, path, _CURE)
