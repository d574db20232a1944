"""SAM's three parts, built from `transformers` so that they compute the numbers of the official code.

Three things are corrected. `transformers` gives the mask decoder layer norms of epsilon 1e-6, where the authors'
two-way transformer has PyTorch's default of 1e-5. And in the attention and in the norms over channels the same formula
is evaluated here in the authors' order: a network with random weights can blow up the last digit ten-thousandfold, and
only with the same rounding do two implementations agree there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import AttentionInterface, SamConfig, SamMaskDecoderConfig, SamPromptEncoderConfig, SamVisionConfig
from transformers.models.sam.modeling_sam import (
    SamLayerNorm,
    SamMaskDecoder,
    SamPositionalEmbedding,
    SamPromptEncoder,
    SamVisionAttention,
    SamVisionEncoder,
)

from sautomed.model.sam.keys import PATCH, TIED_KEY, SamSizes

DECODER_NORM_EPS = 1e-5
CHANNEL_NORM_EPS = 1e-6
_DECODER_ATTENTION = "sautomed_sam_decoder"


class WindowAttention(SamVisionAttention):
    """The image encoder's self-attention, over one window or over the whole grid.

    Scores are summed in place, so that one attention map is held and not four.
    """

    def forward(
        self, hidden_states: Float[Tensor, "b h w c"], output_attentions: bool | None = None
    ) -> tuple[Float[Tensor, "b h w c"], None]:
        return self.mix(self.qkv(hidden_states)), None

    def mix(self, qkv: Float[Tensor, "b h w c3"]) -> Float[Tensor, "b h w c3//3"]:
        """Mix the values by attention, given fused queries, keys and values."""
        b, h, w, _ = qkv.shape
        heads = self.num_attention_heads
        qkv = qkv.reshape(b, h * w, 3, heads, -1).permute(2, 0, 3, 1, 4)
        q, k, v = qkv.reshape(3, b * heads, h * w, -1).unbind(0)
        scores = (q * self.scale) @ k.transpose(-2, -1)
        places = q.reshape(b * heads, h, w, -1)
        by_place = scores.view(b * heads, h, w, h, w)
        by_place += torch.einsum("bhwc,hkc->bhwk", places, _by_distance(self.rel_pos_h, h))[..., None]
        by_place += torch.einsum("bhwc,wkc->bhwk", places, _by_distance(self.rel_pos_w, w))[..., None, :]
        mixed = scores.softmax(dim=-1) @ v
        mixed = mixed.view(b, heads, h, w, -1).permute(0, 2, 3, 1, 4).reshape(b, h, w, -1)
        return self.proj(mixed)


class ChannelNorm(SamLayerNorm):
    """Layer norm over the channels of an image (b c h w)."""

    def __init__(self, channels: int):
        super().__init__(channels, eps=CHANNEL_NORM_EPS, data_format="channels_first")

    def forward(self, features: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        centred = features - features.mean(1, keepdim=True)
        scaled = centred / torch.sqrt(centred.pow(2).mean(1, keepdim=True) + self.eps)
        return self.weight[:, None, None] * scaled + self.bias[:, None, None]


def make_vision(sizes: SamSizes, image_size: int) -> SamVisionEncoder:
    """Build the image encoder for square images of `image_size` pixels; weights as `transformers` initialises them."""
    config = _vision_config(sizes, image_size)
    vision = SamVisionEncoder(config)
    for block in vision.layers:
        block.attn = WindowAttention(config, block.window_size)
    vision.neck.layer_norm1 = ChannelNorm(config.output_channels)
    vision.neck.layer_norm2 = ChannelNorm(config.output_channels)
    return vision


def make_prompt(sizes: SamSizes, image_size: int) -> SamPromptEncoder:
    """Build the prompt encoder; its position encoding also serves the image features."""
    prompt = SamPromptEncoderConfig(image_size=image_size, patch_size=PATCH)
    return SamPromptEncoder(
        SamConfig(vision_config=_vision_config(sizes, image_size).to_dict(), prompt_encoder_config=prompt.to_dict())
    )


def make_decoder(masks: int = 4) -> SamMaskDecoder:
    """Build the mask decoder with SAM's four mask tokens, or another number."""
    AttentionInterface.register(_DECODER_ATTENTION, _decoder_attention)
    config = SamMaskDecoderConfig(
        num_multimask_outputs=masks - 1, layer_norm_eps=DECODER_NORM_EPS, attn_implementation=_DECODER_ATTENTION
    )
    decoder = SamMaskDecoder(config)
    decoder.upscale_layer_norm = ChannelNorm(config.hidden_size // 4)
    return decoder


def fix_positions(embedding: SamPositionalEmbedding) -> SamPositionalEmbedding:
    """Make SAM's position codes a buffer, as in the official code: they are drawn once and never trained."""
    codes = embedding.positional_embedding.detach()
    del embedding.positional_embedding
    embedding.register_buffer("positional_embedding", codes)
    return embedding


@cache
def expected_shapes(sizes: SamSizes) -> Mapping[str, tuple[int, ...]]:
    """Return name (transformers) and shape of every parameter of a SAM of these sizes, at its own grid."""
    with torch.device("meta"):
        parts: dict[str, nn.Module] = {
            "vision_encoder": make_vision(sizes, PATCH * sizes.grid),
            "prompt_encoder": make_prompt(sizes, PATCH * sizes.grid),
            "mask_decoder": make_decoder(),
        }
    return {
        f"{part}.{key}": tuple(tensor.shape)
        for part, module in parts.items()
        for key, tensor in module.state_dict().items()
        if f"{part}.{key}" != TIED_KEY
    }


def call_block(block: Callable[..., Tensor], *inputs: Any) -> Tensor:
    """Run a block as it is."""
    return block(*inputs)


def checkpoint_block(block: Callable[..., Tensor], *inputs: Any) -> Tensor:
    """Run a block that keeps only its inputs for the backward pass and computes the rest again there."""
    return checkpoint(block, *inputs, use_reentrant=False) if torch.is_grad_enabled() else block(*inputs)


def encode(
    vision: SamVisionEncoder, pixels: Float[Tensor, "b 3 s s"], run: Callable[..., Tensor] = call_block
) -> Float[Tensor, "b 256 h w"]:
    """Return features of normalised images, h = w = s / 16.

    Args:
        vision: From `make_vision`; `s` is its image size.
        pixels: Normalised as its weights expect.
        run: `call_block` or `checkpoint_block`.
    Raises:
        ValueError: The images are of another size than the encoder.
    """
    tokens = vision.patch_embed(pixels) + vision.pos_embed
    for block in vision.layers:
        tokens = run(block, tokens)
    return vision.neck(tokens)


def _by_distance(table: Float[Tensor, "{2*n-1} c"], n: int) -> Float[Tensor, "{n} {n} c"]:
    """Return the entry for the distance between each pair of rows (or columns)."""
    places = torch.arange(n, device=table.device)
    return table[places[:, None] - places[None, :] + n - 1]


def _decoder_attention(
    module: nn.Module,
    query: Float[Tensor, "b heads q c"],
    key: Float[Tensor, "b heads k c"],
    value: Float[Tensor, "#b heads k c"],
    attention_mask: Tensor | None,
    **_: Any,
) -> tuple[Float[Tensor, "b q heads c"], None]:
    """Plain attention in the form that `transformers` plugs in; SAM's decoder never has a mask or dropout.

    Several prompts in one image share its values.
    """
    scores = query @ key.transpose(-2, -1) / math.sqrt(query.shape[-1])
    return (scores.softmax(dim=-1) @ value).transpose(1, 2), None


def _vision_config(sizes: SamSizes, image_size: int) -> SamVisionConfig:
    return SamVisionConfig(
        hidden_size=sizes.dim,
        num_hidden_layers=sizes.depth,
        num_attention_heads=sizes.heads,
        global_attn_indexes=list(sizes.global_blocks),
        mlp_dim=sizes.mlp,
        window_size=sizes.window,
        image_size=image_size,
        patch_size=PATCH,
        attn_implementation="eager",
    )
