"""State dicts in the layout of SAM's published files, written out from its description and filled by a formula.

Independent of the package under test and of `transformers`: names and shapes are spelled here once more. The values
do not come from a random generator, whose numbers may change with PyTorch's version.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Tiny:
    """An image encoder small enough for tests: windowed blocks (padded at 256 px: 16 patches) around a global one."""

    dim: int = 32
    depth: int = 3
    heads: int = 2
    global_blocks: tuple[int, ...] = (2,)
    grid: int = 16


_TABLES = (
    "rel_pos",
    "pos_embed",
    "gaussian_matrix",
    "point_embeddings",
    "not_a_point",
    "no_mask",
    "iou_token",
    "mask_tokens",
)  # not fed by a sum


def official_shapes(net: Tiny) -> dict[str, tuple[int, ...]]:
    """Name and shape of every parameter; lists of the parts in the order of the published files."""
    return {**_image_encoder(net), **_prompt_encoder(), **_mask_decoder()}


def official_state(net: Tiny | None = None) -> dict[str, Tensor]:
    """Reproducible noise in every tensor: none is zero, none is constant, and biases are large.

    Returns:
        A dict of its own; the tensors are shared between calls, so leave their values.
    """
    return dict(_filled(net or Tiny()))


def write_official(path: Path, change: Callable[[dict[str, Tensor]], Any] | None = None, **options: Any) -> Path:
    """Write the tiny official state as PyTorch does, after `change` (in place, or returning what to write instead)."""
    state = official_state()
    replacement = change(state) if change else None
    torch.save(state if replacement is None else replacement, path, **options)
    return path


@cache
def _filled(net: Tiny) -> dict[str, Tensor]:
    state = {}
    for number, (name, shape) in enumerate(official_shapes(net).items()):
        values = noise(math.prod(shape), number).reshape(shape)
        if "norm" in name or _is_norm_2d(name):
            state[name] = (1 + 0.5 * values) if name.endswith("weight") else 0.5 * values
        elif len(shape) == 1:
            state[name] = 0.5 * values
        elif any(part in name for part in _TABLES):
            state[name] = values
        else:
            state[name] = values / math.sqrt(math.prod(shape[1:]))
    return state


def _is_norm_2d(name: str) -> bool:
    return any(
        part in name
        for part in ("neck.1.", "neck.3.", "mask_downscaling.1.", "mask_downscaling.4.", "output_upscaling.1.")
    )


def noise(count: int, salt: int) -> Tensor:
    """Values in [-1, 1) without visible pattern: the far digits of a sine."""
    phase = torch.arange(count, dtype=torch.float64) * 12.9898 + 78.233 * (salt + 1)
    return (2 * (torch.sin(phase) * 43758.5453).frac().abs() - 1).float()


def _linear(name: str, inputs: int, outputs: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def _norm(name: str, width: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def _conv(name: str, *shape: int, outputs: int | None = None) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": shape, f"{name}.bias": (outputs or shape[0],)}


def _image_encoder(net: Tiny) -> dict[str, tuple[int, ...]]:
    dim, shapes = net.dim, {"image_encoder.pos_embed": (1, net.grid, net.grid, net.dim)}
    shapes |= _conv("image_encoder.patch_embed.proj", dim, 3, 16, 16)
    for i in range(net.depth):
        block = f"image_encoder.blocks.{i}"
        rows = 2 * net.grid - 1 if i in net.global_blocks else 27
        shapes |= _norm(f"{block}.norm1", dim)
        shapes |= {f"{block}.attn.rel_pos_{axis}": (rows, dim // net.heads) for axis in "hw"}
        shapes |= _linear(f"{block}.attn.qkv", dim, 3 * dim) | _linear(f"{block}.attn.proj", dim, dim)
        shapes |= _norm(f"{block}.norm2", dim)
        shapes |= _linear(f"{block}.mlp.lin1", dim, 4 * dim) | _linear(f"{block}.mlp.lin2", 4 * dim, dim)
    shapes |= {"image_encoder.neck.0.weight": (256, dim, 1, 1)} | _norm("image_encoder.neck.1", 256)
    return shapes | {"image_encoder.neck.2.weight": (256, 256, 3, 3)} | _norm("image_encoder.neck.3", 256)


def _prompt_encoder() -> dict[str, tuple[int, ...]]:
    part = "prompt_encoder"
    shapes = {f"{part}.pe_layer.positional_encoding_gaussian_matrix": (2, 128)}
    shapes |= {f"{part}.point_embeddings.{i}.weight": (1, 256) for i in range(4)}
    shapes |= {f"{part}.not_a_point_embed.weight": (1, 256)}
    shapes |= _conv(f"{part}.mask_downscaling.0", 4, 1, 2, 2) | _norm(f"{part}.mask_downscaling.1", 4)
    shapes |= _conv(f"{part}.mask_downscaling.3", 16, 4, 2, 2) | _norm(f"{part}.mask_downscaling.4", 16)
    shapes |= _conv(f"{part}.mask_downscaling.6", 256, 16, 1, 1)
    return shapes | {f"{part}.no_mask_embed.weight": (1, 256)}


def _attention(name: str, inner: int) -> dict[str, tuple[int, ...]]:
    shapes = {}
    for projection in "qkv":
        shapes |= _linear(f"{name}.{projection}_proj", 256, inner)
    return shapes | _linear(f"{name}.out_proj", inner, 256)


def _mask_decoder() -> dict[str, tuple[int, ...]]:
    shapes = {}
    for i in range(2):
        layer = f"mask_decoder.transformer.layers.{i}"
        shapes |= _attention(f"{layer}.self_attn", 256) | _norm(f"{layer}.norm1", 256)
        shapes |= _attention(f"{layer}.cross_attn_token_to_image", 128) | _norm(f"{layer}.norm2", 256)
        shapes |= _linear(f"{layer}.mlp.lin1", 256, 2048) | _linear(f"{layer}.mlp.lin2", 2048, 256)
        shapes |= _norm(f"{layer}.norm3", 256) | _norm(f"{layer}.norm4", 256)
        shapes |= _attention(f"{layer}.cross_attn_image_to_token", 128)
    shapes |= _attention("mask_decoder.transformer.final_attn_token_to_image", 128)
    shapes |= _norm("mask_decoder.transformer.norm_final_attn", 256)
    shapes |= {"mask_decoder.iou_token.weight": (1, 256), "mask_decoder.mask_tokens.weight": (4, 256)}
    shapes |= _conv("mask_decoder.output_upscaling.0", 256, 64, 2, 2, outputs=64)
    shapes |= _norm("mask_decoder.output_upscaling.1", 64)
    shapes |= _conv("mask_decoder.output_upscaling.3", 64, 32, 2, 2, outputs=32)
    heads = {f"mask_decoder.output_hypernetworks_mlps.{i}": 32 for i in range(4)}
    for head, outputs in (heads | {"mask_decoder.iou_prediction_head": 4}).items():
        shapes |= _linear(f"{head}.layers.0", 256, 256) | _linear(f"{head}.layers.1", 256, 256)
        shapes |= _linear(f"{head}.layers.2", 256, outputs)
    return shapes
