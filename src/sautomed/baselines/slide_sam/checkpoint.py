"""Slide-SAM's published checkpoints: SAM's state dict with LoRA in its attention and two more upscaling heads."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeGuard, cast

import torch
from torch import Tensor

from sautomed.baselines.slide_sam.decoder import PromptEncoder, TripletDecoder, UpscalingHead
from sautomed.errors import WrongWeights
from sautomed.model.sam.files import find_weights, read_tensors
from sautomed.model.sam.trunk import SamTrunk
from sautomed.model.sam.weights import SamWeights, differences, sam_weights, unwrap

_WRAPPED_ATTENTION = re.compile(r"image_encoder\.blocks\.\d+\.attn\.qkv\.qkv\.")
_ADAPTER = re.compile(r"image_encoder\.blocks\.(\d+)\.attn\.qkv\.linear_([ab])_([qv])\.weight")
_HEAD = re.compile(r"mask_decoder\.output_upscaling([23])\.")
_MASK_PROMPT = "prompt_encoder.mask_downscaling.0.weight"


@dataclass(frozen=True)
class Published:
    """A checkpoint, split into a SAM, whose decoder has the first head, and Slide-SAM's additions.

    Attributes:
        sam: A fine-tuned SAM without its adapters; a second adapter around the first is added to its weights.
        additions: Adapters, the second and third head and the mask prompt of three slices, under published names.
        rank: Of the adapters.
    """

    sam: SamWeights
    additions: Mapping[str, Tensor]
    rank: int

    @torch.no_grad()
    def load_into(self, trunk: SamTrunk, prompt_encoder: PromptEncoder, decoder: TripletDecoder) -> None:
        """Copy the additions into the parts of a network that was built on `sam`.

        Raises:
            WrongWeights: Entries are missing, unexpected or misshapen; every difference is listed.
        """
        wanted = dict(_by_published_name(trunk, prompt_encoder, decoder))
        faults = differences(self.additions, {name: tuple(tensor.shape) for name, tensor in wanted.items()})
        if faults:
            raise _wrong_weights(faults, self.sam.source)
        for name, tensor in wanted.items():
            tensor.copy_(self.additions[name])


def read_published(source: str, input_norm: Literal["auto", "sam", "medsam"] = "auto") -> Published | None:
    """Read a published checkpoint; None if the file holds other weights, such as SAM's.

    Raises:
        ModelError: The file does not exist or cannot be read, or the SAM in the checkpoint is incomplete.
    """
    state = unwrap(read_tensors(find_weights(source)))
    if not any(_WRAPPED_ATTENTION.match(key) for key in state):
        return None
    while any(".qkv.qkv.qkv." in key for key in state):
        state = _fold_outer_adapters(state, source)
    additions = {key: value for key, value in state.items() if _ADAPTER.fullmatch(key) or _HEAD.match(key)}
    base = {key.replace(".qkv.qkv.", ".qkv."): value for key, value in state.items() if key not in additions}
    if isinstance(mask_prompt := base.get(_MASK_PROMPT), Tensor) and mask_prompt.ndim == 4:
        additions[_MASK_PROMPT], base[_MASK_PROMPT] = mask_prompt, mask_prompt[:, :1]  # SAM's has one channel
    ranks = {len(value) for key, value in additions.items() if "linear_a_" in key and _is_matrix(value)}
    norm = "sam" if input_norm == "auto" else input_norm
    return Published(sam_weights(base, "official", norm, source), additions, min(ranks, default=1))


def _fold_outer_adapters(state: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Add the outer adapters to the weights: fine-tuning wraps a second adapter around the first, and both are sums."""
    folded: dict[str, Any] = {}
    for key, value in state.items():
        if ".attn.qkv.linear_" not in key:
            folded[key.replace(".qkv.qkv.", ".qkv.", 1)] = value
    for key, value in folded.items():
        if key.endswith(".attn.qkv.qkv.weight") and _is_matrix(value):
            folded[key] = _add_adapter(value, state, key.removesuffix("qkv.weight"), source)
    return folded


def _add_adapter(weight: Tensor, state: Mapping[str, Any], attention: str, source: str) -> Tensor:
    names = {(kind, part): f"{attention}linear_{kind}_{part}.weight" for kind in "ab" for part in "qv"}
    dim = weight.shape[1]
    if len(weight) != 3 * dim or not weight.is_floating_point():
        return weight  # `sam_weights` reports it with all other faults
    first = state.get(names["a", "q"])
    rank = len(first) if _is_matrix(first) else 1
    shapes = {name: (rank, dim) if kind == "a" else (dim, rank) for (kind, _), name in names.items()}
    faults = differences({name: state[name] for name in shapes if name in state}, shapes)
    if faults:
        raise _wrong_weights(faults, source)
    total = weight.clone()
    for part, rows in (("q", slice(0, dim)), ("v", slice(2 * dim, None))):
        total[rows] += state[names["b", part]] @ state[names["a", part]]
    return total


def _by_published_name(
    trunk: SamTrunk, prompt_encoder: PromptEncoder, decoder: TripletDecoder
) -> Iterator[tuple[str, Tensor]]:
    """Yield the network's parameters that SAM does not have, under published names."""
    for number, block in enumerate(trunk.vision.layers):
        for part in "qv":
            layer = getattr(block.attn.qkv, part)
            for kind, lora in (("a", layer.lora_A), ("b", layer.lora_B)):
                yield f"image_encoder.blocks.{number}.attn.qkv.linear_{kind}_{part}.weight", lora["default"].weight
    for number, head in enumerate(list(decoder.upscaling)[1:], start=2):
        for place, layer in cast(UpscalingHead, head).layers().items():
            for name, tensor in layer.state_dict().items():
                yield f"mask_decoder.output_upscaling{number}.{place}.{name}", tensor
    yield _MASK_PROMPT, prompt_encoder.encoder.mask_embed.conv1.weight


def _is_matrix(value: object) -> TypeGuard[Tensor]:
    return isinstance(value, Tensor) and value.ndim == 2


def _wrong_weights(faults: list[str], source: str) -> WrongWeights:
    return WrongWeights(
        f"this is no Slide-SAM checkpoint. {' '.join(faults)}",
        where=source,
        cure="Give Slide-SAM's model.pth, which holds the whole network, or SAM's weights.",
    )
