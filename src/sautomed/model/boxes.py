"""Boxes of the classes of a label slice, xyxy in [0, 1] of the slice; jitter and conversions.

A box runs from the left edge of its first pixel to the right edge of its last, so one pixel has the area of a pixel.
"""

import torch
import torch.nn.functional as nnf
from jaxtyping import Bool, Float, Int, Integer
from torch import Tensor

from sautomed.model.across_ranks import own_rows


def boxes_of_labels(
    labels: Integer[Tensor, "b h w"], classes: int, min_pixels: int = 1, smallest_part: float = 0.0
) -> tuple[Float[Tensor, "b k 4"], Bool[Tensor, "b k"]]:
    """Return the tight box of each class 1..k, and whether the class is present.

    Args:
        labels: 0 is background.
        min_pixels: A class of fewer pixels counts as absent.
        smallest_part: Stray pixels do not stretch the box: of a class's parts that empty columns (or rows) separate,
            those with a smaller share of its pixels are left out, but never the largest. 0 keeps all.
    Returns:
        Boxes (xyxy, fractions of the slice; zeros where absent) and presence.
    """
    columns, rows = (_pixels_of_lines(x, classes) for x in (labels, labels.transpose(1, 2)))
    return _boxes(columns, rows, min_pixels, smallest_part)


def _pixels_of_lines(labels: Integer[Tensor, "b h w"], classes: int) -> Int[Tensor, "b k w"]:
    """Count each class's pixels in every column, without a mask of each class, which would be slower by far."""
    counts = torch.zeros(len(labels), classes + 1, labels.shape[2], dtype=torch.long, device=labels.device)
    return counts.scatter_add_(1, labels.long(), torch.ones_like(labels, dtype=torch.long))[:, 1:]


def boxes_of_masks(
    masks: Bool[Tensor, "b k h w"], min_pixels: int = 1, smallest_part: float = 0.0
) -> tuple[Float[Tensor, "b k 4"], Bool[Tensor, "b k"]]:
    """Return the same for one mask per class."""
    return _boxes(masks.sum(-2), masks.sum(-1), min_pixels, smallest_part)


def _boxes(
    columns: Int[Tensor, "b k w"], rows: Int[Tensor, "b k h"], min_pixels: int, smallest_part: float
) -> tuple[Float[Tensor, "b k 4"], Bool[Tensor, "b k"]]:
    """Return boxes and presence of classes that have so many pixels in each column and row."""
    present = columns.sum(-1) >= min_pixels
    x0, x1 = _extent(_without_strays(columns, smallest_part))
    y0, y1 = _extent(_without_strays(rows, smallest_part))
    boxes = torch.stack([x0, y0, x1, y1], -1)
    return boxes * present[..., None], present


def _without_strays(pixels: Int[Tensor, "b k n"], smallest_part: float) -> Bool[Tensor, "b k n"]:
    """Return the occupied places along an axis, without separate parts of too few pixels.

    Args:
        pixels: Number in each column (or row).
    """
    occupied = pixels > 0
    begins = occupied & ~nnf.pad(occupied, (1, 0))[..., :-1]
    part = (begins.cumsum(-1) - 1).clamp(min=0)  # number of a place's part; empty places count to the one before
    in_part = torch.zeros_like(pixels).scatter_add(-1, part, pixels)
    fewest = torch.minimum(smallest_part * pixels.sum(-1), in_part.amax(-1))
    return occupied & (in_part.gather(-1, part) >= fewest[..., None])


def _extent(occupied: Bool[Tensor, "b k n"]) -> tuple[Tensor, Tensor]:
    """Return the first and one past the last occupied place along an axis, as fractions of its length."""
    hits, length = occupied.float(), occupied.shape[-1]
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
    noise = own_rows(lambda rows: torch.randn(rows, *boxes.shape[1:], generator=generator), len(boxes)).to(boxes)
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


def inside_boxes(boxes: Float[Tensor, "*b 4"], h: int, w: int) -> Bool[Tensor, "*b {h} {w}"]:
    """Return which places of a grid have their centre in a box; a box thinner than a place is widened to one.

    Args:
        boxes: xyxy in places, from 0 to w and h.
    """
    low, high = boxes[..., :2], boxes[..., 2:]
    middle, reach = (low + high) / 2, ((high - low) / 2).clamp_min(0.5)
    columns = (torch.arange(w, device=boxes.device) + 0.5 - middle[..., :1]).abs() <= reach[..., :1]
    rows = (torch.arange(h, device=boxes.device) + 0.5 - middle[..., 1:]).abs() <= reach[..., 1:]
    return rows[..., :, None] & columns[..., None, :]
