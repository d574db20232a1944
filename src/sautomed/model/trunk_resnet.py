"""A small convolutional trunk for training from scratch on a CPU: transformers' ResNet."""

from torch import nn
from transformers import ResNetConfig, ResNetModel

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
        net = ResNetModel(
            ResNetConfig(
                num_channels=3, embedding_size=stem, hidden_sizes=list(widths), depths=list(depths), layer_type="basic"
            )
        )
        stages: nn.ModuleList = net.encoder.stages
        super().__init__(channels, net.embedder.embedder, net.embedder.pooler, stages, (stem, *widths))
