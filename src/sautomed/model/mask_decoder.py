"""SAM's mask decoder, extended to one head per organ (Liang et al. 2024, sections 2.1 and 2.2, Eq. 3).

SAM's two-way transformer and upscaling; one mask token and one hypernetwork per class and one for the background.
History tokens and prompt embeddings are concatenated to the output tokens. SAM's IoU token stays, since the others were
trained beside it; its head, which no loss would reach, is left out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sautomed.model.two_way_transformer import HyperNetwork, TwoWayTransformer

if TYPE_CHECKING:
    from transformers.models.sam.modeling_sam import SamMaskDecoder

SAM_PLACE_EPS = 1e-6
NORM_GROUPS = 8  # ours; a batch norm would see as few slices as a run's step has rows
SAM_SPREAD = 0.1  # ours: noise that tells the classes' mask tokens apart at the start, beside SAM's own token


class PlaceNorm(nn.LayerNorm):
    """Layer norm over the channels of each place of a map."""

    def __init__(self, channels: int):
        super().__init__(channels, eps=SAM_PLACE_EPS)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Upscale(nn.Module):
    """Doubles the size of a map; mixes in a finer map of the trunk where there is one."""

    def __init__(self, inputs: int, outputs: int, lateral: int | None, norm: bool):
        super().__init__()
        self.up = nn.ConvTranspose2d(inputs, outputs, kernel_size=2, stride=2)
        self.norm = PlaceNorm(outputs) if norm else nn.Identity()
        self.activation = nn.GELU()
        self.lateral = None if lateral is None else nn.Conv2d(lateral, outputs, 1)
        self.mix = None if lateral is None else _conv_norm(outputs, outputs)

    def forward(
        self, x: Float[Tensor, "b c h w"], fine: Float[Tensor, "b c2 2*h 2*w"] | None
    ) -> Float[Tensor, "b c3 2*h 2*w"]:
        x = self.activation(self.norm(self.up(x)))
        if self.lateral is None or self.mix is None or fine is None:
            return x
        x = x + self.lateral(fine)
        return x + self.mix(x)


class Decoded(NamedTuple):
    """What the decoder makes of one slice per row.

    Attributes:
        logits: Before softmax; channel 0 is the background.
        history: History tokens behind the transformer.
        pixels: Features behind the upscaling, of which each class's logits are a weighted sum.
    """

    logits: Float[Tensor, "b k1 h2 w2"]
    history: Float[Tensor, "b n c"]
    pixels: Float[Tensor, "b c2 h2 w2"]


class MaskDecoder(nn.Module):
    """Decoder from tokens and one slice's features to logits per class and changed history tokens.

    Args:
        widths: Channels after each doubling of the size; as many as there are doublings.
        fine_channels: Channels of the trunk's finer maps, coarsest first; mixed in by the first doublings.
    """

    def __init__(
        self, classes: int, dim: int, heads: int, mlp: int, widths: Sequence[int], fine_channels: Sequence[int] = ()
    ):
        super().__init__()
        self.transformer = TwoWayTransformer(dim, heads, mlp)
        # as long as the normed history beside them: short tokens are lost in the first layer, which has no residual
        self.iou_token = nn.Parameter(torch.randn(1, dim))
        self.mask_tokens = nn.Parameter(torch.randn(classes + 1, dim))
        self.no_mask = nn.Parameter(torch.zeros(dim))
        laterals = [*fine_channels, *[None] * len(widths)]
        self.upscaling = nn.ModuleList(
            Upscale(inputs, outputs, lateral, norm=i == 0)
            for i, (inputs, outputs, lateral) in enumerate(zip([dim, *widths], widths, laterals, strict=False))
        )
        self.hypernetworks = nn.ModuleList(HyperNetwork(dim, widths[-1]) for _ in range(classes + 1))

    def forward(
        self,
        z: Float[Tensor, "b c h w"],
        fine: Sequence[Tensor],
        position: Float[Tensor, "c h w"],
        history: Float[Tensor, "b n c"],
        prompts: Float[Tensor, "b m c"],
        code: Float[Tensor, "#k c"] | None = None,
    ) -> Decoded:
        """Decode one slice per row.

        Args:
            fine: The trunk's finer maps, coarsest first.
            code: Of each class, which its prompts hold too; added to its mask token.
        """
        b, c, h, w = z.shape
        masks, kept = len(self.mask_tokens), history.shape[1]
        organs = self.mask_tokens[1:] if code is None else self.mask_tokens[1:] + code
        output = torch.cat([self.iou_token, self.mask_tokens[:1], organs]).expand(b, -1, -1)
        tokens, image = self.transformer(
            torch.cat([output, history, prompts], 1),
            z.flatten(2).transpose(1, 2) + self.no_mask,
            position.flatten(1).transpose(0, 1)[None],
        )
        pixels = image.transpose(1, 2).reshape(b, c, h, w)
        for stage, finer in zip_longest(self.upscaling, fine):
            pixels = stage(pixels, finer)
        weights = torch.stack([net(tokens[:, 1 + k]) for k, net in enumerate(self.hypernetworks)], 1)
        # channels last throughout: a gradient in another layout would slow every layer behind it
        logits = (pixels.permute(0, 2, 3, 1).flatten(1, 2) @ weights.transpose(1, 2)).unflatten(1, pixels.shape[-2:])
        return Decoded(logits.permute(0, 3, 1, 2), tokens[:, 1 + masks : 1 + masks + kept], pixels)

    @torch.no_grad()
    def start_from(self, sam: SamMaskDecoder, no_mask: Float[Tensor, "1 c"]) -> None:
        """Copy SAM's transformer, upscaling and tokens; every class starts near SAM's first mask token."""
        self.transformer.load_state_dict(sam.transformer.state_dict())
        self.iou_token.copy_(sam.iou_token.weight)
        self.no_mask.copy_(no_mask[0])
        first = sam.mask_tokens.weight[0]
        self.mask_tokens.copy_(first + SAM_SPREAD * first.std() * torch.randn_like(self.mask_tokens))
        own: dict[str, Tensor] = self.state_dict()
        for name, value in _upscaling_of(sam).items():
            own[name].copy_(value)
        if len(self.upscaling) == 2:  # a full-resolution head has another width, so its hypernetworks start at random
            for net in self.hypernetworks:
                net.load_state_dict(sam.output_hypernetworks_mlps[0].state_dict())


def _upscaling_of(sam: SamMaskDecoder) -> dict[str, Tensor]:
    """Return SAM's upscaling weights under the names of ours."""
    parts = {"upscaling.0.up": sam.upscale_conv1, "upscaling.0.norm": sam.upscale_layer_norm,
             "upscaling.1.up": sam.upscale_conv2}  # fmt: skip
    return {f"{ours}.{name}": value for ours, part in parts.items() for name, value in part.state_dict().items()}


def _conv_norm(inputs: int, outputs: int) -> nn.Sequential:
    norm = nn.GroupNorm(math.gcd(NORM_GROUPS, outputs), outputs)
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), norm, nn.ReLU())
