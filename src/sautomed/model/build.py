"""Builds 3D-SAutoMed from its settings."""

from __future__ import annotations

import math
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING

from sautomed.config import (
    EfficientNetLiteTrunkSettings,
    MaskDecoderSettings,
    ModelSettings,
    ResNetTrunkSettings,
    TrunkSettings,
)
from sautomed.errors import UnknownSetting
from sautomed.model.box_prompt import BoxPromptGenerator, NoBoxPrompts
from sautomed.model.history import HistoryTokens, NoHistory
from sautomed.model.imagenet_weights import load_imagenet_weights
from sautomed.model.mask_decoder import MaskDecoder
from sautomed.model.prompt_head import NoPromptHead, PromptHead
from sautomed.model.sam.pretrained import PretrainedTrunk
from sautomed.model.sautomed import SAutoMed, Trunk
from sautomed.model.slice_attention import NoSliceAttention, SliceAttention
from sautomed.model.trunk_efficientnet_lite import EfficientNetLite0Trunk
from sautomed.model.trunk_resnet import ResNetTrunk

if TYPE_CHECKING:
    from sautomed.model.sam.network import Sam


def build(settings: ModelSettings, classes: int, image_size: int) -> SAutoMed:
    """Build 3D-SAutoMed for `classes` organs. A SAM trunk's weights are read here, from disk or hub.

    Raises:
        ModelError: The trunk's weights cannot be found or do not fit.
        UnknownSetting: Sizes that do not go together.
    """
    made = make_trunk(settings.trunk, settings.dim, settings.decoder, image_size)
    model = assemble(settings, made.net, classes)
    if made.sam is not None:
        model.decoder.start_from(made.sam.decoder, made.sam.prompt.no_mask_embed.weight)
        model.generator.start_from(made.sam)
        model.slice_attention.start_as_identity()
        model.position.load_state_dict(made.sam.prompt.shared_embedding.state_dict())
        model.pretrained = made.origin
    return model


@dataclass(frozen=True)
class MadeTrunk:
    """A trunk; if it is SAM's, also the SAM (for its decoder and prompt encoder) and the source of its weights."""

    net: Trunk
    sam: Sam | None = None
    origin: PretrainedTrunk | None = None


def make_trunk(trunk: TrunkSettings, dim: int, decoder: MaskDecoderSettings, image_size: int) -> MadeTrunk:
    """Build the image encoder that the settings name, with its adapters.

    Args:
        dim: Channels of the features.
        decoder: Sizes of the decoder on the trunk; on SAM they must be SAM's.
    Raises:
        ModelError: The weights cannot be used.
        UnknownSetting: Sizes that do not go together.
    """
    if isinstance(trunk, ResNetTrunkSettings):
        return MadeTrunk(ResNetTrunk(dim, trunk.stem, trunk.widths, trunk.depths))
    if isinstance(trunk, EfficientNetLiteTrunkSettings):
        return MadeTrunk(_efficientnet_lite0(trunk, dim))
    from sautomed.model.sam.trunk import sam_trunk

    own = MaskDecoderSettings()
    if dim != 256 or (decoder.heads, decoder.mlp, decoder.widths) != (own.heads, own.mlp, own.widths):
        raise UnknownSetting(
            "a SAM trunk brings SAM's decoder, whose sizes are fixed.",
            where="model.dim, model.decoder",
            cure="Leave model.dim, model.decoder.heads, .mlp and .widths at their defaults.",
        )
    return MadeTrunk(*sam_trunk(trunk, image_size))


def _efficientnet_lite0(settings: EfficientNetLiteTrunkSettings, dim: int) -> EfficientNetLite0Trunk:
    trunk = EfficientNetLite0Trunk(dim)
    if settings.weights is not None:
        load_imagenet_weights(trunk)
    return trunk


def assemble(settings: ModelSettings, trunk: Trunk, classes: int) -> SAutoMed:
    """Build every part around a trunk that the settings switch on."""
    dim, boxes, near = settings.dim, settings.box_prompt, settings.slice_attention
    widths = decoder_widths(settings.decoder, dim, trunk.stride)
    return SAutoMed(
        trunk=trunk,
        decoder=MaskDecoder(
            classes,
            dim,
            settings.decoder.heads,
            settings.decoder.mlp,
            widths,
            trunk.fine_channels,
        ),
        slice_attention=(
            SliceAttention(dim, near.heads, near.blocks, near.mlp_ratio) if settings.local_3d else NoSliceAttention()
        ),
        history=HistoryTokens(dim, settings.history.tokens) if settings.global_3d else NoHistory(dim),
        generator=(
            BoxPromptGenerator(classes, dim, trunk.stride, boxes.layers, boxes.heads, boxes.feedforward)
            if settings.prompt
            else NoBoxPrompts(classes, dim)
        ),
        min_pixels=boxes.min_pixels,
        generator_input=attrgetter(boxes.memory),
        prompt_head=PromptHead(widths[-1]) if settings.prompt_head else NoPromptHead(),
    )


def decoder_widths(settings: MaskDecoderSettings, dim: int, stride: int) -> tuple[int, ...]:
    """Return the channels after each doubling: two doublings as in SAM, or as many as full resolution needs."""
    doublings = 2 if settings.head == "coarse" else int(math.log2(stride))
    given = settings.widths or ()
    return tuple(given[i] if i < len(given) else max(dim // 4 // 2**i, 8) for i in range(doublings))
