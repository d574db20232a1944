"""The network of TransUNet: a ResNet, a transformer on its coarsest map, and a decoder with the ResNet's maps as skips.

Images stay in [0, 1], without mean and standard deviation, as in the public code. Maps are stored channels last, the
layout that CPUs convolve fastest.
"""

from __future__ import annotations

import torch
import torch.nn.functional as nnf
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from sautomed.baselines.transunet.weights import load_imagenet
from sautomed.config.baselines import TransUNetSettings
from sautomed.errors import UnknownSetting
from sautomed.model.slice_walker import PlainSegmenter
from sautomed.model.values import Features

STRIDE = 16  # of the tokens
_DECODER_WIDTHS = (512, 256, 128, 64, 16)  # at strides 16, 8, 4, 2, 1


def build(settings: TransUNetSettings, classes: int, image_size: int) -> TransUNet:
    """Build TransUNet for `classes` organs; the encoder starts from ImageNet if the settings name the weights.

    Raises:
        UnknownSetting: `image_size` is no multiple of 16.
        ModelError: The weights cannot be used.
    """
    if image_size % STRIDE:
        raise UnknownSetting(
            f"TransUNet's tokens are squares of {STRIDE} pixels, but {image_size} is no multiple of {STRIDE}.",
            where="data.image_size",
            cure=f"Set it to a multiple of {STRIDE}, for example 224.",
        )
    network = TransUNet(settings, classes, image_size // STRIDE)
    if settings.weights:
        load_imagenet(network, settings, settings.weights)
    return network


class TransUNet(PlainSegmenter):
    """A 2D network whose features are 16 channels at the images' resolution.

    Args:
        grid: Tokens along a side of the image.
    """

    def __init__(self, settings: TransUNetSettings, classes: int, grid: int):
        super().__init__()
        self.classes = classes
        self.resnet = ResNetV2(settings.width, settings.units)
        self.transformer = TokenTransformer(settings, 16 * settings.width, grid)
        self.decoder = CascadedUpsampler(settings.dim, (8 * settings.width, 4 * settings.width, settings.width, 0))
        self.head = nn.Conv2d(_DECODER_WIDTHS[-1], classes + 1, 3, padding=1)

    def encode(self, images: Float[Tensor, "n 3 s s"]) -> Features:
        coarsest, skips = self.resnet(images.contiguous(memory_format=torch.channels_last))
        return Features(self.decoder(self.transformer(coarsest), skips))

    def logits(self, features: Features) -> Float[Tensor, "n k1 s s"]:
        return self.head(features.coarse)


class StandardizedConv2d(nn.Conv2d):
    """A convolution whose filters have zero mean and unit variance (Qiao et al. 2019)."""

    def forward(self, x: Tensor) -> Tensor:
        return self._conv_forward(x, nnf.layer_norm(self.weight, self.weight.shape[1:], eps=1e-5), self.bias)


class ResNetV2(nn.Module):
    """The first three stages of BiT's ResNet (Kolesnikov et al. 2020), with group norm after each convolution."""

    def __init__(self, width: int, units: tuple[int, int, int]):
        super().__init__()
        self.conv = StandardizedConv2d(3, width, 7, stride=2, padding=3, bias=False)
        self.norm = nn.GroupNorm(32, width, eps=1e-6)
        self.stages = nn.ModuleList()
        before = width
        for number, count in enumerate(units):
            middle = width * 2**number
            first = Bottleneck(before, middle, 4 * middle, stride=min(number + 1, 2))
            before = 4 * middle
            others = (Bottleneck(before, middle, before) for _ in range(count - 1))
            self.stages.append(nn.Sequential(first, *others))

    def forward(self, images: Float[Tensor, "n 3 s s"]) -> tuple[Tensor, list[Tensor]]:
        """Return the map at stride 16, and those at strides 8, 4 and 2."""
        stem = nnf.relu(self.norm(self.conv(images)), inplace=True)
        quarter = self.stages[0](nnf.max_pool2d(stem, 3, stride=2))
        eighth = self.stages[1](quarter)
        # Pooling without padding leaves out one row and one column; the skip is padded with zeros (public code).
        return self.stages[2](eighth), [eighth, nnf.pad(quarter, (0, 1, 0, 1)), stem]


class Bottleneck(nn.Module):
    """Convolutions 1x1, 3x3 (with the stride) and 1x1, added to the input; a projection where the shape changes."""

    def __init__(self, before: int, middle: int, after: int, stride: int = 1):
        super().__init__()
        self.conv1 = StandardizedConv2d(before, middle, 1, bias=False)
        self.gn1 = nn.GroupNorm(32, middle, eps=1e-6)
        self.conv2 = StandardizedConv2d(middle, middle, 3, stride=stride, padding=1, bias=False)
        self.gn2 = nn.GroupNorm(32, middle, eps=1e-6)
        self.conv3 = StandardizedConv2d(middle, after, 1, bias=False)
        self.gn3 = nn.GroupNorm(32, after, eps=1e-6)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or before != after:
            self.shortcut = nn.Sequential(
                StandardizedConv2d(before, after, 1, stride=stride, bias=False), nn.GroupNorm(after, after)
            )

    def forward(self, x: Tensor) -> Tensor:
        y = nnf.relu(self.gn1(self.conv1(x)), inplace=True)
        y = nnf.relu(self.gn2(self.conv2(y)), inplace=True)
        return nnf.relu(self.shortcut(x) + self.gn3(self.conv3(y)), inplace=True)


class TokenTransformer(nn.Module):
    """A transformer over the places of a map, each a token with a learned position (Dosovitskiy et al. 2021)."""

    def __init__(self, settings: TransUNetSettings, channels: int, grid: int):
        super().__init__()
        self.embed = nn.Conv2d(channels, settings.dim, 1)
        self.positions = nn.Parameter(torch.zeros(1, grid * grid, settings.dim))
        self.dropout = nn.Dropout(settings.dropout)
        self.layers = nn.ModuleList(_transformer_layer(settings) for _ in range(settings.layers))
        self.norm = nn.LayerNorm(settings.dim, eps=1e-6)

    def forward(self, x: Float[Tensor, "n c g g"]) -> Float[Tensor, "n d g g"]:
        x = self.embed(x)
        side = x.shape[-1]
        tokens = self.dropout(rearrange(x, "n d h w -> n (h w) d") + self.positions)
        for layer in self.layers:
            tokens = layer(tokens)
        return rearrange(self.norm(tokens), "n (h w) d -> n d h w", h=side)


def _transformer_layer(settings: TransUNetSettings) -> nn.TransformerEncoderLayer:
    """Make a layer as in ViT: dropout in the MLP only, and ViT's initial weights there."""
    layer = nn.TransformerEncoderLayer(
        settings.dim,
        settings.heads,
        settings.mlp,
        settings.dropout,
        activation="gelu",
        layer_norm_eps=1e-6,
        batch_first=True,
        norm_first=True,
    )
    layer.self_attn.dropout = layer.dropout1.p = 0.0
    for linear in (layer.linear1, layer.linear2):
        nn.init.xavier_uniform_(linear.weight)
        nn.init.normal_(linear.bias, std=1e-6)
    return layer


class CascadedUpsampler(nn.Module):
    """Four doublings, from stride 16 to stride 1 (the paper's CUP).

    Args:
        skips: Channels of the skip at each doubling; 0 without one.
    """

    def __init__(self, dim: int, skips: tuple[int, ...]):
        super().__init__()
        self.first = _conv_norm_relu(dim, _DECODER_WIDTHS[0])
        self.blocks = nn.ModuleList(
            nn.Sequential(_conv_norm_relu(before + skip, after), _conv_norm_relu(after, after))
            for before, skip, after in zip(_DECODER_WIDTHS, skips, _DECODER_WIDTHS[1:], strict=False)
        )

    def forward(self, x: Float[Tensor, "n d g g"], skips: list[Tensor]) -> Float[Tensor, "n 16 s s"]:
        x = self.first(x)
        for number, block in enumerate(self.blocks):
            x = nnf.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)
            x = block(torch.cat([x, skips[number]], 1) if number < len(skips) else x)
        return x


def _conv_norm_relu(before: int, after: int) -> nn.Sequential:
    conv = nn.Conv2d(before, after, 3, padding=1, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(after), nn.ReLU(inplace=True))
