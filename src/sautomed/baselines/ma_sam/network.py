"""MA-SAM on SAM's encoder or on a convolutional trunk."""

from __future__ import annotations

from typing import cast

from jaxtyping import Float
from torch import Tensor, nn

from sautomed.baselines.fresh_head import FreshHead
from sautomed.baselines.ma_sam.checkpoint import load_published
from sautomed.baselines.ma_sam.decoder import FullDecoder, MaSamHead
from sautomed.baselines.ma_sam.trunks import ConvolutionalStackTrunk, SamStackTrunk
from sautomed.config.baselines import MaSamSettings
from sautomed.model.build import MadeTrunk, make_trunk
from sautomed.model.sam.trunk import SamTrunk
from sautomed.model.stack_segmenter import StackSegmenter
from sautomed.model.trunk_convolutional import ConvolutionalTrunk


class MaSam(StackSegmenter):
    """An encoder that mixes the slices of a stack, and a decoder of each slice by itself.

    Args:
        trunk: Encodes stacks (b n 3 s s) into the Features of b n slices.
        head: Computes logits at the images' resolution from Features.
    """

    def __init__(self, trunk: nn.Module, head: nn.Module, classes: int, slices: int = 5, stride: int = 1):
        super().__init__(classes, slices, stride, overhang=slices // 2)
        self.trunk, self.head = trunk, head

    def forward(self, images: Float[Tensor, "b n 3 s s"]) -> Float[Tensor, "b n k1 s s"]:
        return self.head(self.trunk(images)).unflatten(0, images.shape[:2])


def build(settings: MaSamSettings, classes: int, image_size: int) -> MaSam:
    """Build MA-SAM for `classes` organs. The trunk's weights are read here, and the checkpoint if there is one.

    Raises:
        ModelError: Weights cannot be found or do not fit.
        UnknownSetting: Sizes that do not go together.
    """
    made = make_trunk(settings.trunk, settings.dim, settings.decoder, image_size)
    trunk, head = assemble(settings, made, classes)
    model = MaSam(trunk, head, classes, settings.slices, settings.stride)
    if settings.checkpoint is not None:
        load_published(cast(SamStackTrunk, trunk), cast(MaSamHead, head), settings.checkpoint)
    model.pretrained = made.origin
    return model


def assemble(
    settings: MaSamSettings, made: MadeTrunk, classes: int
) -> tuple[SamStackTrunk, MaSamHead] | tuple[ConvolutionalStackTrunk, FreshHead]:
    """Return the encoder of stacks around a trunk, and the head that goes with it."""
    if made.sam is None:
        stacks = ConvolutionalStackTrunk(cast(ConvolutionalTrunk, made.net), settings.adapter_share)
        return stacks, FreshHead(settings.dim, settings.decoder, made.net, classes)
    decoder = FullDecoder(classes)
    decoder.start_from(made.sam.decoder)
    trunk = SamStackTrunk(cast(SamTrunk, made.net), settings.fact_rank, settings.adapter_width)
    return trunk, MaSamHead(made.sam.prompt, decoder)
