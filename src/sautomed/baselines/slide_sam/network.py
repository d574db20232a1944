"""Slide-SAM as a network (Quan et al. 2023): SAM on three slices at once, an organ at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor

from sautomed.baselines.slide_sam.checkpoint import read_published
from sautomed.baselines.slide_sam.decoder import Prompts, TripletDecoder
from sautomed.baselines.slide_sam.loss import IouOf, draw_examples, prompt_losses
from sautomed.baselines.slide_sam.propagation import Rules, TripletMasks, propagate
from sautomed.config import MaskDecoderSettings, SamTrunkSettings, SlideSamSettings
from sautomed.errors import UnknownSetting
from sautomed.model.build import MadeTrunk, decoder_widths, make_trunk
from sautomed.model.sam.network import Sam
from sautomed.model.sam.trunk import SamTrunk
from sautomed.model.sautomed import Trunk
from sautomed.model.segmenter import (
    Examples,
    Features,
    PredictedSlice,
    PretrainedTrunk,
    PromptedSegmenter,
    SliceReader,
    TrunkShape,
)

FLATTEST = 1e-6  # of [0, 1]: three slices of less contrast stay as they are


def build(settings: SlideSamSettings, classes: int, image_size: int) -> SlideSam:
    """Slide-SAM from SAM's weights, from a published Slide-SAM checkpoint, or on an untrained trunk.

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
    _check(settings)
    weights = published.sam
    shape = TrunkShape(weights.sizes, published.rank)
    origin = PretrainedTrunk(weights.source, weights.sha256, weights.input_norm, shape)
    made = _made_of(Sam.from_weights(weights, image_size), trunk, shape.lora_rank, origin)
    model = assemble(settings, made, classes, image_size)
    published.put_into(model)
    return model


def build_empty(settings: SlideSamSettings, classes: int, image_size: int, origin: PretrainedTrunk) -> SlideSam:
    """Slide-SAM on a trunk of the shape of `origin`, its weights yet to come: from a model folder, which has all."""
    trunk, shape = cast(SamTrunkSettings, settings.trunk), cast(TrunkShape, origin.shape)
    sam = Sam.empty(shape.sizes, image_size, origin.input_norm)
    return assemble(settings, _made_of(sam, trunk, shape.lora_rank, origin), classes, image_size)


def assemble(settings: SlideSamSettings, made: MadeTrunk, classes: int, image_size: int) -> SlideSam:
    """Prompt encoder and decoder for a trunk; on SAM with SAM's weights, the whole encoder trained."""
    net, dim, sizes = made.net, settings.dim, settings.decoder
    widths = decoder_widths(sizes, dim, net.stride)
    decoder = TripletDecoder(dim, sizes.heads, sizes.mlp, widths, net.fine_channels)
    if made.sam is None:
        prompts = Prompts.fresh(dim, image_size, net.stride)
    else:
        if len(widths) != 2:
            raise UnknownSetting(
                "Slide-SAM's masks are SAM's, at stride 4.", where="model.decoder.head", cure="Leave it at coarse."
            )
        prompts = Prompts.of_sam(made.sam.prompt, image_size)
        decoder.start_from(made.sam.decoder)
        cast(SamTrunk, net).vision.requires_grad_(True)
    s = settings
    rules = Rules(s.enlarge, s.stop_pixels, s.stop_iou, s.stop_stability, s.opening)
    model = SlideSam(classes, net, prompts, decoder, rules, s.smallest_part, s.iou_of)
    model.pretrained = made.origin
    return model


def _made_of(sam: Sam, trunk: SamTrunkSettings, lora_rank: int, origin: PretrainedTrunk) -> MadeTrunk:
    """What `make_trunk` makes, of a SAM at hand and with adapters of this rank."""
    lora = trunk.lora
    net = SamTrunk(sam.vision, sam.input_norm, lora_rank, lora.alpha, lora.targets, trunk.gradient_checkpointing)
    return MadeTrunk(net, sam, origin)


