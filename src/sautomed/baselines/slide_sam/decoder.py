"""SAM's prompt encoder, and SAM's mask decoder with three upscaling heads, one for each slice of a triplet."""

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

from sautomed.model.mask_decoder import Upscale
from sautomed.model.sam.network import dense_position
from sautomed.model.sam.parts import DECODER_NORM_EPS, fix_positions
from sautomed.model.values import Features

SLICES = 3
MASK_TOKENS = 4  # SAM's: one for a single mask, which is not used here, and three hypotheses


class PromptEncoder(nn.Module):
    """SAM's prompt encoder, for one prompt of each organ.

    Args:
        encoder: Used, not copied.
        image_size: Side of the network's square in pixels.
    """

    def __init__(self, encoder: SamPromptEncoder, image_size: int):
        super().__init__()
        self.encoder, self.image_size = encoder, image_size
        fix_positions(encoder.shared_embedding)

    @classmethod
    def of_sam(cls, encoder: SamPromptEncoder, image_size: int) -> PromptEncoder:
        """Take SAM's prompt encoder, frozen.

        Its mask prompt, which is not used, gets three channels as in the published network.
        """
        first = encoder.mask_embed.conv1
        three = nn.Conv2d(SLICES, first.out_channels, first.kernel_size, first.stride, device=first.weight.device)
        three.load_state_dict({"weight": first.weight.expand(-1, SLICES, -1, -1), "bias": first.bias})
        encoder.mask_embed.conv1 = three
        return cls(encoder.requires_grad_(False), image_size)

    @classmethod
    def fresh(cls, dim: int, image_size: int, stride: int) -> PromptEncoder:
        """Make a random prompt encoder of any dim, for trunks from scratch; without a mask prompt.

        Everything but the position encoding is trained.
        """
        prompt = SamPromptEncoderConfig(hidden_size=dim, image_size=image_size, patch_size=stride)
        vision = SamVisionConfig(num_pos_feats=dim // 2)
        encoder = SamPromptEncoder(SamConfig(vision_config=vision.to_dict(), prompt_encoder_config=prompt.to_dict()))
        encoder.mask_embed = nn.Identity()
        encoder.point_embed[0].requires_grad_(False)  # of negative points, which are not used
        nn.init.normal_(encoder.shared_embedding.positional_embedding)
        nn.init.zeros_(encoder.no_mask_embed.weight)
        return cls(encoder, image_size)

    def points(self, points: Float[Tensor, "m 2"]) -> Float[Tensor, "m 2 c"]:
        """Embed positive points, xy in [0, 1], each as a prompt with SAM's "not a point" as its second token."""
        with torch.autocast(points.device.type, enabled=False):  # half precision would move the points
            pixels = (points.float() * self.image_size - 0.5)[:, None, None]
            return self.encoder(pixels, torch.ones_like(pixels[..., 0]), None, None)[0][:, 0]

    def boxes(self, boxes: Float[Tensor, "m 4"]) -> Float[Tensor, "m 2 c"]:
        """Embed boxes, xyxy in [0, 1], each as a prompt."""
        with torch.autocast(boxes.device.type, enabled=False):
            # Ours end at the outer edges of pixels, SAM's at their centres.
            corners = boxes.float() * self.image_size - boxes.new_tensor([0.0, 0.0, 1.0, 1.0])
            return self.encoder(None, None, corners[:, None], None)[0][:, 0]

    def position(self, h: int, w: int) -> Float[Tensor, "1 c h w"]:
        """Return the position encoding of features."""
        with torch.autocast(self.no_mask.device.type, enabled=False):
            return dense_position(self.encoder.shared_embedding, h, w)

    @property
    def no_mask(self) -> Float[Tensor, "1 c"]:
        return self.encoder.no_mask_embed.weight


class TripletDecoder(nn.Module):
    """SAM's mask decoder with three upscaling heads: three hypotheses, each with the masks of three slices and one IoU.

    Args:
        widths: Channels after each doubling.
        fine_channels: Channels of the trunk's finer maps, coarsest first; the first doublings mix them in.
    """

    def __init__(self, dim: int, heads: int, mlp: int, widths: Sequence[int], fine_channels: Sequence[int] = ()):
        super().__init__()
        config = SamMaskDecoderConfig(
            hidden_size=dim, num_attention_heads=heads, mlp_dim=mlp, layer_norm_eps=DECODER_NORM_EPS
        )
        config._attn_implementation = "sdpa"
        self.transformer = SamTwoWayTransformer(config)
        self.iou_token = nn.Parameter(torch.randn(1, dim) * 0.02)
        self.mask_tokens = nn.Parameter(torch.randn(MASK_TOKENS, dim) * 0.02)
        self.upscaling = nn.ModuleList(UpscalingHead(dim, widths, fine_channels) for _ in range(SLICES))
        self.hypernetworks = nn.ModuleList(SamFeedForward(dim, dim, widths[-1], 3) for _ in range(MASK_TOKENS))
        self.hypernetworks[0].requires_grad_(False)  # of the single mask, which no loss reaches
        self.iou_head = SamFeedForward(dim, dim, MASK_TOKENS, 3)

    def forward(
        self, features: Features, position: Float[Tensor, "1 c h w"], no_mask: Float[Tensor, "1 c"],
        prompts: Float[Tensor, "m p c"],
    ) -> tuple[Float[Tensor, "m 3 3 h2 w2"], Float[Tensor, "m 3"]]:  # fmt: skip
        """Return masks (logits) of hypotheses x slices, and the predicted IoU of each hypothesis.

        Args:
            features: One row for each prompt.
            position: Their position encoding.
            no_mask: SAM's embedding of "no mask".
        """
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
        """Copy SAM's decoder; each of the three heads gets SAM's upscaling."""
        self.transformer.load_state_dict(sam.transformer.state_dict())
        self.iou_token.copy_(sam.iou_token.weight)
        self.mask_tokens.copy_(sam.mask_tokens.weight)
        self.hypernetworks.load_state_dict(sam.output_hypernetworks_mlps.state_dict())
        self.iou_head.load_state_dict(sam.iou_prediction_head.state_dict())
        for head in self.upscaling:
            cast(UpscalingHead, head).start_from(sam)


class UpscalingHead(nn.Module):
    """SAM's upscaling, with the trunk's finer maps mixed in where it has them."""

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
        """Return the layers that SAM has too, by their index in SAM's sequence."""
        first, second = cast(Upscale, self.stages[0]), cast(Upscale, self.stages[1])
        return {"0": first.up, "1": first.norm, "3": second.up}

    def start_from(self, sam: SamMaskDecoder) -> None:
        """Copy SAM's upscaling."""
        layers = self.layers()
        for place, layer in (("0", sam.upscale_conv1), ("1", sam.upscale_layer_norm), ("3", sam.upscale_conv2)):
            layers[place].load_state_dict(layer.state_dict())
