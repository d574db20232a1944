"""MA-SAM's head on SAM: SAM's decoder without prompts, with two more doublings, for logits at full resolution.

Modules have the names of SAM's and MA-SAM's published files.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers.models.sam.modeling_sam import (
    SamFeedForward,
    SamMaskDecoder,
    SamPromptEncoder,
)

from sautomed.model.sam.keys import CHANNELS
from sautomed.model.sam.network import dense_position
from sautomed.model.sam.parts import ChannelNorm, fix_positions, make_decoder
from sautomed.model.values import Features

WIDTHS = (64, 32, 16, 8)  # channels after each doubling, public code


class FullDecoder(nn.Module):
    """SAM's mask decoder with four doublings, and mask tokens of every class and the background.

    The IoU head is not used; it is here for the published files and the published number of parameters.
    """

    def __init__(self, classes: int):
        super().__init__()
        sam = make_decoder(classes + 1)
        self.transformer, self.iou_token, self.mask_tokens = sam.transformer, sam.iou_token, sam.mask_tokens
        self.output_upscaling = nn.Sequential(*_doublings())
        self.output_hypernetworks_mlps = nn.ModuleList(
            SamFeedForward(CHANNELS, CHANNELS, WIDTHS[-1], 3) for _ in range(classes + 1)
        )
        self.iou_prediction_head = sam.iou_prediction_head

    def forward(
        self,
        features: Float[Tensor, "b c h w"],
        no_mask: Float[Tensor, "1 c"],
        position: Float[Tensor, "1 c h w"],
    ) -> Float[Tensor, "b k1 16*h 16*w"]:
        b, _, h, w = features.shape
        output = torch.cat([self.iou_token.weight, self.mask_tokens.weight])
        tokens, image = self.transformer(
            point_embeddings=output.expand(b, 1, -1, -1),
            image_embeddings=features + no_mask[..., None, None],
            image_positional_embeddings=position.expand(b, -1, -1, -1),
            attention_similarity=None,
        )
        pixels = self.output_upscaling(image[:, 0].transpose(1, 2).unflatten(2, (h, w)))
        mlps = self.output_hypernetworks_mlps
        weights = torch.stack([mlp(tokens[:, 0, 1 + k]) for k, mlp in enumerate(mlps)], dim=1)
        return (weights @ pixels.flatten(2)).unflatten(2, pixels.shape[-2:])

    @torch.no_grad()
    def start_from(self, sam: SamMaskDecoder) -> None:
        """Copy SAM's transformer, IoU token and first two doublings; all else stays random, as in the public code."""
        self.transformer.load_state_dict(sam.transformer.state_dict())
        self.iou_token.load_state_dict(sam.iou_token.state_dict())
        for own, part in ((0, sam.upscale_conv1), (1, sam.upscale_layer_norm), (3, sam.upscale_conv2)):
            self.output_upscaling[own].load_state_dict(part.state_dict())


def _doublings() -> list[nn.Module]:
    """Make four times a transposed convolution, a norm and GELU; the last has no norm."""
    parts: list[nn.Module] = []
    for inputs, outputs in zip((CHANNELS, *WIDTHS), WIDTHS, strict=False):
        parts += [nn.ConvTranspose2d(inputs, outputs, kernel_size=2, stride=2), ChannelNorm(outputs), nn.GELU()]
    return [*parts[:-2], parts[-1]]


class MaSamHead(nn.Module):
    """The decoder, and SAM's prompt encoder, which is trained too, though only its embedding of "no mask" is used."""

    def __init__(self, prompt: SamPromptEncoder, decoder: FullDecoder):
        super().__init__()
        self.prompt, self.decoder = prompt.requires_grad_(True), decoder
        fix_positions(self.prompt.shared_embedding)

    def forward(self, features: Features) -> Float[Tensor, "n k1 s s"]:
        position = dense_position(self.prompt.shared_embedding, *features.coarse.shape[-2:])
        return self.decoder(features.coarse, self.prompt.no_mask_embed.weight, position.to(features.coarse.dtype))
