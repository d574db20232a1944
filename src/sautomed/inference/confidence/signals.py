"""Compute the signals of a slice from its logits and boxes: one softmax, and no map is kept."""

import numpy as np
from jaxtyping import Float
from torch import Tensor

from sautomed.inference.confidence.values import SliceSignals


def slice_signals(
    logits: Float[Tensor, "k1 h w"],
    mask_boxes: Float[np.ndarray, "k 4"],
    prompt_boxes: Float[np.ndarray, "k 4"] | None,
    predicted_boxes: Float[np.ndarray, "k 4"] | None,
    spacing_mm: tuple[float, float],
) -> SliceSignals:
    """Return the signals of a slice.

    Args:
        logits: Channel 0 is the background.
        mask_boxes: Around the masks, x0 y0 x1 y1 in native pixels; nan where there is none, here and below.
        prompt_boxes: Around the masks of the previous slice of the walk; None without a walk.
        predicted_boxes: By the model for this slice; None of a model that predicts none.
        spacing_mm: Of native rows and columns.
    """
    pixels, probability, overlap, margin = _sums(logits)
    compared = prompt_boxes if predicted_boxes is None else predicted_boxes
    unknown = np.full(len(mask_boxes), np.nan)
    return SliceSignals(
        pixels,
        probability,
        overlap,
        margin,
        unknown if compared is None else _iou(mask_boxes.astype(float), compared.astype(float)),
        unknown if prompt_boxes is None else _largest_move_mm(mask_boxes, prompt_boxes, spacing_mm),
    )


def _sums(logits: Float[Tensor, "k1 h w"]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return pixels, probability, overlap and margin of each class but the background."""
    probabilities = logits.float().softmax(0)
    total = probabilities.sum((1, 2)).double().cpu().numpy()
    best, winner = probabilities.max(0)
    inside = winner.flatten().nonzero()[:, 0]
    winner = winner.flatten()[inside]
    rest = probabilities.flatten(1)[:, inside].scatter_(0, winner[None], 0.0)
    second = rest.amax(0).cpu().numpy()
    # counted by numpy: torch's weighted bincount is not deterministic on a GPU
    organ, first = winner.cpu().numpy(), best.flatten()[inside].cpu().numpy()
    pixels, overlap, others = (
        np.bincount(organ, weights, len(logits))[1:].astype(float) for weights in (None, first, second)
    )
    return pixels, total[1:], overlap, overlap - others


def _iou(first: Float[np.ndarray, "k 4"], second: Float[np.ndarray, "k 4"]) -> Float[np.ndarray, " k"]:
    sides = np.minimum(first[:, 2:], second[:, 2:]) - np.maximum(first[:, :2], second[:, :2])
    shared = sides.clip(min=0).prod(1)
    union = sum((box[:, 2:] - box[:, :2]).clip(min=0).prod(1) for box in (first, second)) - shared
    return shared / np.maximum(union, 1e-9)


def _largest_move_mm(
    here: Float[np.ndarray, "k 4"], before: Float[np.ndarray, "k 4"], spacing_mm: tuple[float, float]
) -> Float[np.ndarray, " k"]:
    row_mm, column_mm = spacing_mm
    moves_mm = np.abs(here - before) * np.array([column_mm, row_mm, column_mm, row_mm])
    return moves_mm.max(1)
