"""MA-SAM's published checkpoints: the parameters that its code trains, without SAM's encoder."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from sautomed.baselines.ma_sam.decoder import MaSamHead
from sautomed.baselines.ma_sam.trunks import SamStackTrunk
from sautomed.errors import WrongWeights
from sautomed.model.sam.files import find_weights, read_tensors
from sautomed.model.sam.keys import official_name
from sautomed.model.sam.weights import differences, unwrap

_ADAPTER_PARTS = {"norm": "norm", "down": "linear_down", "conv": "conv", "up": "linear_up"}  # ours: MA-SAM's


@torch.no_grad()
def load_published(trunk: SamStackTrunk, head: MaSamHead, source: str) -> None:
    """Copy a published checkpoint (`epoch_299.pth`) into the parts of a MA-SAM.

    Args:
        trunk: With the SAM that the checkpoint was trained on.
        source: A file with `q_FacTs_000...`, `v_FacTs_000...`, `image_encoder.FacTu` and `.FacTv`, the adapters under
            `image_encoder.ImageEncoderViT.blocks.N.Block.`, and all of `prompt_encoder.` and `mask_decoder.`.
    Raises:
        WeightsNotFound: There is no such file.
        WrongWeights: Its keys or shapes are not those of this model; every difference is listed.
        DamagedWeights: The file is cut short or broken.
        UnsafeWeights: Reading it would run code.
    """
    state = unwrap(read_tensors(find_weights(source)))
    wanted = by_published_name(trunk, head)
    faults = differences(state, {name: tuple(tensor.shape) for name, tensor in wanted.items()})
    if faults:
        organs = len(head.decoder.mask_tokens.weight) - 1
        raise WrongWeights(
            f"this is no MA-SAM checkpoint for {organs} organs on this trunk. {' '.join(faults)}",
            where=source,
            cure="Give MA-SAM's epoch_N.pth with the trunk, the rank and the number of organs it was trained for.",
        )
    for name, tensor in wanted.items():
        tensor.copy_(state[name])


def by_published_name(trunk: SamStackTrunk, head: MaSamHead) -> Mapping[str, Tensor]:
    """Return a model's trained parameters under the names of a published checkpoint."""
    fact = trunk.fact
    own: dict[str, Tensor] = {"image_encoder.FacTu.weight": fact.u.weight, "image_encoder.FacTv.weight": fact.v.weight}
    for letter, cores in (("q", fact.q_cores), ("v", fact.v_cores)):
        own |= {f"{letter}_FacTs_{block:03d}": core.state_dict()["weight"] for block, core in enumerate(cores)}
    for adapters, suffix in ((trunk.before_attention, ""), (trunk.before_mlp, "_2")):
        for block, adapter in enumerate(adapters):
            place = f"image_encoder.ImageEncoderViT.blocks.{block}.Block.adapter_"
            for key, tensor in adapter.state_dict().items():
                part, kind = key.split(".")
                own[f"{place}{_ADAPTER_PARTS[part]}{suffix}.{kind}"] = tensor
    for name, module in (("prompt_encoder", head.prompt), ("mask_decoder", head.decoder)):
        own |= {official_name(f"{name}.{key}"): tensor for key, tensor in module.state_dict().items()}
    return own
