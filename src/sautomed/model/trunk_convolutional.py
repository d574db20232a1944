"""What the convolutional trunks have in common: a stem, stages of rising stride, and a top-down neck.

Features at stride 8 with context from the deeper stages, and the maps at strides 4 and 2 for the upscaling.
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as nnf
from jaxtyping import Float
from torch import Tensor, nn

from sautomed.model.values import Features


class ConvolutionalTrunk(nn.Module):
    """From images in [0, 1] to coarse features (stride 8) and fine ones (strides 4 and 2).

    Args:
        channels: Of the coarse features.
        stem: From images to the map at stride 2.
        pool: From that map to the input of the first stage.
        stages: To the maps at strides 4, 8, 16, ...
        widths: Channels at strides 2, 4, 8, 16, ...
        mean: Of images in [0, 1]; the stem gets them with zero mean and unit spread.
        spread: Their standard deviation.
    """

    stride = 8

    def __init__(
        self,
        channels: int,
        stem: nn.Module,
        pool: nn.Module,
        stages: nn.ModuleList,
        widths: Sequence[int],
        mean: float = 0.25,
        spread: float = 0.25,
    ):
        super().__init__()
        self.channels = channels
        self.fine_channels: tuple[int, ...] = (widths[1], widths[0])
        self.stage_channels = tuple(widths[1:])
        self.mean, self.spread = mean, spread
        self.stem, self.pool, self.stages = stem, pool, stages
        self.neck = TopDownNeck(widths[2:], channels)

    def forward(
        self, images: Float[Tensor, "n 3 h w"], mixers: Sequence[Callable[[Tensor], Tensor]] | None = None
    ) -> Features:
        """Encode n slices.

        Args:
            mixers: Applied to the map of each stage before the next stage sees it; None leaves the maps as they are.
        """
        finest = self.stem(for_convolutions(images, self.mean, self.spread))
        x = self.pool(finest)
        maps = []
        for stage, mix in zip(self.stages, mixers or [_unchanged] * len(self.stages), strict=True):
            x = mix(stage(x))
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


def for_convolutions(
    images: Float[Tensor, "n 3 h w"], mean: float = 0.25, spread: float = 0.25
) -> Float[Tensor, "n 3 h w"]:
    """Scale to about zero mean and unit spread, in channels-last layout, which CPUs convolve fastest.

    The defaults are for slices in [0, 1].
    """
    return ((images - mean) / spread).contiguous(memory_format=torch.channels_last)


def with_kept_layout(coarse: Tensor, fine: tuple[Tensor, ...]) -> Features:
    """Return features whose gradients are converted to channels last.

    Gradients of single slices of a run are in another layout, and every layer of the trunk would convert them again.
    """
    for x in (coarse, *fine):
        if x.requires_grad:
            x.register_hook(lambda gradient: gradient.contiguous(memory_format=torch.channels_last))
    return Features(coarse, fine)


def _unchanged(x: Tensor) -> Tensor:
    return x
