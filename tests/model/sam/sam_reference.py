"""SAM's forward pass as plain functions of a state dict in the official layout, one image and one box at a time.

Written from the description of the network, without modules, batches or `transformers`, to hold the package against.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as nnf
from torch import Tensor

State = dict[str, Tensor]


def features(state: State, pixels: Tensor, heads: int, global_blocks: tuple[int, ...], window: int = 14) -> Tensor:
    """(3 s s), normalised -> (256 s/16 s/16)."""
    weights = _within(state, "image_encoder.")
    tokens = nnf.conv2d(pixels[None], weights["patch_embed.proj.weight"], weights["patch_embed.proj.bias"], stride=16)
    x = tokens[0].permute(1, 2, 0) + weights["pos_embed"][0]
    for i in range(1 + max(int(key.split(".")[1]) for key in weights if key.startswith("blocks."))):
        block = _within(weights, f"blocks.{i}.")
        normed = _norm(block, "norm1", x, 1e-6)
        if i in global_blocks:
            x = x + _image_attention(block, normed, heads)
        else:
            x = x + _windowed(block, normed, heads, window)
        hidden = nnf.gelu(_linear(block, "mlp.lin1", _norm(block, "norm2", x, 1e-6)))
        x = x + _linear(block, "mlp.lin2", hidden)
    x = nnf.conv2d(x.permute(2, 0, 1)[None], weights["neck.0.weight"])
    x = nnf.conv2d(_norm_2d(weights, "neck.1", x), weights["neck.2.weight"], padding=1)
    return _norm_2d(weights, "neck.3", x)[0]


def sparse(state: State, box: Tensor, image_size: int) -> Tensor:
    """One box (4,), xyxy in pixels -> its two corners (2 256)."""
    corners = (box.reshape(2, 2) + 0.5) / image_size
    kinds = torch.cat([state[f"prompt_encoder.point_embeddings.{i}.weight"] for i in (2, 3)])
    return _fourier(state, corners) + kinds


def point(state: State, place: Tensor, image_size: int) -> Tensor:
    """One positive point (2,), xy in pixels -> its token and the one that says that no more points follow (2 256)."""
    where = _fourier(state, (place + 0.5) / image_size) + state["prompt_encoder.point_embeddings.1.weight"]
    return torch.cat([where, state["prompt_encoder.not_a_point_embed.weight"]])


def dense(state: State, grid: int) -> Tensor:
    """(256 g g): "no mask" at every place."""
    return state["prompt_encoder.no_mask_embed.weight"][0, :, None, None].expand(-1, grid, grid)


def decode(state: State, image: Tensor, corners: Tensor, no_mask: Tensor) -> tuple[Tensor, Tensor]:
    """Features (256 h w), one prompt -> a mask for each mask token (4 4h 4w), iou (4,)."""
    weights = _within(state, "mask_decoder.")
    c, h, w = image.shape
    y, x = torch.meshgrid((torch.arange(h).to(image) + 0.5) / h, (torch.arange(w).to(image) + 0.5) / w, indexing="ij")
    where = _fourier(state, torch.stack([x, y], dim=-1)).reshape(h * w, c)
    tokens = torch.cat([weights["iou_token.weight"], weights["mask_tokens.weight"], corners])
    out, pixels = _two_way(_within(weights, "transformer."), tokens, (image + no_mask).reshape(c, h * w).T, where)
    up = pixels.T.reshape(1, c, h, w)
    up = _norm_2d(weights, "output_upscaling.1", _transposed(weights, "output_upscaling.0", up))
    up = nnf.gelu(_transposed(weights, "output_upscaling.3", nnf.gelu(up)))[0]
    masks = range(len(weights["mask_tokens.weight"]))
    kernels = torch.stack([_mlp(weights, f"output_hypernetworks_mlps.{i}", out[1 + i]) for i in masks])
    return torch.einsum("kc,chw->khw", kernels, up), _mlp(weights, "iou_prediction_head", out[0])


def stretch(state: State, grid: int, global_blocks: tuple[int, ...]) -> State:
    """The state for another grid: tables interpolated linearly between the middles of their cells."""
    stretched = dict(state)
    old = state["image_encoder.pos_embed"]
    along = _interpolation(old.shape[1], grid)
    stretched["image_encoder.pos_embed"] = torch.einsum("Hh,Ww,bhwc->bHWc", along, along, old)
    for i in global_blocks:
        for axis in "hw":
            key = f"image_encoder.blocks.{i}.attn.rel_pos_{axis}"
            stretched[key] = _interpolation(len(state[key]), 2 * grid - 1) @ state[key]
    return stretched


def _interpolation(old: int, new: int) -> Tensor:
    """(new, old): each row weighs the two old cells whose middles lie around the new cell's middle."""
    middle = ((torch.arange(new, dtype=torch.float64) + 0.5) * old / new - 0.5).clamp(0, old - 1)
    return (1 - (middle[:, None] - torch.arange(old)).abs()).clamp(min=0).float()


