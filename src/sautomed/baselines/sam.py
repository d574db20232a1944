"""SAM without training, prompted from the truth: an oracle (Kirillov et al. 2023).

Each slice is segmented by itself, and each organ that it shows gets one prompt, a point or a box. The organs' masks are
joined in one label map: the largest logit wins, and the background where all logits are negative.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy import ndimage
from torch import Tensor, nn

from sautomed.config import SamTrunkSettings, SegmentSettings, TrainSettings
from sautomed.config.baselines import SamSettings
from sautomed.errors import UnknownSetting, UsageError
from sautomed.model.boxes import boxes_of_labels
from sautomed.model.sam.network import Sam, decode_masks, dense_position
from sautomed.model.sam.parts import fix_positions
from sautomed.model.sam.pretrained import PretrainedTrunk
from sautomed.model.sam.trunk import SamTrunk
from sautomed.model.sam.weights import read_sam_weights
from sautomed.model.segmenter import Segmenter
from sautomed.model.values import Examples, PredictedSlice, SliceReader

NOT_PROMPTED = -1e4  # logit of an organ without a prompt: finite, so that it can be interpolated


def build(settings: SamSettings, classes: int, image_size: int) -> PromptedSam:
    """Build SAM with its published weights, from disk or hub.

    Raises:
        ModelError: The weights cannot be used.
        UnknownSetting: Another trunk than SAM's, or a size that SAM cannot take.
    """
    if not isinstance(settings.trunk, SamTrunkSettings):
        raise UnknownSetting(
            "SAM is used as published and never trained, so it needs SAM's weights.",
            where="model.trunk.kind",
            cure="Use model.trunk.kind=sam with SAM's or MedSAM's weights, or leave SAM out of the comparison.",
        )
    weights = read_sam_weights(settings.trunk.weights, settings.trunk.input_norm)
    kind = {"points": PointPromptedSam, "box": BoxPromptedSam}[settings.prompt]
    model = kind(Sam.from_weights(weights, image_size), classes)
    model.pretrained = PretrainedTrunk(weights.source, weights.sha256, weights.input_norm)
    return model


class FrozenSam(nn.Module):
    """All parts of a SAM, none of them trained.

    Args:
        sam: Its parts are used, not copied, and frozen.
    """

    def __init__(self, sam: Sam):
        super().__init__()
        self.encoder = SamTrunk(sam.vision, sam.input_norm, lora_rank=0)
        self.prompt, self.decoder = sam.prompt, sam.decoder
        fix_positions(self.prompt.shared_embedding)
        self.requires_grad_(False)

    def forward(self, images: Float[Tensor, "n 3 s s"]) -> Float[Tensor, "n 256 h w"]:
        """Encode images in [0, 1]."""
        return self.encoder(images)

    def at_points(self, features: Float[Tensor, "1 256 h w"], points: Float[Tensor, "n 2"]) -> Float[Tensor, "n h4 w4"]:
        """Return the mask (logits) at each point, xy in pixels: of SAM's three the one with the highest IoU output."""
        positive = points[None, :, None]
        sparse, _ = self.prompt(positive, torch.ones_like(positive[..., 0]), input_boxes=None, input_masks=None)
        masks, iou = self._decode(features, sparse)
        return masks[torch.arange(len(points)), 1 + iou[:, 1:].argmax(1)]

    def in_boxes(self, features: Float[Tensor, "1 256 h w"], boxes: Float[Tensor, "n 4"]) -> Float[Tensor, "n h4 w4"]:
        """Return SAM's single mask (logits) in each box, xyxy in pixels; corners are centres of pixels."""
        sparse, _ = self.prompt(None, None, input_boxes=boxes[None], input_masks=None)
        return self._decode(features, sparse)[0][:, 0]

    def _decode(self, features: Tensor, sparse: Float[Tensor, "1 n p 256"]) -> tuple[Tensor, Tensor]:
        """Return the four masks and predicted IoUs of each prompt."""
        h, w = features.shape[-2:]
        position = dense_position(self.prompt.shared_embedding, h, w)
        no_mask = self.prompt.no_mask_embed.weight[:, None, :, None, None]
        masks, iou = decode_masks(self.decoder, position, features, sparse, no_mask)
        return masks[0], iou[0]


