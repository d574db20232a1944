"""Carries what was corrected on a slice to the slice beside it, by the affinity of their features.

A residual is what a correction added to each class, 1 to -1 per place. Each place of the next slice looks for itself in
a window of the corrected slice (softmax over the cosine of the features) and takes over the residual of what it finds:
Eq. 1's look at neighbouring slices, used for what a person gave. It has no weights and is not trained. How the numbers
were chosen is in docs/corrections.md.
"""

import torch
import torch.nn.functional as nnf
from jaxtyping import Bool, Float
from torch import Tensor

WINDOW = 7  # places along a side
SHARPNESS = 20.0  # times the cosine, in the softmax
FADING = 0.9  # of a residual, from one slice to the next
DOUBT = 0.4  # power of 4 p (1 - p), by which a residual counts less where a network was sure
SMALLEST = 1e-3  # residuals below are dropped, so that their region does not grow from slice to slice


def unit_features(features: Float[Tensor, "c _ _"], size: tuple[int, int]) -> Float[Tensor, "c {size[0]} {size[1]}"]:
    """Resample features of a slice to the size of its logits, with length 1 at every place."""
    fitted = features.float()
    if fitted.shape[1:] != size:
        fitted = nnf.interpolate(fitted[None], size, mode="bilinear", align_corners=False)[0]
    return nnf.normalize(fitted, dim=0)


def carry(
    residual: Float[Tensor, "k h w"], source: Float[Tensor, "c h w"], target: Float[Tensor, "c h w"]
) -> Float[Tensor, "k h w"]:
    """Return the residual of one slice as it lies on the slice beside it, faded.

    Only the surroundings of what is not zero are computed.

    Args:
        source: Unit features of the slice that the residual is of.
        target: Those of the slice beside it.
    """
    carried = torch.zeros_like(residual)
    margin = WINDOW // 2
    region = _surroundings((residual.abs() >= SMALLEST).any(0), margin)
    if region is None:
        return carried
    rows, columns = region
    h, w = rows.stop - rows.start, columns.stop - columns.start
    around = (slice(None), slice(rows.start, rows.stop + 2 * margin), slice(columns.start, columns.stop + 2 * margin))
    source, values, exists = (
        nnf.pad(m, (margin,) * 4)[around] for m in (source, residual, torch.ones_like(residual[:1]))
    )
    shifts = [(slice(None), slice(y, y + h), slice(x, x + w)) for y in range(WINDOW) for x in range(WINDOW)]
    cosine = torch.stack([(target[:, rows, columns] * source[shift]).sum(0) for shift in shifts])
    missing = torch.stack([exists[shift][0] == 0 for shift in shifts])
    weights = (SHARPNESS * cosine).masked_fill(missing, -torch.inf).softmax(0)
    carried[:, rows, columns] = FADING * torch.stack(
        [weight * values[shift] for weight, shift in zip(weights, shifts, strict=True)]
    ).sum(0)
    return carried


def add_residual(logits: Float[Tensor, "k1 h w"], k: int, residual: Float[Tensor, "h w"]) -> Float[Tensor, "h w"]:
    """Return the logits of class k (0 is the first organ) with a residual added to its probability.

    The logits of the other classes stay: they share what is left as before. A residual counts less where the network
    was sure. Logits where it is zero keep every bit.
    """
    log_p = logits.log_softmax(0)[k + 1]
    p = log_p.exp()
    doubt = (4 * p * (1 - p).clamp(min=0)) ** DOUBT
    gained = torch.logit(p + doubt * residual, SMALLEST**2) - (log_p - torch.log1p(-p.clamp(max=1 - SMALLEST**2)))
    return torch.where(residual.abs() >= SMALLEST, logits[k + 1] + gained, logits[k + 1])


def _surroundings(places: Bool[Tensor, "h w"], margin: int) -> tuple[slice, slice] | None:
    """Return rows and columns of the box around places, with a margin; None without places."""
    if not places.any():
        return None
    lines = (places.any(1).nonzero(), places.any(0).nonzero())
    rows, columns = (
        slice(max(int(hit[0]) - margin, 0), min(int(hit[-1]) + 1 + margin, side))
        for hit, side in zip(lines, places.shape, strict=True)
    )
    return rows, columns
