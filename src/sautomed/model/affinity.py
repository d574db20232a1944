"""Moves what was corrected on a slice to the slice beside it, by the affinity of their features.

A residual is what a correction added to or took from the probability of each class. Each place of the next slice looks
for itself in a window of the corrected one (cosine of the features, softmax) and takes over the residual of what it
finds: Eq. 1's look at neighbouring slices, used to carry what a person said. It has no weights and needs no training.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as nnf
from jaxtyping import Bool, Float
from torch import Tensor

WINDOW = 7  # places along a side
SHARPNESS = 10.0  # times the cosine, in the softmax
SMALLEST = 1e-3  # of a probability; residuals below are dropped, so that their region does not grow without end


def unit_features(maps: Sequence[Float[Tensor, "_ _ _"]], size: tuple[int, int]) -> Float[Tensor, "c {size[0]} {size[1]}"]:
    """Join maps of one slice to features of length 1 at every place, in which each map counts the same."""
    fitted = [nnf.interpolate(m[None].float(), size, mode="bilinear")[0] for m in maps]
    return nnf.normalize(torch.cat([nnf.normalize(m, dim=0) for m in fitted]), dim=0)


def carry(
    residual: Float[Tensor, "k h w"],
    source: Float[Tensor, "c h w"],
    target: Float[Tensor, "c h w"],
    window: int = WINDOW,
    sharpness: float = SHARPNESS,
) -> Float[Tensor, "k h w"]:
    """Return the residual of slice `source` as it lies on slice `target`.

    Args:
        source: Unit features of the slice that the residual is of.
        target: Those of the slice beside it.
    """
    moved = torch.zeros_like(residual)
    region = _box_around((residual.abs() >= SMALLEST).any(0), window // 2)
    if region is None:
        return moved
    rows, columns = region
    r = window // 2
    target, residual = target[:, rows, columns], residual
    h, w = target.shape[-2:]
    top, left = rows.start, columns.start
    padded = nnf.pad(source, (r, r, r, r))[:, top : top + h + 2 * r, left : left + w + 2 * r]
    values = nnf.pad(residual, (r, r, r, r))[:, top : top + h + 2 * r, left : left + w + 2 * r]
    shifts = [(y, x) for y in range(window) for x in range(window)]
    cosine = torch.stack([(target * padded[:, y : y + h, x : x + w]).sum(0) for y, x in shifts])
    inside = nnf.pad(torch.ones_like(source[:1]), (r, r, r, r))[0, top : top + h + 2 * r, left : left + w + 2 * r]
    outside = torch.stack([inside[y : y + h, x : x + w] == 0 for y, x in shifts])
    weights = (sharpness * cosine).masked_fill(outside, -torch.inf).softmax(0)
    moved[:, rows, columns] = sum(
        weights[i] * values[:, y : y + h, x : x + w] for i, (y, x) in enumerate(shifts)
    )
    return moved


def _box_around(places: Bool[Tensor, "h w"], margin: int) -> tuple[slice, slice] | None:
    """Return rows and columns of the box around all places, with a margin; none without places."""
    if not places.any():
        return None
    spans = []
    for axis, size in ((1, places.shape[0]), (0, places.shape[1])):
        hit = places.any(axis).nonzero()
        spans.append(slice(max(int(hit[0]) - margin, 0), min(int(hit[-1]) + 1 + margin, size)))
    return spans[0], spans[1]
