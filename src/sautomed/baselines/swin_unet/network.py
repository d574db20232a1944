"""The network of Swin-Unet: a Swin transformer as the encoder of a U-Net, and its mirror as the decoder.

Blocks are MONAI's. Images stay in [0, 1], without mean and standard deviation, as in the public code.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from einops import rearrange
from jaxtyping import Float
from monai.networks.nets.swin_unetr import SwinTransformerBlock, compute_mask
from torch import Tensor, nn

from sautomed.baselines.swin_unet.weights import load_imagenet
from sautomed.config.baselines import SwinUnetSettings
from sautomed.errors import UnknownSetting
from sautomed.model.slice_walker import PlainSegmenter
from sautomed.model.values import Features

PATCH, WINDOW = 4, 7
UNIT = PATCH * 2**3 * WINDOW  # three halvings of the map of patches must leave whole windows


def build(settings: SwinUnetSettings, classes: int, image_size: int) -> SwinUnet:
    """Build Swin-Unet for `classes` organs; encoder and decoder start from ImageNet if the settings name the weights.

    Raises:
        UnknownSetting: `image_size` is not a multiple of 224.
        ModelError: The weights cannot be used.
    """
    if image_size % UNIT:
        raise UnknownSetting(
            f"Swin-Unet needs whole windows of {WINDOW} x {WINDOW} at every scale, and {image_size} pixels do not fit.",
            where="data.image_size",
            cure="Set it to 224, 448, 672 or 896.",
        )
    network = SwinUnet(settings, classes, image_size)
    if settings.weights:
        load_imagenet(network, settings, settings.weights)
    return network


class SwinUnet(PlainSegmenter):
    """A 2D network with features at stride 4 and logits at stride 1. The encoder has the names of Swin's files."""

    def __init__(self, settings: SwinUnetSettings, classes: int, image_size: int):
        super().__init__()
        self.classes = classes
        widths = [settings.dim * 2**stage for stage in range(4)]
        stages, mirror = _stages(settings, image_size), _stages(settings, image_size)[:-1]
        self.patch_embed = PatchEmbedding(settings.dim)
        self.layers = nn.ModuleList(
            EncoderStage(blocks, PatchMerging(width) if width != widths[-1] else None)
            for width, blocks in zip(widths, stages, strict=True)
        )
        self.norm = nn.LayerNorm(widths[-1])
        # The coarsest stage has no mirror; a decoder stage has the number of the encoder stage that it mirrors.
        self.up = nn.ModuleList(DecoderStage(width, blocks) for width, blocks in zip(widths, mirror, strict=False))
        self.norm_up = nn.LayerNorm(settings.dim)
        self.final = FinalExpansion(settings.dim, classes)
        self.apply(_initialize)

    def encode(self, images: Float[Tensor, "n 3 s s"]) -> Features:
        x = self.patch_embed(images)
        skips = []
        for stage in self.layers:
            skips.append(x)
            x = stage(x)
        x = self.norm(x)
        for number in reversed(range(len(self.up))):
            x = self.up[number](x, skips[number])
        return Features(self.norm_up(x).permute(0, 3, 1, 2))

    def logits(self, features: Features) -> Float[Tensor, "n k1 s s"]:
        return self.final(features.coarse.permute(0, 2, 3, 1))

    def run_heaviest_part(self, images: Float[Tensor, "n 3 s s"]) -> Features:
        """Compute features and logits, since the expansion to full resolution needs more memory than the rest."""
        features = self.encode(images)
        self.logits(features)
        return features


def _stages(settings: SwinUnetSettings, image_size: int) -> list[list[nn.Module]]:
    """Make the blocks of each stage; the chance that training skips a block grows from the first to the last."""
    rates = torch.linspace(0, settings.drop_path, sum(settings.depths), device="cpu").tolist()
    stages: list[list[nn.Module]] = []
    for number, (depth, heads) in enumerate(zip(settings.depths, settings.heads, strict=True)):
        side = image_size // PATCH // 2**number
        stages.append([Block(settings.dim * 2**number, heads, side, i % 2 == 1, rates.pop(0)) for i in range(depth)])
    return stages