def _within(state: State, prefix: str) -> State:
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}


def _linear(weights: State, name: str, x: Tensor) -> Tensor:
    return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]


def _norm(weights: State, name: str, x: Tensor, eps: float) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    scaled = centred / (centred.square().mean(-1, keepdim=True) + eps).sqrt()
    return scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def _norm_2d(weights: State, name: str, x: Tensor) -> Tensor:
    return _norm(weights, name, x.movedim(1, -1), 1e-6).movedim(-1, 1)


def _transposed(weights: State, name: str, x: Tensor) -> Tensor:
    return nnf.conv_transpose2d(x, weights[f"{name}.weight"], weights[f"{name}.bias"], stride=2)


def _mlp(weights: State, name: str, x: Tensor) -> Tensor:
    x = _linear(weights, f"{name}.layers.0", x).relu()
    return _linear(weights, f"{name}.layers.2", _linear(weights, f"{name}.layers.1", x).relu())


def _fourier(state: State, places: Tensor) -> Tensor:
    """Places (... 2), xy in [0, 1] -> (... 256)."""
    phases = 2 * math.pi * ((2 * places - 1) @ state["prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"])
    return torch.cat([phases.sin(), phases.cos()], dim=-1)


def _image_attention(block: State, x: Tensor, heads: int) -> Tensor:
    """Self-attention over all places of (h w c), with a bias by the rows and by the columns between two places."""
    h, w, c = x.shape
    q, k, v = _linear(block, "attn.qkv", x).reshape(h, w, 3, heads, c // heads).permute(2, 3, 0, 1, 4)
    rows = block["attn.rel_pos_h"][torch.arange(h)[:, None] - torch.arange(h) + h - 1]
    columns = block["attn.rel_pos_w"][torch.arange(w)[:, None] - torch.arange(w) + w - 1]
    scores = torch.einsum("nhwc,nijc->nhwij", q, k) / math.sqrt(c // heads)
    scores = scores + torch.einsum("nhwc,hic->nhwi", q, rows)[..., None]
    scores = scores + torch.einsum("nhwc,wjc->nhwj", q, columns)[..., None, :]
    weights = scores.flatten(3).softmax(-1).reshape(scores.shape)
    mixed = torch.einsum("nhwij,nijc->hwnc", weights, v).reshape(h, w, c)
    return _linear(block, "attn.proj", mixed)


def _windowed(block: State, x: Tensor, heads: int, window: int) -> Tensor:
    """Each window by itself; those at the far borders are filled up with zeros, which take part in the attention."""
    h, w, _ = x.shape
    padded = nnf.pad(x, (0, 0, 0, -w % window, 0, -h % window))
    out = torch.zeros_like(padded)
    for top in range(0, h, window):
        for left in range(0, w, window):
            here = (slice(top, top + window), slice(left, left + window))
            out[here] = _image_attention(block, padded[here], heads)
    return out[:h, :w]


def _attend(weights: State, name: str, q: Tensor, k: Tensor, v: Tensor, heads: int = 8) -> Tensor:
    q, k, v = (
        _linear(weights, f"{name}.{letter}_proj", x).unflatten(-1, (heads, -1)).transpose(0, 1)
        for letter, x in (("q", q), ("k", k), ("v", v))
    )
    mixed = (q @ k.transpose(1, 2) / math.sqrt(q.shape[-1])).softmax(-1) @ v
    return _linear(weights, f"{name}.out_proj", mixed.transpose(0, 1).flatten(1))


def _two_way(weights: State, tokens: Tensor, image: Tensor, where: Tensor) -> tuple[Tensor, Tensor]:
    """Tokens (t c) and places (hw c) look at each other twice; the tokens are their own position encoding."""
    out = tokens
    for i in range(2):
        layer = _within(weights, f"layers.{i}.")
        if i == 0:
            out = _attend(layer, "self_attn", out, out, out)
        else:
            out = out + _attend(layer, "self_attn", out + tokens, out + tokens, out)
        out = _norm(layer, "norm1", out, 1e-5)
        out = out + _attend(layer, "cross_attn_token_to_image", out + tokens, image + where, image)
        out = _norm(layer, "norm2", out, 1e-5)
        out = out + _linear(layer, "mlp.lin2", _linear(layer, "mlp.lin1", out).relu())
        out = _norm(layer, "norm3", out, 1e-5)
        image = image + _attend(layer, "cross_attn_image_to_token", image + where, out + tokens, out)
        image = _norm(layer, "norm4", image, 1e-5)
    out = out + _attend(weights, "final_attn_token_to_image", out + tokens, image + where, image)
    return _norm(weights, "norm_final_attn", out, 1e-5), image