class PromptedSam(Segmenter):
    """SAM with one prompt from the truth for each organ and slice.

    Args:
        sam: Its parts are used, not copied, and frozen.
        classes: Number of organs, without the background.
    """

    def __init__(self, sam: Sam, classes: int):
        super().__init__()
        self.trunk, self.classes = FrozenSam(sam), classes

    @abstractmethod
    def masks(
        self,
        features: Float[Tensor, "1 256 h w"],
        truth: Int[Tensor, "s s"],
        organs: Int[Tensor, " m"],
        boxes: Float[Tensor, "m 4"],
    ) -> Float[Tensor, "m h4 w4"]:
        """Return the masks (logits) of organs in one slice.

        Args:
            truth: True classes of the slice; 1 is organ 0.
            organs: Those that the slice shows, at least one.
            boxes: Their true boxes, xyxy in [0, 1].
        """

    def result(
        self, t: int, logits: Float[Tensor, "k1 h4 w4"], boxes: Float[Tensor, "k1-1 4"], present: Bool[Tensor, " k1-1"]
    ) -> PredictedSlice:
        """Return the prediction for slice t, with the true boxes where they were the prompts."""
        return PredictedSlice(t, logits)

    @torch.inference_mode()
    def predict(self, volume: SliceReader, settings: SegmentSettings) -> Iterator[PredictedSlice]:
        for first in range(0, volume.depth, settings.chunk):
            rows = range(first, min(first + settings.chunk, volume.depth))
            truth = volume.truth(rows)
            boxes, present = boxes_of_labels(truth, self.classes)
            features = self.trunk(volume.images(rows))
            for i, t in enumerate(rows):
                logits = self._logits(features[i : i + 1], truth[i], boxes[i], present[i])
                yield self.result(t, logits, boxes[i], present[i])

    def _logits(
        self, features: Tensor, truth: Int[Tensor, "s s"], boxes: Float[Tensor, "k 4"], present: Bool[Tensor, " k"]
    ) -> Float[Tensor, "k+1 h4 w4"]:
        h, w = features.shape[-2:]
        logits = features.new_full((self.classes + 1, 4 * h, 4 * w), NOT_PROMPTED)
        logits[0] = 0
        organs = present.nonzero()[:, 0]
        if len(organs):
            logits[1 + organs] = self.masks(features, truth, organs, boxes[organs]).to(logits)
        return logits

    def losses(self, examples: Examples, settings: TrainSettings, generator: torch.Generator) -> dict[str, Tensor]:
        raise UsageError(
            "SAM is used as published and never trained.",
            where="model.name",
            cure="Train samed, ma_sam or slide_sam, which start from SAM.",
        )

    def run_heaviest_part(self, images: Float[Tensor, "n 3 s s"]) -> Tensor:
        """Run the image encoder."""
        return self.trunk(images)


class PointPromptedSam(PromptedSam):
    """SAM prompted by one positive point for each organ, its innermost pixel."""

    prompts = "points"

    def masks(self, features: Tensor, truth: Tensor, organs: Tensor, boxes: Tensor) -> Tensor:
        masks = (truth == 1 + organs[:, None, None]).cpu().numpy()
        points = boxes.new_tensor([innermost_pixel(mask) for mask in masks])
        return self.trunk.at_points(features, points)


class BoxPromptedSam(PromptedSam):
    """SAM prompted by the tight box of each organ."""

    prompts = "box"

    def masks(self, features: Tensor, truth: Tensor, organs: Tensor, boxes: Tensor) -> Tensor:
        # Ours end at the outer edges of pixels, SAM's at their centres.
        corners = boxes * len(truth) - boxes.new_tensor([0, 0, 1, 1])
        return self.trunk.in_boxes(features, corners)

    def result(self, t: int, logits: Tensor, boxes: Tensor, present: Tensor) -> PredictedSlice:
        return PredictedSlice(t, logits, boxes, present)


def innermost_pixel(mask: Bool[np.ndarray, "h w"]) -> tuple[int, int]:
    """Return column and row of the pixel farthest from the edge of the mask's largest part.

    Args:
        mask: With at least one pixel. Pixels that share a side belong to one part; the image's border is an edge.
    """
    parts, _ = ndimage.label(mask)
    sizes = np.bincount(parts.ravel())
    largest = int(sizes[1:].argmax()) + 1
    rows, columns = ndimage.find_objects(parts)[largest - 1]
    inside = np.pad(parts[rows, columns] == largest, 1)
    depth = ndimage.distance_transform_edt(inside)
    row, column = np.unravel_index(depth.argmax(), depth.shape)
    return int(columns.start + column - 1), int(rows.start + row - 1)