def _check(settings: SlideSamSettings) -> None:
    """Raise UnknownSetting for what a published checkpoint does not go with; it says its adapters' rank itself."""
    own, sizes, lora = MaskDecoderSettings(), settings.decoder, cast(SamTrunkSettings, settings.trunk).lora
    if (settings.dim, sizes.heads, sizes.mlp, sizes.widths) != (256, own.heads, own.mlp, own.widths):
        raise UnknownSetting(
            "a published checkpoint brings its decoder, whose sizes are fixed.",
            where="model.dim, model.decoder",
            cure="Leave model.dim, model.decoder.heads, .mlp and .widths at their defaults.",
        )
    if set(lora.targets) != {"q", "v"} or lora.alpha is not None:
        raise UnknownSetting(
            "a published checkpoint brings its adapters, of q and v at a scale of 1.",
            where="model.trunk.lora",
            cure="Leave model.trunk.lora.alpha and .targets at their defaults.",
        )


class SlideSam(PromptedSegmenter):
    """Three neighbouring slices in the image's channels, a point or a box on the middle one, the masks of all three.

    It expects `data.channels=neighbours`: with the same slice three times over, nothing tells the three apart.

    Args:
        rules: How a box is passed on, and when no more.
        smallest_part: Of the middle slice; a smaller organ there is no training example.
        iou_of: Which hypotheses learn what IoU they reach.
    """

    prompts = "box"
    run_slices = 3
    overhang = 1  # so that the first and the last slice too are the middle of three

    def __init__(
        self,
        classes: int,
        trunk: Trunk,
        prompt_encoder: Prompts,
        decoder: TripletDecoder,
        rules: Rules,
        smallest_part: float,
        iou_of: IouOf = "best",
    ):
        super().__init__()
        self.classes, self.rules = classes, rules
        self.smallest_part, self.iou_of = smallest_part, iou_of
        self.trunk, self.prompt_encoder, self.decoder = trunk, prompt_encoder, decoder

    def encode(self, images: Float[Tensor, "n 3 s s"]) -> Features:
        """Features of n times three slices, each three stretched over [0, 1] as in the public code."""
        low, high = images.amin((1, 2, 3), keepdim=True), images.amax((1, 2, 3), keepdim=True)
        flat = high - low < FLATTEST
        out = self.trunk(torch.where(flat, images, (images - low) / torch.where(flat, 1.0, high - low)))
        return out if isinstance(out, Features) else Features(out)

    def decode(
        self, features: Features, prompts: Float[Tensor, "m p c"]
    ) -> tuple[Float[Tensor, "m 3 3 h w"], Float[Tensor, "m 3"]]:
        """Hypotheses x slices (below, middle, above) and each hypothesis's IoU; a row of features for each prompt."""
        position = self.prompt_encoder.position(*features.coarse.shape[-2:])
        return self.decoder(features, position, self.prompt_encoder.no_mask, prompts)

    def masks_in_boxes(self, features: Features, boxes: Float[Tensor, "m 4"]) -> TripletMasks:
        """The hypothesis with the highest predicted IoU for each of m boxes on the one slice of the features."""
        shared = (features.coarse, *features.fine)
        coarse, *fine = (x.expand(len(boxes), -1, -1, -1) for x in shared)
        masks, iou = self.decode(Features(coarse, tuple(fine)), self.prompt_encoder.boxes(boxes))
        best = iou.argmax(1)
        rows = torch.arange(len(boxes), device=best.device)
        return TripletMasks(masks[rows, best], iou[rows, best])

    def predict(self, volume: SliceReader, chunk: int) -> Iterator[PredictedSlice]:
        return propagate(self, volume, self.classes, self.rules, chunk)

    def losses(self, run: Examples, generator: torch.Generator) -> dict[str, Tensor]:
        """One organ of each triplet, asked for by a point and by a box; the losses of both are added."""
        examples = draw_examples(run.labels, self.classes, self.smallest_part, generator)
        features = self.encode(run.images[:, 2])  # of the run's three slices the middle one, with its neighbours
        prompts = [self.prompt_encoder.points(examples.points), self.prompt_encoder.boxes(examples.boxes)]
        masks, iou = self.decode(Features.cat([features, features]), torch.cat(prompts))
        return prompt_losses(masks, iou, examples, self.iou_of)

    def heaviest(self, images: Float[Tensor, "n 3 s s"]) -> Features:
        """The trunk."""
        return self.encode(images)
