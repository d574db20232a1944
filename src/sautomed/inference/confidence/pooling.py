"""Collect the signals of a scan while it is segmented, and pool them over the slices of each organ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from sautomed.inference.confidence.values import SliceSignals

LOW = 0.1  # ours: the quantile over slices that stands for the weakest of them


class FinishedSlice(Protocol):
    """What is needed of `segmenting.SegmentedSlice`."""

    @property
    def index(self) -> int: ...
    @property
    def presence(self) -> np.ndarray | None: ...
    @property
    def signals(self) -> SliceSignals | None: ...


class SignalCollector:
    """Collects the signals of slices as they are done, a few numbers per organ; of a slice that comes again, the last.

    Args:
        organs: Value in the label map -> organ.
    """

    def __init__(self, organs: Mapping[int, str]):
        self.organs = [organs[value] for value in sorted(organs)]
        self._slices: dict[int, tuple[SliceSignals, np.ndarray]] = {}

    def add(self, part: FinishedSlice) -> None:
        """Add a slice."""
        if part.signals is not None:
            unknown = np.full(len(self.organs), np.nan)
            self._slices[part.index] = part.signals, unknown if part.presence is None else part.presence

    def slices(self) -> dict[int, SliceSignals]:
        """Return the signals by slice, in order."""
        return {t: self._slices[t][0] for t in sorted(self._slices)}

    def pooled(self) -> dict[str, dict[str, float]]:
        """Return the pooled signals of each organ that has a mask."""
        found = [self._slices[t] for t in sorted(self._slices)]
        presence = np.array([row for _, row in found])
        pooled = {}
        for k, organ in enumerate(self.organs):
            if any(signals.pixels[k] for signals, _ in found):
                pooled[organ] = _pool([signals for signals, _ in found], presence[:, k], k)
        return pooled


def _pool(slices: Sequence[SliceSignals], presence: np.ndarray, k: int) -> dict[str, float]:
    """Return means weighted by pixels, and low quantiles over the slices that have the organ."""
    pixels, probability, overlap, margin, dice, margins, iou, jump = (
        np.array([getattr(signals, name)[k] for signals in slices])
        for name in ("pixels", "probability", "overlap", "margin", "soft_dice", "mean_margin", "box_iou", "jump_mm")
    )
    there = pixels > 0
    return {
        "soft_dice": float(2 * overlap.sum() / (probability.sum() + pixels.sum())),
        "soft_dice_low": float(np.quantile(dice[there], LOW)),
        "margin": float(margin.sum() / pixels.sum()),
        "margin_low": float(np.quantile(margins[there], LOW)),
        "presence": _weighted(presence, pixels),
        "box_iou": _weighted(iou, pixels),
        "box_iou_low": _quantile(iou[there], LOW),
        "jump_mm": _quantile(jump[there], 1 - LOW),
    }


def _weighted(values: np.ndarray, weights: np.ndarray) -> float:
    known = ~np.isnan(values) & (weights > 0)
    return float(np.average(values[known], weights=weights[known])) if known.any() else float("nan")


def _quantile(values: np.ndarray, q: float) -> float:
    known = values[~np.isnan(values)]
    return float(np.quantile(known, q)) if known.size else float("nan")
