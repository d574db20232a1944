"""SAM's prompt encoder, and SAM's mask decoder with three upscaling heads: one prompt, the masks of three slices."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import SamConfig, SamMaskDecoderConfig, SamPromptEncoderConfig, SamVisionConfig
from transformers.models.sam.modeling_sam import (
    SamFeedForward,
    SamMaskDecoder,
    SamPromptEncoder,
    SamTwoWayTransformer,
)

from sautomed.model.mask_decoder import SAM_NORM_EPS, Upscale
from sautomed.model.sam.network import dense_position
from sautomed.model.sam.parts import fix_positions
from sautomed.model.segmenter import Features

SLICES = 3
MASK_TOKENS = 4  # SAM's: one for a single answer, which this system never asks for, and three hypotheses


class Prompts(nn.Module):
    """SAM's prompt encoder for one prompt of one organ.

    Args:
        encoder: Taken over.
        image_size: Side of the network's square in pixels.
    """

    def __init__(self, encoder: SamPromptEncoder, image_size: int):
        super().__init__()
        self.encoder, self.image_size = encoder, image_size
        fix_positions(encoder.shared_embedding)

    @classmethod
    def of_sam(cls, encoder: SamPromptEncoder, image_size: int) -> Prompts:
        """SAM's, frozen; its mask prompt, of which no use is made, takes three slices as in the published network."""
        first = encoder.mask_embed.conv1
        three = nn.Conv2d(SLICES, first.out_channels, first.kernel_size, first.stride, device=first.weight.device)
        three.load_state_dict({"weight": first.weight.expand(-1, SLICES, -1, -1), "bias": first.bias})
        encoder.mask_embed.conv1 = three
        return cls(encoder.requires_grad_(False), image_size)

    @classmethod
    def fresh(cls, dim: int, image_size: int, stride: int) -> Prompts:
        """Untrained, of any dim, for trunks from scratch: trained but for the place codes; no mask prompt."""
        kinds = SamPromptEncoderConfig(hidden_size=dim, image_size=image_size, patch_size=stride)
        places = SamVisionConfig(num_pos_feats=dim // 2)
        encoder = SamPromptEncoder(SamConfig(vision_config=places.to_dict(), prompt_encoder_config=kinds.to_dict()))
        encoder.mask_embed = nn.Identity()
        encoder.point_embed[0].requires_grad_(False)  # of negative points, which are never given
        nn.init.normal_(encoder.shared_embedding.positional_embedding)
        nn.init.zeros_(encoder.no_mask_embed.weight)
        return cls(encoder, image_size)

    def points(self, points: Float[Tensor, "m 2"]) -> Float[Tensor, "m 2 c"]:
        """A positive point each, xy in [0, 1], beside SAM's "not a point"."""
        with torch.autocast(points.device.type, enabled=False):  # half precision would move the points
            pixels = (points.float() * self.image_size - 0.5)[:, None, None]
            return self.encoder(pixels, torch.ones_like(pixels[..., 0]), None, None)[0][:, 0]

    def boxes(self, boxes: Float[Tensor, "m 4"]) -> Float[Tensor, "m 2 c"]:
        """A box each, xyxy in [0, 1] from edge to edge; SAM's corners are the middles of its first and last pixel."""
        with torch.autocast(boxes.device.type, enabled=False):
            corners = boxes.float() * self.image_size - boxes.new_tensor([0.0, 0.0, 1.0, 1.0])
            return self.encoder(None, None, corners[:, None], None)[0][:, 0]

    def position(self, h: int, w: int) -> Float[Tensor, "1 c h w"]:
        """The code of every place of the features."""
        with torch.autocast(self.no_mask.device.type, enabled=False):
            return dense_position(self.encoder.shared_embedding, h, w)

    @property
    def no_mask(self) -> Float[Tensor, "1 c"]:
        return self.encoder.no_mask_embed.weight


class TripletDecoder(nn.Module):
    """One token set, three upscaling heads: three hypotheses, each of three slices with one predicted IoU.

    Args:
        widths: Channels after each doubling of the size.
        fine_channels: Channels of the trunk's finer maps, coarsest first; mixed in by the first doublings.
    """

    def __init__(self, dim: int, heads: int, mlp: int, widths: Sequence[int], fine_channels: Sequence[int] = ()):
        super().__init__()
        config = SamMaskDecoderConfig(
            hidden_size=dim, num_attention_heads=heads, mlp_dim=mlp, layer_norm_eps=SAM_NORM_EPS
        )
        config._attn_implementation = "sdpa"
        self.transformer = SamTwoWayTransformer(config)
        self.iou_token = nn.Parameter(torch.randn(1, dim) * 0.02)
        self.mask_tokens = nn.Parameter(torch.randn(MASK_TOKENS, dim) * 0.02)
        self.upscaling = nn.ModuleList(UpscalingHead(dim, widths, fine_channels) for _ in range(SLICES))
        self.hypernetworks = nn.ModuleList(SamFeedForward(dim, dim, widths[-1], 3) for _ in range(MASK_TOKENS))
        self.hypernetworks[0].requires_grad_(False)  # of the single answer: no loss reaches it
        self.iou_head = SamFeedForward(dim, dim, MASK_TOKENS, 3)

    def forward(
        self, features: Features, position: Float[Tensor, "1 c h w"], no_mask: Float[Tensor, "1 c"],
        prompts: Float[Tensor, "m p c"],
    ) -> tuple[Float[Tensor, "m 3 3 h2 w2"], Float[Tensor, "m 3"]]:  # fmt: skip
        """Masks (logits) of hypothesis and slice, and the IoU of each hypothesis; a row of features for each prompt."""
        image = features.coarse
        m, c, h, w = image.shape
        output = torch.cat([self.iou_token, self.mask_tokens]).expand(m, -1, -1)
        tokens, pixels = self.transformer(
            point_embeddings=torch.cat([output, prompts.to(output.dtype)], 1)[:, None],
            image_embeddings=image + no_mask[..., None, None],
            image_positional_embeddings=position.to(image.dtype).expand(m, -1, -1, -1),
            attention_similarity=None,
        )
        tokens, pixels = tokens[:, 0], pixels[:, 0].transpose(1, 2).reshape(m, c, h, w)
        weights = torch.stack([self.hypernetworks[i](tokens[:, 1 + i]) for i in range(1, MASK_TOKENS)], 1)
        slices = [head(pixels, features.fine) for head in self.upscaling]
        masks = torch.stack([torch.einsum("mnc,mchw->mnhw", weights, x) for x in slices], 2)
        return masks, self.iou_head(tokens[:, 0])[:, 1:]

    @torch.no_grad()
    def start_from(self, sam: SamMaskDecoder) -> None:
        """All of SAM's decoder; each of the three heads is a copy of its upscaling."""
        self.transformer.load_state_dict(sam.transformer.state_dict())
        self.iou_token.copy_(sam.iou_token.weight)
        self.mask_tokens.copy_(sam.mask_tokens.weight)
        self.hypernetworks.load_state_dict(sam.output_hypernetworks_mlps.state_dict())
        self.iou_head.load_state_dict(sam.iou_prediction_head.state_dict())
        for head in self.upscaling:
            cast(UpscalingHead, head).start_from(sam)


class UpscalingHead(nn.Module):
    """SAM's upscaling; finer maps of the trunk, where there are any, are mixed in."""

    def __init__(self, dim: int, widths: Sequence[int], fine_channels: Sequence[int]):
        super().__init__()
        laterals = [*fine_channels, *[None] * len(widths)]
        self.stages = nn.ModuleList(
            Upscale(inputs, outputs, lateral, norm=i == 0)
            for i, (inputs, outputs, lateral) in enumerate(zip([dim, *widths], widths, laterals, strict=False))
        )

    def forward(self, pixels: Float[Tensor, "m c h w"], fine: Sequence[Tensor]) -> Float[Tensor, "m c2 h2 w2"]:
        for stage, finer in zip_longest(self.stages, fine[: len(self.stages)]):
            pixels = stage(pixels, finer)
        return pixels

    def layers(self) -> dict[str, nn.Module]:
        """Those that SAM has too, under their place in SAM's sequence."""
        first, second = cast(Upscale, self.stages[0]), cast(Upscale, self.stages[1])
        return {"0": first.up, "1": first.norm, "3": second.up}

    def start_from(self, sam: SamMaskDecoder) -> None:
        layers = self.layers()
        for place, layer in (("0", sam.upscale_conv1), ("1", sam.upscale_layer_norm), ("3", sam.upscale_conv2)):
            layers[place].load_state_dict(layer.state_dict())
