"""The network of Slide-SAM: SAM on three slices at once, one organ at a time (Quan et al. 2023)."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from sautomed.baselines.slide_sam.decoder import PromptEncoder, TripletDecoder
from sautomed.baselines.slide_sam.loss import IouError, draw_examples, error_of_best, prompt_losses
from sautomed.baselines.slide_sam.propagation import Rules, TripletMasks, propagate
from sautomed.config import SegmentSettings, TrainSettings
from sautomed.model.sautomed import Trunk
from sautomed.model.segmenter import Segmenter
from sautomed.model.values import Examples, Features, PredictedSlice, SliceReader

SMALLEST_RANGE = 1e-6  # of [0, 1]; three slices with less contrast are not stretched


class SlideSam(Segmenter):
    """Masks of three neighbouring slices from a point or a box in the middle one; the slices are the channels.

    It needs `data.channels=neighbours`: three copies of one slice cannot be distinguished.

    Args:
        rules: Of the propagation of boxes.
        smallest_part: Share of the middle slice; smaller organs are no training examples.
        iou_error: Selects the hypotheses whose predicted IoU is trained.
    """

    prompts = "box"
    run_slices = 3
    overhang = 1  # so that the first and the last slice are also middle slices of triplets

    def __init__(
        self,
        classes: int,
        trunk: Trunk,
        prompt_encoder: PromptEncoder,
        decoder: TripletDecoder,
        rules: Rules,
        smallest_part: float,
        iou_error: IouError = error_of_best,
    ):
        super().__init__()
        self.classes, self.rules = classes, rules
        self.smallest_part, self.iou_error = smallest_part, iou_error
        self.trunk, self.prompt_encoder, self.decoder = trunk, prompt_encoder, decoder

    def encode(self, images: Float[Tensor, "n 3 s s"]) -> Features:
        """Encode n triplets, each first stretched to [0, 1] as in the public code."""
        low, high = images.amin((1, 2, 3), keepdim=True), images.amax((1, 2, 3), keepdim=True)
        flat = high - low < SMALLEST_RANGE
        return Features.of(self.trunk(torch.where(flat, images, (images - low) / torch.where(flat, 1.0, high - low))))

    def decode(
        self, features: Features, prompts: Float[Tensor, "m p c"]
    ) -> tuple[Float[Tensor, "m 3 3 h w"], Float[Tensor, "m 3"]]:
        """Return masks (logits) of three hypotheses x slices (below, middle, above), and each hypothesis's IoU.

        Args:
            features: One row for each prompt.
        """
        position = self.prompt_encoder.position(*features.coarse.shape[-2:])
        return self.decoder(features, position, self.prompt_encoder.no_mask, prompts)

    def masks_in_boxes(self, features: Features, boxes: Float[Tensor, "m 4"]) -> TripletMasks:
        """Return the hypothesis of the highest predicted IoU for each of m boxes in one slice."""
        coarse, *fine = (x.expand(len(boxes), -1, -1, -1) for x in (features.coarse, *features.fine))
        masks, iou = self.decode(Features(coarse, tuple(fine)), self.prompt_encoder.boxes(boxes))
        best = iou.argmax(1)
        rows = torch.arange(len(boxes), device=best.device)
        return TripletMasks(masks[rows, best], iou[rows, best])

    @torch.inference_mode()
    def predict(self, volume: SliceReader, settings: SegmentSettings) -> Iterator[PredictedSlice]:
        """Yield the slices from the first to the last, with boxes propagated for each organ (`propagate`)."""
        yield from propagate(self, volume, self.classes, self.rules, settings.chunk)

    def losses(self, examples: Examples, settings: TrainSettings, generator: torch.Generator) -> dict[str, Tensor]:
        """Prompt one organ of each triplet by a point and by a box, and add the losses of both."""
        drawn = draw_examples(examples.labels, self.classes, self.smallest_part, generator)
        features = self.encode(examples.images[:, 2])  # of the middle slice, with its neighbours as channels
        prompts = [self.prompt_encoder.points(drawn.points), self.prompt_encoder.boxes(drawn.boxes)]
        masks, iou = self.decode(Features.cat([features, features]), torch.cat(prompts))
        return prompt_losses(masks, iou, drawn, self.iou_error)

    def run_heaviest_part(self, images: Float[Tensor, "n 3 s s"]) -> Features:
        """Run the trunk."""
        return self.encode(images)
