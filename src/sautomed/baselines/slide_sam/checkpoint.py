"""Published Slide-SAM checkpoints: SAM's state dict with LoRA inside its attention and two more upscaling heads."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeGuard, cast

import torch
from torch import Tensor

from sautomed.baselines.slide_sam.decoder import UpscalingHead
from sautomed.errors import WrongWeights
from sautomed.model.sam.files import find_weights, read_tensors
from sautomed.model.sam.trunk import SamTrunk
from sautomed.model.sam.weights import SamWeights, differences, sam_weights, unwrap

if TYPE_CHECKING:
    from sautomed.baselines.slide_sam.network import SlideSam

_TELLTALE = re.compile(r"image_encoder\.blocks\.\d+\.attn\.qkv\.qkv\.")
_ADAPTER = re.compile(r"image_encoder\.blocks\.(\d+)\.attn\.qkv\.linear_([ab])_([qv])\.weight")
_HEAD = re.compile(r"mask_decoder\.output_upscaling([23])\.")
_MASK_PROMPT = "prompt_encoder.mask_downscaling.0.weight"


@dataclass(frozen=True)
class Published:
    """A checkpoint: the SAM in it, whose decoder has the first head, and what Slide-SAM has besides.

    Attributes:
        sam: A fine-tuned SAM without its adapters; a second adapter around the first is added to its weights.
        more: Adapters, the second and third head and the mask prompt of three slices, under published names.
        rank: Of the adapters.
    """

    sam: SamWeights
    more: Mapping[str, Tensor]
    rank: int

    @torch.no_grad()
    def put_into(self, model: SlideSam) -> None:
        """Give a network that was built on `sam` the rest.

        Raises:
            WrongWeights: Something is missing, too much, or of another shape; every difference is listed.
        """
        wanted = dict(_own(model))
        faults = differences(self.more, {name: tuple(tensor.shape) for name, tensor in wanted.items()})
        if faults:
            raise _refusal(faults, self.sam.source)
        for name, tensor in wanted.items():
            tensor.copy_(self.more[name])


def read_published(source: str, input_norm: Literal["auto", "sam", "medsam"] = "auto") -> Published | None:
    """A published checkpoint, or None if there is something else, such as SAM's weights.

    Raises:
        ModelError: There is nothing, or it cannot be read; or a Slide-SAM checkpoint whose SAM is not whole.
    """
    state = unwrap(read_tensors(find_weights(source)))
    if not any(_TELLTALE.match(key) for key in state):
        return None
    while any(".qkv.qkv.qkv." in key for key in state):
        state = _without_outer_adapters(state, source)
    more = {key: value for key, value in state.items() if _ADAPTER.fullmatch(key) or _HEAD.match(key)}
    base = {key.replace(".qkv.qkv.", ".qkv."): value for key, value in state.items() if key not in more}
    if isinstance(mask_prompt := base.get(_MASK_PROMPT), Tensor) and mask_prompt.ndim == 4:
        more[_MASK_PROMPT], base[_MASK_PROMPT] = mask_prompt, mask_prompt[:, :1]
    ranks = {len(value) for key, value in more.items() if "linear_a_" in key and _is_matrix(value)}
    norm = "sam" if input_norm == "auto" else input_norm
    return Published(sam_weights(base, "official", norm, source), more, min(ranks, default=1))


def _without_outer_adapters(state: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Fine-tuning puts a second adapter around the first; both are sums, so the outer goes into the weights."""
    folded: dict[str, Any] = {}
    for key, value in state.items():
        if ".attn.qkv.linear_" not in key:
            folded[key.replace(".qkv.qkv.", ".qkv.", 1)] = value
    for key, value in folded.items():
        if key.endswith(".attn.qkv.qkv.weight") and _is_matrix(value):
            folded[key] = _with_adapter(value, state, key.removesuffix("qkv.weight"), source)
    return folded


def _with_adapter(weight: Tensor, state: Mapping[str, Any], attention: str, source: str) -> Tensor:
    names = {(kind, part): f"{attention}linear_{kind}_{part}.weight" for kind in "ab" for part in "qv"}
    dim = weight.shape[1]
    if len(weight) != 3 * dim or not weight.is_floating_point():
        return weight  # SAM's own check says so, with whatever else is wrong
    first = state.get(names["a", "q"])
    rank = len(first) if _is_matrix(first) else 1
    shapes = {name: (rank, dim) if kind == "a" else (dim, rank) for (kind, _), name in names.items()}
    faults = differences({name: state[name] for name in shapes if name in state}, shapes)
    if faults:
        raise _refusal(faults, source)
    whole = weight.clone()
    for part, rows in (("q", slice(0, dim)), ("v", slice(2 * dim, None))):
        whole[rows] += state[names["b", part]] @ state[names["a", part]]
    return whole


def _own(model: SlideSam) -> Iterator[tuple[str, Tensor]]:
    """The model's tensors that SAM does not have, under published names."""
    for number, block in enumerate(cast(SamTrunk, model.trunk).vision.layers):
        for part in "qv":
            layer = getattr(block.attn.qkv, part)
            for kind, lora in (("a", layer.lora_A), ("b", layer.lora_B)):
                yield f"image_encoder.blocks.{number}.attn.qkv.linear_{kind}_{part}.weight", lora["default"].weight
    for number, head in enumerate(list(model.decoder.upscaling)[1:], start=2):
        for place, layer in cast(UpscalingHead, head).layers().items():
            for name, tensor in layer.state_dict().items():
                yield f"mask_decoder.output_upscaling{number}.{place}.{name}", tensor
    yield _MASK_PROMPT, model.prompt_encoder.encoder.mask_embed.conv1.weight


def _is_matrix(value: object) -> TypeGuard[Tensor]:
    return isinstance(value, Tensor) and value.ndim == 2


def _refusal(faults: list[str], source: str) -> WrongWeights:
    return WrongWeights(
        f"this is no Slide-SAM checkpoint. {' '.join(faults)}",
        where=source,
        cure="Give Slide-SAM's model.pth, which holds its whole network, or SAM's weights.",
    )