def _initialize(module: nn.Module) -> None:
    """Initialise linear layers as Swin does; MONAI has already initialised the position tables."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


class Block(SwinTransformerBlock):
    """Attention in windows, and an MLP.

    Args:
        side: Of the map in tokens.
        shifted: Whether windows are shifted by half their size, except on a map that is a single window.
        drop_path: Chance that training skips the block.
    """

    def __init__(self, dim: int, heads: int, side: int, shifted: bool, drop_path: float):
        shift = WINDOW // 2 if shifted and side > WINDOW else 0
        super().__init__(dim, heads, (WINDOW, WINDOW), (shift, shift), drop_path=drop_path)
        mask = compute_mask([side, side], (WINDOW, WINDOW), (shift, shift), None) if shift else None
        self.register_buffer("shift_mask", mask, persistent=False)

    def forward(self, x: Float[Tensor, "n h w c"]) -> Float[Tensor, "n h w c"]:
        return super().forward(x, self.shift_mask)


class PatchEmbedding(nn.Module):
    """A token for each square of 4 x 4 pixels."""

    def __init__(self, dim: int):
        super().__init__()
        self.proj = nn.Conv2d(3, dim, PATCH, stride=PATCH)
        self.norm = nn.LayerNorm(dim)

    def forward(self, images: Float[Tensor, "n 3 s s"]) -> Float[Tensor, "n h w c"]:
        return self.norm(self.proj(images).permute(0, 2, 3, 1))


class EncoderStage(nn.Module):
    """Blocks at one scale, then, except in the last stage, half the side and twice the channels."""

    def __init__(self, blocks: Sequence[nn.Module], downsample: nn.Module | None):
        super().__init__()
        self.blocks = nn.Sequential(*blocks)
        self.downsample = downsample or nn.Identity()

    def forward(self, x: Float[Tensor, "n h w c"]) -> Tensor:
        return self.downsample(self.blocks(x))


class DecoderStage(nn.Module):
    """Twice the side and half the channels, concatenation with the skip, then blocks."""

    def __init__(self, dim: int, blocks: Sequence[nn.Module]):
        super().__init__()
        self.upsample = PatchExpansion(2 * dim)
        self.join = nn.Linear(2 * dim, dim)
        self.blocks = nn.Sequential(*blocks)

    def forward(self, x: Float[Tensor, "n h w c2"], skip: Float[Tensor, "n 2*h 2*w c"]) -> Float[Tensor, "n 2*h 2*w c"]:
        return self.blocks(self.join(torch.cat([self.upsample(x), skip], -1)))


class PatchMerging(nn.Module):
    """One token of twice the channels for each square of 2 x 2 tokens."""

    def __init__(self, dim: int):
        super().__init__()
        self.norm = nn.LayerNorm(4 * dim)
        self.reduction = nn.Linear(4 * dim, 2 * dim, bias=False)

    def forward(self, x: Float[Tensor, "n h w c"]) -> Tensor:
        # Swin orders the four by column first.
        squares = rearrange(x, "n (h row) (w column) c -> n h w (column row c)", row=2, column=2)
        return self.reduction(self.norm(squares))


class PatchExpansion(nn.Module):
    """A square of 2 x 2 tokens of half the channels for each token."""

    def __init__(self, dim: int):
        super().__init__()
        self.expand = nn.Linear(dim, 2 * dim, bias=False)
        self.norm = nn.LayerNorm(dim // 2)

    def forward(self, x: Float[Tensor, "n h w c"]) -> Tensor:
        squares = rearrange(self.expand(x), "n h w (row column c) -> n (h row) (w column) c", row=2, column=2)
        return self.norm(squares)


class FinalExpansion(nn.Module):
    """Logits of the 4 x 4 pixels of each token.

    Norm and classifier work on each pixel by itself, so they come before the rearrangement of pixels, which then moves
    k + 1 channels instead of all.
    """

    def __init__(self, dim: int, classes: int):
        super().__init__()
        self.expand = nn.Linear(dim, PATCH * PATCH * dim, bias=False)
        self.norm = nn.LayerNorm(dim)
        self.classify = nn.Linear(dim, classes + 1, bias=False)

    def forward(self, x: Float[Tensor, "n h w c"]) -> Float[Tensor, "n k1 4*h 4*w"]:
        pixels = rearrange(self.expand(x), "n h w (p c) -> n h w p c", p=PATCH * PATCH)
        logits = self.classify(self.norm(pixels))
        return rearrange(logits, "n h w (row column) k -> n k (h row) (w column)", row=PATCH)
