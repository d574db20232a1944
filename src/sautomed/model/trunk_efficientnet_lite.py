"""EfficientNet-Lite0 as a trunk (Tan and Le 2019; Google's TPU models, `efficientnet/lite`, 2020).

EfficientNet without squeeze-and-excitation and with ReLU6: small, quick on a CPU, and there are ImageNet weights for it
in a package (`imagenet_weights`). The classifier's last convolution and linear layer are left out.
"""

from typing import NamedTuple

import torch.nn.functional as nnf
from jaxtyping import Float
from torch import Tensor, nn

from sautomed.model.trunk_convolutional import ConvolutionalTrunk

# The published training scaled RGB in 0..255 with these, not with ImageNet's mean and standard deviation. The weights
# bear it out: with ImageNet's, the first convolution's variances are four times those that its norm has stored.
MEAN, SPREAD = 127 / 255, 128 / 255

EPSILON = 1e-3  # of the norms, as published

STEM = 32  # channels


class Block(NamedTuple):
    """Sizes of an inverted bottleneck."""

    kernel: int
    stride: int
    expansion: int
    channels: int


# One row for each stride: 2, 4, 8, 16, 32.
BLOCKS = (
    (Block(3, 1, 1, 16),),
    (Block(3, 2, 6, 24), Block(3, 1, 6, 24)),
    (Block(5, 2, 6, 40), Block(5, 1, 6, 40)),
    (Block(3, 2, 6, 80), *[Block(3, 1, 6, 80)] * 2, *[Block(5, 1, 6, 112)] * 3),
    (Block(5, 2, 6, 192), *[Block(5, 1, 6, 192)] * 3, Block(3, 1, 6, 320)),
)


class EfficientNetLite0Trunk(ConvolutionalTrunk):
    """EfficientNet-Lite0 up to its last block, with random weights.

    Args:
        channels: Of the coarse features.
    """

    def __init__(self, channels: int):
        first, *stages = _rows_of_blocks()
        stem = nn.Sequential(_convolution(3, STEM, 3, stride=2), nn.ReLU6(inplace=True), first)
        widths = [row[-1].channels for row in BLOCKS]
        super().__init__(channels, stem, nn.Identity(), nn.ModuleList(stages), widths, MEAN, SPREAD)

    def blocks(self) -> list["InvertedBottleneck"]:
        """Return all blocks in order."""
        return [module for module in self.modules() if isinstance(module, InvertedBottleneck)]


class InvertedBottleneck(nn.Module):
    """1x1 expansion, depthwise convolution, 1x1 projection; a residual where shapes allow (Sandler et al. 2018)."""

    def __init__(self, channels: int, sizes: Block):
        super().__init__()
        wide = channels * sizes.expansion
        self.has_residual = sizes.stride == 1 and channels == sizes.channels
        self.expand = None if sizes.expansion == 1 else _convolution(channels, wide, 1)
        self.depthwise = _convolution(wide, wide, sizes.kernel, sizes.stride, groups=wide)
        self.project = _convolution(wide, sizes.channels, 1)
        self.bound = nn.ReLU6(inplace=True)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c2 h2 w2"]:
        wide = x if self.expand is None else self.bound(self.expand(x))
        out = self.project(self.bound(self.depthwise(wide)))
        return x + out if self.has_residual else out


class SameConv2d(nn.Conv2d):
    """Convolution with TensorFlow's "same" padding: with a stride, the odd pixel of it is at the end."""

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c2 h2 w2"]:
        if self.stride[0] == 1:  # symmetric, so that the convolution pads by itself
            return super().forward(x)
        missing = [
            max((-(-size // stride) - 1) * stride + kernel - size, 0)
            for size, stride, kernel in zip(x.shape[-2:], self.stride, self.kernel_size, strict=True)
        ]
        return super().forward(nnf.pad(x, [pixels for m in reversed(missing) for pixels in (m // 2, m - m // 2)]))


def _convolution(channels: int, out_channels: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """Make a convolution without bias, and its norm."""
    padding = kernel // 2 if stride == 1 else 0
    convolution = SameConv2d(channels, out_channels, kernel, stride, padding, groups=groups, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(out_channels, eps=EPSILON))


def _rows_of_blocks() -> list[nn.Sequential]:
    """Make the blocks of each stride."""
    channels, rows = STEM, []
    for row in BLOCKS:
        blocks = []
        for sizes in row:
            blocks.append(InvertedBottleneck(channels, sizes))
            channels = sizes.channels
        rows.append(nn.Sequential(*blocks))
    return rows
