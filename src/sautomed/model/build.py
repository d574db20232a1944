"""Settings -> the network that they describe."""

import math

from sautomed.config import MaskDecoderSettings, ModelSettings, ResNetTrunkSettings, SamTrunkSettings
from sautomed.errors import UnknownSetting
from sautomed.model.box_prompt import BoxPromptGenerator
from sautomed.model.history import HistoryTokens
from sautomed.model.mask_decoder import MaskDecoder
from sautomed.model.sautomed import SAutoMed, Trunk
from sautomed.model.slice_attention import SliceAttention
from sautomed.model.trunk_resnet import ResNetTrunk


def build_model(settings: ModelSettings, classes: int, image_size: int) -> SAutoMed:
    """3D-SAutoMed for `classes` organs. A SAM trunk's weights are read here, so this may look at disk or hub.

    Raises:
        ModelError: The trunk's weights cannot be found or do not fit.
        UnknownSetting: Sizes that do not go together.
    """
    trunk = settings.trunk
    return (
        _on_sam(settings, trunk, classes, image_size)
        if isinstance(trunk, SamTrunkSettings)
        else _on_resnet(settings, trunk, classes)
    )


def _on_resnet(settings: ModelSettings, trunk: ResNetTrunkSettings, classes: int) -> SAutoMed:
    net = ResNetTrunk(settings.dim, trunk.stem, trunk.widths, trunk.depths)
    return assemble(settings, net, classes)


def _on_sam(settings: ModelSettings, trunk: SamTrunkSettings, classes: int, image_size: int) -> SAutoMed:
    from sautomed.model.sam.trunk import sam_trunk

    own, decoder = MaskDecoderSettings(), settings.decoder
    if settings.dim != 256 or (decoder.heads, decoder.mlp, decoder.widths) != (own.heads, own.mlp, own.widths):
        raise UnknownSetting(
            "a SAM trunk brings SAM's decoder, whose sizes are fixed.",
            where="model.dim, model.decoder",
            cure="Leave model.dim, model.decoder.heads, .mlp and .widths at their defaults.",
        )
    net, sam, origin = sam_trunk(trunk, image_size)
    model = assemble(settings, net, classes)
    model.decoder.start_from(sam.decoder, sam.prompt.no_mask_embed.weight)
    model.position.load_state_dict(sam.prompt.shared_embedding.state_dict())
    model.pretrained = origin
    return model


def assemble(settings: ModelSettings, trunk: Trunk, classes: int) -> SAutoMed:
    """Every part around a trunk; those that the settings switch off are not built."""
    dim, boxes, near = settings.dim, settings.box_prompt, settings.slice_attention
    return SAutoMed(
        trunk=trunk,
        decoder=MaskDecoder(
            classes,
            dim,
            settings.decoder.heads,
            settings.decoder.mlp,
            decoder_widths(settings.decoder, dim, trunk.stride),
            trunk.fine_channels,
        ),
        slice_attention=SliceAttention(dim, near.heads, near.blocks, near.mlp_ratio) if settings.local_3d else None,
        history=HistoryTokens(dim, settings.history.tokens) if settings.global_3d else None,
        generator=(
            BoxPromptGenerator(classes, dim, boxes.layers, boxes.heads, boxes.feedforward) if settings.prompt else None
        ),
        min_pixels=boxes.min_pixels,
        memory=boxes.memory,
    )


def decoder_widths(settings: MaskDecoderSettings, dim: int, stride: int) -> tuple[int, ...]:
    """Channels after each doubling: two of them as SAM has, or as many as full resolution needs."""
    doublings = 2 if settings.head == "coarse" else int(math.log2(stride))
    given = settings.widths or ()
    return tuple(given[i] if i < len(given) else max(dim // 4 // 2**i, 8) for i in range(doublings))
