"""SAM's three parts, built from `transformers` so that they compute what SAM's authors' code computes.

`transformers` builds the mask decoder with layer norms of epsilon 1e-6; the authors' two-way transformer has
PyTorch's default of 1e-5. With that set right the parts agree to float32 rounding.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import SamConfig, SamMaskDecoderConfig, SamPromptEncoderConfig, SamVisionConfig
from transformers.models.sam.modeling_sam import SamMaskDecoder, SamPromptEncoder, SamVisionEncoder

from sautomed.model.sam_keys import PATCH, TIED_KEY, SamSizes

DECODER_NORM_EPS = 1e-5


def make_vision(sizes: SamSizes, image_size: int) -> SamVisionEncoder:
    """The image encoder for square images of `image_size` pixels; weights as `transformers` initialises them."""
    return SamVisionEncoder(_vision_config(sizes, image_size))


def make_prompt(sizes: SamSizes, image_size: int) -> SamPromptEncoder:
    """The prompt encoder; its position encoding also serves the image features."""
    prompt = SamPromptEncoderConfig(image_size=image_size, patch_size=PATCH)
    return SamPromptEncoder(
        SamConfig(vision_config=_vision_config(sizes, image_size).to_dict(), prompt_encoder_config=prompt.to_dict())
    )


def make_decoder() -> SamMaskDecoder:
    """The mask decoder with SAM's four mask tokens."""
    config = SamMaskDecoderConfig(layer_norm_eps=DECODER_NORM_EPS, attn_implementation="eager")
    return SamMaskDecoder(config)


def expected_shapes(sizes: SamSizes) -> dict[str, tuple[int, ...]]:
    """Name (transformers) and shape of every parameter of a SAM of these sizes, at its own grid. Allocates nothing."""
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


def encode(
    vision: SamVisionEncoder, pixels: Float[Tensor, "b 3 s s"], checkpointing: bool = False
) -> Float[Tensor, "b 256 h w"]:
    """Features of normalised images, h = w = s / 16.

    Args:
        vision: From `make_vision`; `s` is its image size.
        pixels: Normalised as its weights ask.
        checkpointing: Keep only each block's input for the backward pass and compute the rest again there.
    Raises:
        ValueError: The images are of another size than the encoder.
    """
    tokens = vision.patch_embed(pixels) + vision.pos_embed
    for block in vision.layers:
        tokens = checkpoint(block, tokens, use_reentrant=False) if checkpointing else block(tokens)
    return vision.neck(tokens)


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
        attn_implementation="sdpa",
    )
