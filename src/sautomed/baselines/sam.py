"""SAM as it is, told by the truth where each organ lies: an oracle (Kirillov et al. 2023).

Every slice by itself and every organ by itself: one point or one box for each organ that the slice shows. What SAM
answers for the organs meets in one label map by the largest logit, and by the background where all are below zero.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy import ndimage
from torch import Tensor, nn

from sautomed.config import ResNetTrunkSettings, SamSettings
from sautomed.errors import UnknownSetting, UsageError
from sautomed.model.boxes import boxes_of_labels
from sautomed.model.sam.network import Sam, decode_masks, dense_position
from sautomed.model.sam.parts import fix_positions
from sautomed.model.sam.trunk import SamTrunk
from sautomed.model.sam.weights import read_sam_weights
from sautomed.model.segmenter import Examples, PredictedSlice, PretrainedTrunk, PromptedSegmenter, SliceReader

NOT_ASKED_FOR = -1e4  # logit of an organ without a prompt: finite, so that it can be interpolated


def build(settings: SamSettings, classes: int, image_size: int) -> PromptedSam:
    """SAM with its published weights, from disk or hub.

    Raises:
        ModelError: The weights cannot be used.
        UnknownSetting: Another trunk than SAM's, or a size that SAM cannot take.
    """
    if isinstance(settings.trunk, ResNetTrunkSettings):
        raise UnknownSetting(
            "SAM is run as it is and learns nothing here, so it needs SAM's weights.",
            where="model.trunk.kind",
            cure="Use model.trunk.kind=sam with SAM's or MedSAM's weights, or leave SAM out of the comparison.",
        )
    weights = read_sam_weights(settings.trunk.weights, settings.trunk.input_norm)
    model = PromptedSam(Sam.from_weights(weights, image_size), classes, settings.prompt)
    model.pretrained = PretrainedTrunk(weights.source, weights.sha256, weights.input_norm)
    return model


class FrozenSam(nn.Module):
    """All of a SAM, none of it trained.

    Args:
        sam: Its parts are taken over and frozen.
    """

    def __init__(self, sam: Sam):
        super().__init__()
        self.encoder = SamTrunk(sam.vision, sam.input_norm, lora_rank=0)
        self.prompt, self.decoder = sam.prompt, sam.decoder
        fix_positions(self.prompt.shared_embedding)
        self.requires_grad_(False)

    def forward(self, images: Float[Tensor, "n 3 s s"]) -> Float[Tensor, "n 256 h w"]:
        """Features of images in [0, 1]."""
        return self.encoder(images)

    def at_points(self, features: Float[Tensor, "1 256 h w"], points: Float[Tensor, "n 2"]) -> Float[Tensor, "n h4 w4"]:
        """A mask (logits) for each point x, y in pixels: of SAM's three the one with the highest predicted IoU."""
        asked = points[None, :, None]
        sparse, _ = self.prompt(asked, torch.ones_like(asked[..., 0]), input_boxes=None, input_masks=None)
        masks, iou = self._decode(features, sparse)
        return masks[torch.arange(len(points)), 1 + iou[:, 1:].argmax(1)]

    def in_boxes(self, features: Float[Tensor, "1 256 h w"], boxes: Float[Tensor, "n 4"]) -> Float[Tensor, "n h4 w4"]:
        """A mask (logits) for each box, whose corners are the middles of these pixels x0 y0 x1 y1: SAM's single one."""
        sparse, _ = self.prompt(None, None, input_boxes=boxes[None], input_masks=None)
        return self._decode(features, sparse)[0][:, 0]

    def _decode(self, features: Tensor, sparse: Float[Tensor, "1 n p 256"]) -> tuple[Tensor, Tensor]:
        """The four masks and predicted IoUs of each prompt."""
        h, w = features.shape[-2:]
        position = dense_position(self.prompt.shared_embedding, h, w)
        no_mask = self.prompt.no_mask_embed.weight[:, None, :, None, None]
        masks, iou = decode_masks(self.decoder, position, features, sparse, no_mask)
        return masks[0], iou[0]


class PromptedSam(PromptedSegmenter):
    """SAM, one prompt from the truth for each organ and slice.

    Args:
        sam: Its parts are taken over and frozen.
        classes: Organs, without the background.
        prompt: One positive point at the innermost pixel, or the tight box.
    """

    def __init__(self, sam: Sam, classes: int, prompt: Literal["points", "box"]):
        super().__init__()
        self.trunk = FrozenSam(sam)
        self.classes, self.prompts = classes, prompt

    def predict(self, volume: SliceReader, chunk: int) -> Iterator[PredictedSlice]:
        for first in range(0, volume.depth, chunk):
            rows = range(first, min(first + chunk, volume.depth))
            truth = volume.truth(rows)
            boxes, present = boxes_of_labels(truth, self.classes)
            features = self.trunk(volume.images(rows))
            for i, t in enumerate(rows):
                logits = self._answers(features[i : i + 1], truth[i], boxes[i], present[i])
                yield (
                    PredictedSlice(t, logits, boxes[i], present[i])
                    if self.prompts == "box"
                    else (PredictedSlice(t, logits))
                )

    def _answers(
        self, features: Tensor, truth: Int[Tensor, "s s"], boxes: Float[Tensor, "k 4"], present: Bool[Tensor, " k"]
    ) -> Float[Tensor, "k+1 h w"]:
        h, w = features.shape[-2:]
        logits = features.new_full((self.classes + 1, 4 * h, 4 * w), NOT_ASKED_FOR)
        logits[0] = 0
        shown = present.nonzero()[:, 0]
        if len(shown) == 0:
            return logits
        if self.prompts == "box":
            # boxes end at the outer edges of their pixels, SAM's corners are pixels
            corners = boxes[shown] * len(truth) - boxes.new_tensor([0, 0, 1, 1])
            logits[1 + shown] = self.trunk.in_boxes(features, corners)
        else:
            masks = (truth == 1 + shown[:, None, None]).cpu().numpy()
            points = torch.tensor([innermost_pixel(mask) for mask in masks], dtype=features.dtype)
            logits[1 + shown] = self.trunk.at_points(features, points.to(features.device))
        return logits

    def losses(self, run: Examples, generator: torch.Generator) -> dict[str, Tensor]:
        raise UsageError(
            "SAM is run as it is and learns nothing.",
            where="model.name",
            cure="Train samed, ma_sam or slide_sam, which start from SAM.",
        )

    def heaviest(self, images: Float[Tensor, "n 3 s s"]) -> Tensor:
        """The image encoder."""
        return self.trunk(images)


def innermost_pixel(mask: Bool[np.ndarray, "h w"]) -> tuple[int, int]:
    """Column and row of the pixel of the largest part that lies farthest from its edge; beyond the image is outside.

    Args:
        mask: Of at least one pixel; pixels that touch by a side are one part.
    """
    parts, _ = ndimage.label(mask)
    sizes = np.bincount(parts.ravel())
    largest = int(sizes[1:].argmax()) + 1
    rows, columns = ndimage.find_objects(parts)[largest - 1]
    inside = np.pad(parts[rows, columns] == largest, 1)
    depth = ndimage.distance_transform_edt(inside)
    row, column = np.unravel_index(depth.argmax(), depth.shape)
    return int(columns.start + column - 1), int(rows.start + row - 1)
