"""Builds Slide-SAM from its settings: on SAM's weights, a published checkpoint or a trunk from scratch."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

from sautomed.baselines.slide_sam.checkpoint import read_published
from sautomed.baselines.slide_sam.decoder import PromptEncoder, TripletDecoder
from sautomed.baselines.slide_sam.loss import IOU_ERRORS
from sautomed.baselines.slide_sam.network import SlideSam
from sautomed.baselines.slide_sam.propagation import Rules
from sautomed.config import MaskDecoderSettings, SamTrunkSettings
from sautomed.config.baselines import SlideSamSettings
from sautomed.errors import UnknownSetting
from sautomed.model.build import MadeTrunk, decoder_widths, make_trunk
from sautomed.model.sam.network import Sam
from sautomed.model.sam.pretrained import PretrainedTrunk, TrunkShape
from sautomed.model.sam.trunk import SamTrunk


def build(settings: SlideSamSettings, classes: int, image_size: int) -> SlideSam:
    """Build Slide-SAM for `classes` organs. Weights are read here, from disk or hub.

    Raises:
        ModelError: Weights cannot be found or do not fit.
        UnknownSetting: Settings that do not go together.
    """
    trunk = settings.trunk
    if not isinstance(trunk, SamTrunkSettings):
        return assemble(settings, make_trunk(trunk, settings.dim, settings.decoder, image_size), classes, image_size)
    published = read_published(trunk.weights, trunk.input_norm)
    if published is None:
        made = make_trunk(trunk, settings.dim, settings.decoder, image_size)
        sam, origin = cast(Sam, made.sam), cast(PretrainedTrunk, made.origin)
        whole = replace(origin, shape=TrunkShape(sam.sizes, trunk.lora.rank))
        return assemble(settings, replace(made, origin=whole), classes, image_size)
    _check_fixed_sizes(settings)
    weights = published.sam
    shape = TrunkShape(weights.sizes, published.rank)
    origin = PretrainedTrunk(weights.source, weights.sha256, weights.input_norm, shape)
    made = _with_trunk(Sam.from_weights(weights, image_size), trunk, shape.lora_rank, origin)
    model = assemble(settings, made, classes, image_size)
    published.load_into(cast(SamTrunk, model.trunk), model.prompt_encoder, model.decoder)
    return model


def build_empty(settings: SlideSamSettings, classes: int, image_size: int, origin: PretrainedTrunk) -> SlideSam:
    """Build Slide-SAM on a SAM of the shape of `origin`, with uninitialised parameters, for a model folder."""
    trunk, shape = cast(SamTrunkSettings, settings.trunk), cast(TrunkShape, origin.shape)
    sam = Sam.empty(shape.sizes, image_size, origin.input_norm)
    return assemble(settings, _with_trunk(sam, trunk, shape.lora_rank, origin), classes, image_size)


def assemble(settings: SlideSamSettings, made: MadeTrunk, classes: int, image_size: int) -> SlideSam:
    """Add prompt encoder and decoder to a trunk; on SAM both start from SAM, and the whole encoder is trained."""
    net, dim, sizes = made.net, settings.dim, settings.decoder
    widths = decoder_widths(sizes, dim, net.stride)
    decoder = TripletDecoder(dim, sizes.heads, sizes.mlp, widths, net.fine_channels)
    if made.sam is None:
        prompt_encoder = PromptEncoder.fresh(dim, image_size, net.stride)
    else:
        if sizes.head != "coarse":
            raise UnknownSetting(
                "Slide-SAM's masks are SAM's, at stride 4.", where="model.decoder.head", cure="Set it to coarse."
            )
        prompt_encoder = PromptEncoder.of_sam(made.sam.prompt, image_size)
        decoder.start_from(made.sam.decoder)
        cast(SamTrunk, net).vision.requires_grad_(True)
    rules = Rules(settings.enlarge, settings.stop_pixels, settings.stop_iou, settings.stop_stability, settings.opening)
    iou_error = IOU_ERRORS[settings.iou_of]
    model = SlideSam(classes, net, prompt_encoder, decoder, rules, settings.smallest_part, iou_error)
    model.pretrained = made.origin
    return model


def _with_trunk(sam: Sam, trunk: SamTrunkSettings, lora_rank: int, origin: PretrainedTrunk) -> MadeTrunk:
    """Make the trunk of a SAM that is already built, with adapters of the given rank instead of the settings'."""
    lora = trunk.lora
    net = SamTrunk(sam.vision, sam.input_norm, lora_rank, lora.alpha, lora.targets, trunk.gradient_checkpointing)
    return MadeTrunk(net, sam, origin)


def _check_fixed_sizes(settings: SlideSamSettings) -> None:
    """Raise UnknownSetting if the settings contradict sizes that every published checkpoint has."""
    own, sizes, lora = MaskDecoderSettings(), settings.decoder, cast(SamTrunkSettings, settings.trunk).lora
    if (settings.dim, sizes.heads, sizes.mlp, sizes.widths) != (256, own.heads, own.mlp, own.widths):
        raise UnknownSetting(
            "a published checkpoint contains its decoder, whose sizes are fixed.",
            where="model.dim, model.decoder",
            cure="Leave model.dim, model.decoder.heads, .mlp and .widths at their defaults.",
        )
    if set(lora.targets) != {"q", "v"} or lora.alpha is not None:
        raise UnknownSetting(
            "a published checkpoint contains its adapters, of q and v at a scale of 1.",
            where="model.trunk.lora",
            cure="Leave model.trunk.lora.alpha and .targets at their defaults.",
        )
