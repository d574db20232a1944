"""A small convolutional trunk for training from scratch on a CPU: transformers' ResNet and a top-down neck.

Features at stride 8 with context from the deeper stages, and the stages at strides 4 and 2 for the upscaling.
"""

import torch
import torch.nn.functional as nnf
from jaxtyping import Float
from torch import Tensor, nn
from transformers import ResNetConfig, ResNetModel

from sautomed.model.segmenter import Features


class ResNetTrunk(nn.Module):
    """Images in [0, 1] -> coarse features (stride 8) and fine ones (strides 4 and 2)."""

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
        self.laterals = nn.ModuleList(nn.Conv2d(width, channels, 1) for width in widths[1:])
        self.neck = nn.Sequential(nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels))

    def forward(self, images: Float[Tensor, "n 3 h w"]) -> Features:
        # [0, 1] -> about zero mean and unit spread; channels last is the layout that CPUs convolve fastest
        x = ((images - 0.25) * 4).contiguous(memory_format=torch.channels_last)
        finest = self.stem(x)
        x = self.pool(finest)
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        deeper = [lateral(m) for lateral, m in zip(self.laterals, maps[1:], strict=True)]
        top = deeper.pop()
        while deeper:
            below = deeper.pop()
            top = below + nnf.interpolate(top, size=below.shape[-2:], mode="nearest")
        return Features(_layout_kept(self.neck(top)), (_layout_kept(maps[0]), _layout_kept(finest)))


def _layout_kept(x: Tensor) -> Tensor:
    """Gradients that come back from slices of a run are not channels last; turned once here, not in every layer."""
    if x.requires_grad:
        x.register_hook(lambda gradient: gradient.contiguous(memory_format=torch.channels_last))
    return x
