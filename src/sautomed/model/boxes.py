"""Boxes of the classes of a label slice, xyxy in [0, 1] of the slice; jitter and conversions.

A box runs from the left edge of its first pixel to the right edge of its last, so one pixel has the area of a pixel.
"""

import torch
from jaxtyping import Bool, Float, Integer
from torch import Tensor


def boxes_of_labels(
    labels: Integer[Tensor, "b h w"], classes: int, min_pixels: int = 1
) -> tuple[Float[Tensor, "b k 4"], Bool[Tensor, "b k"]]:
    """Return the tight box of each class 1..k, and whether the class is present.

    Args:
        labels: 0 is background.
        min_pixels: A class of fewer pixels counts as absent.
    Returns:
        Boxes (xyxy, fractions of the slice; zeros where absent) and presence.
    """
    h, w = labels.shape[-2:]
    masks = labels[:, None] == torch.arange(1, classes + 1, device=labels.device)[:, None, None]
    present = masks.sum((-2, -1)) >= min_pixels
    x0, x1 = _extent(masks.any(-2), w)
    y0, y1 = _extent(masks.any(-1), h)
    boxes = torch.stack([x0, y0, x1, y1], -1)
    return boxes * present[..., None], present


def _extent(occupied: Bool[Tensor, "b k n"], length: int) -> tuple[Tensor, Tensor]:
    """Return the first and one past the last occupied place along an axis, as fractions of its length."""
    hits = occupied.float()
    first = hits.argmax(-1)
    last = length - hits.flip(-1).argmax(-1)
    return first / length, last / length


def xyxy_to_cxcywh(boxes: Float[Tensor, "*n 4"]) -> Float[Tensor, "*n 4"]:
    x0, y0, x1, y1 = boxes.unbind(-1)
    return torch.stack([(x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0], -1)


def cxcywh_to_xyxy(boxes: Float[Tensor, "*n 4"]) -> Float[Tensor, "*n 4"]:
    cx, cy, w, h = boxes.unbind(-1)
    return torch.stack([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2], -1)


def jitter(boxes: Float[Tensor, "*n 4"], fraction: float, generator: torch.Generator) -> Float[Tensor, "*n 4"]:
    """Move each edge by normal noise of `fraction` of the box's side; the result is a box within [0, 1]."""
    sides = boxes[..., 2:] - boxes[..., :2]
    noise = torch.randn(boxes.shape, generator=generator).to(boxes)
    moved = (boxes + fraction * noise * torch.cat([sides, sides], -1)).clamp(0, 1)
    low, high = torch.minimum(moved[..., :2], moved[..., 2:]), torch.maximum(moved[..., :2], moved[..., 2:])
    return torch.cat([low, high], -1)


def paired_iou(a: Float[Tensor, "*n 4"], b: Float[Tensor, "*n 4"]) -> tuple[Float[Tensor, "*n"], Float[Tensor, "*n"]]:
    """Return IoU and generalised IoU of boxes pair by pair.

    Source: Rezatofighi et al. 2019, Algorithm 1.
    """
    area_a = (a[..., 2:] - a[..., :2]).clamp(min=0).prod(-1)
    area_b = (b[..., 2:] - b[..., :2]).clamp(min=0).prod(-1)
    shared = (torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])).clamp(min=0).prod(-1)
    hull = (torch.maximum(a[..., 2:], b[..., 2:]) - torch.minimum(a[..., :2], b[..., :2])).clamp(min=0).prod(-1)
    union = area_a + area_b - shared
    iou = shared / union.clamp(min=1e-9)
    return iou, iou - (hull - union) / hull.clamp(min=1e-9)
