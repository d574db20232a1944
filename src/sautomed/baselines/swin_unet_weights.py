"""swin_tiny_patch4_window7_224.pth, the ImageNet weights of Swin-Unet's encoder and, mirrored, of its decoder.

Swin-T's third stage has six blocks and Swin-Unet's two: the first two are taken, as the public code's copying does.
The classifier is not read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from sautomed.baselines.pretrained import check_entries, refuse_any, weights_file
from sautomed.config import SwinUnetSettings
from sautomed.errors import WrongWeights
from sautomed.model.sam.files import read_tensors

if TYPE_CHECKING:
    from sautomed.baselines.swin_unet import SwinUnet

_CURE = "Give swin_tiny_patch4_window7_224.pth of Microsoft's Swin transformers, or leave model.weights out."
_DERIVED = (".attn_mask", ".relative_position_index")  # tables that follow from the sizes
_ENCODER = ("patch_embed.", "layers.", "norm.")
_BLOCK = re.compile(r"layers\.(\d+)\.blocks\.(\d+)\.")


def load_imagenet(network: SwinUnet, settings: SwinUnetSettings, weights: str) -> None:
    """Put the file's numbers into the encoder, and those of its blocks into the decoder's blocks of the same scale too.

    Raises:
        WeightsNotFound: There is no such file.
        WrongWeights: It is something else, or entries are missing, unexpected or misshapen; all are listed.
        DamagedWeights: It is cut short or broken.
        UnsafeWeights: It holds objects that would run code.
    """
    path = weights_file(weights, _CURE)
    own = network.state_dict()
    names = {_file_name(name): name for name in own if name.startswith(_ENCODER) and not name.endswith(_DERIVED)}
    found = _needed(_read(path), settings.depths)
    _check(found, {theirs: tuple(own[ours].shape) for theirs, ours in names.items()}, path)
    with torch.no_grad():
        for theirs, ours in names.items():
            mirrored = ours.replace("layers.", "up.", 1)
            for name in (ours, mirrored) if _BLOCK.match(ours) and mirrored in own else (ours,):
                own[name].copy_(found[theirs])


def _file_name(ours: str) -> str:
    """MONAI names the layers of an MLP otherwise."""
    return re.sub(r"\.mlp\.linear(\d)\.", r".mlp.fc\1.", ours)


def _read(path: Path) -> Mapping[str, Any]:
    try:
        content = read_tensors(path)
    except WrongWeights as error:
        raise WrongWeights(error.fault, where=path, cure=_CURE) from error
    inside = content.get("model", content)
    return inside if isinstance(inside, Mapping) else content


def _needed(state: Mapping[str, Any], depths: Sequence[int]) -> dict[str, Any]:
    """Without the classifier, derived tables, and the blocks that Swin-Unet has not."""

    def is_needed(name: str) -> bool:
        block = _BLOCK.match(name)
        beyond = block is not None and int(block[1]) < len(depths) and int(block[2]) >= depths[int(block[1])]
        return not (beyond or name.startswith("head.") or name.endswith(_DERIVED))

    return {str(name): value for name, value in state.items() if is_needed(str(name))}


def _check(found: Mapping[str, Any], wanted: Mapping[str, tuple[int, ...]], path: Path) -> None:
    tensors = {name: value for name, value in found.items() if isinstance(value, Tensor)}
    odd = [n for n in wanted if n in found and (n not in tensors or not tensors[n].is_floating_point())]
    check_entries({name: tuple(value.shape) for name, value in tensors.items()}, wanted, path, _CURE)
    infinite = [n for n, value in tensors.items() if n not in odd and not torch.isfinite(value).all()]
    refuse_any(path, _CURE, not_floating_point=odd, not_finite=infinite)
