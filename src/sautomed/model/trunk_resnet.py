"""A small convolutional trunk for training from scratch on a CPU: a ResNet of basic blocks (He et al. 2016).

The parameters have the names that they have in transformers' ResNet, which earlier versions used: their models load.
It is our own because importing transformers takes longer than segmenting a small scan.
"""

from itertools import pairwise

from jaxtyping import Float
from torch import Tensor, nn

from sautomed.model.trunk_convolutional import ConvolutionalTrunk


class ResNetTrunk(ConvolutionalTrunk):
    """A ResNet of basic blocks.

    Args:
        channels: Of the coarse features.
        stem: Channels at stride 2.
        widths: Channels at strides 4, 8, 16, ...
        depths: Residual blocks at each of these strides.
    """

    def __init__(self, channels: int, stem: int, widths: tuple[int, ...], depths: tuple[int, ...]):
        stages = nn.ModuleList(
            Stage(inputs, outputs, depth, stride=1 if i == 0 else 2)
            for i, ((inputs, outputs), depth) in enumerate(zip(pairwise((stem, *widths)), depths, strict=True))
        )
        pool = nn.MaxPool2d(3, stride=2, padding=1)
        super().__init__(channels, NormedConvolution(3, stem, size=7, stride=2), pool, stages, (stem, *widths))


class NormedConvolution(nn.Module):
    """A convolution, its batch norm and, unless it is left out, a ReLU."""

    def __init__(self, inputs: int, outputs: int, size: int = 3, stride: int = 1, relu: bool = True):
        super().__init__()
        self.convolution = nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, bias=False)
        nn.init.kaiming_normal_(self.convolution.weight, mode="fan_out", nonlinearity="relu")
        self.normalization = nn.BatchNorm2d(outputs)
        self.relu = relu

    def forward(self, x: Float[Tensor, "n _ _ _"]) -> Float[Tensor, "n _ _ _"]:
        x = self.normalization(self.convolution(x))
        return x.relu_() if self.relu else x


class BasicBlock(nn.Module):
    """Two convolutions, to which their input is added, projected where its shape differs."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        same = inputs == outputs and stride == 1
        self.shortcut = nn.Identity() if same else NormedConvolution(inputs, outputs, 1, stride, relu=False)
        self.layer = nn.Sequential(
            NormedConvolution(inputs, outputs, stride=stride), NormedConvolution(outputs, outputs, relu=False)
        )

    def forward(self, x: Float[Tensor, "n _ _ _"]) -> Float[Tensor, "n _ _ _"]:
        return self.layer(x).add_(self.shortcut(x)).relu_()


class Stage(nn.Module):
    """Blocks of one width; the first may halve the size."""

    def __init__(self, inputs: int, outputs: int, depth: int, stride: int):
        super().__init__()
        rest = [BasicBlock(outputs, outputs, 1) for _ in range(depth - 1)]
        self.layers = nn.Sequential(BasicBlock(inputs, outputs, stride), *rest)

    def forward(self, x: Float[Tensor, "n _ _ _"]) -> Float[Tensor, "n _ _ _"]:
        return self.layers(x)
