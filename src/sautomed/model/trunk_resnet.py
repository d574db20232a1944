"""A small convolutional trunk for training from scratch on a CPU: transformers' ResNet and a top-down neck.

Features at stride 8 with context from the deeper stages, and the stages at strides 4 and 2 for the upscaling.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as nnf
from jaxtyping import Float
from torch import Tensor, nn
from transformers import ResNetConfig, ResNetModel

from sautomed.model.values import Features


class ResNetTrunk(nn.Module):
    """From images in [0, 1] to coarse features (stride 8) and fine ones (strides 4 and 2)."""

    stride = 8

    def __init__(self, channels: int, stem: int, widths: tuple[int, ...], depths: tuple[int, ...]):
        super().__init__()
        net = ResNetModel(
            ResNetConfig(
                num_channels=3, embedding_size=stem, hidden_sizes=list(widths), depths=list(depths), layer_type="basic"
            )
        )
        self.channels = channels
        self.fine_channels: tuple[int, ...] = (widths[0], stem)
        self.stem, self.pool, self.stages = net.embedder.embedder, net.embedder.pooler, net.encoder.stages
        self.neck = TopDownNeck(widths[1:], channels)

    def forward(self, images: Float[Tensor, "n 3 h w"]) -> Features:
        finest = self.stem(for_convolutions(images))
        x = self.pool(finest)
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return with_kept_layout(self.neck(maps[1:]), (maps[0], finest))


class TopDownNeck(nn.Module):
    """Merges maps of falling size into one map of the first one's size (feature pyramid, Lin et al. 2017)."""

    def __init__(self, widths: Sequence[int], channels: int):
        super().__init__()
        self.laterals = nn.ModuleList(nn.Conv2d(width, channels, 1) for width in widths)
        self.smooth = nn.Sequential(nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels))

    def forward(self, maps: Sequence[Float[Tensor, "n _ _ _"]]) -> Float[Tensor, "n c h w"]:
        thin = [lateral(m) for lateral, m in zip(self.laterals, maps, strict=True)]
        top = thin.pop()
        while thin:
            below = thin.pop()
            top = below + nnf.interpolate(top, size=below.shape[-2:], mode="nearest")
        return self.smooth(top)


def for_convolutions(images: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n 3 h w"]:
    """Scale [0, 1] to about zero mean and unit spread, in channels-last layout, which CPUs convolve fastest."""
    return ((images - 0.25) * 4).contiguous(memory_format=torch.channels_last)


def with_kept_layout(coarse: Tensor, fine: tuple[Tensor, ...]) -> Features:
    """Return features whose gradients are converted to channels last.

    Gradients of single slices of a run are in another layout, and every layer of the trunk would convert them again.
    """
    for x in (coarse, *fine):
        if x.requires_grad:
            x.register_hook(lambda gradient: gradient.contiguous(memory_format=torch.channels_last))
    return Features(coarse, fine)
