"""Scores as in the public code of TransUNet, SAMed and Swin-Unet, bit for bit.

These programs take Dice and HD95 from medpy without spacing, and use fixed numbers for empty masks: a spurious organ
has the best scores, and a missed one the best distance. Use them only to compare with published numbers.
Source: TransUNet, utils.py, calculate_metric_percase; medpy, metric/binary.py, dc and hd95.
"""

from __future__ import annotations

import numpy as np

from sautomed.evaluation.measure import Comparison, dice, measure_surfaces

_VOXELS = (1.0, 1.0, 1.0)  # medpy's default spacing


def transunet_dice(pair: Comparison, _tolerance_mm: float) -> float:
    """Return the Dice coefficient; 1 if only the reference is empty, 0 if the prediction is empty."""
    if not pair.prediction.any():
        return 0.0
    if not pair.reference.any():
        return 1.0
    return dice(pair.prediction, pair.reference)


def transunet_hd95_voxels(pair: Comparison, _tolerance_mm: float) -> float:
    """Return the 95th percentile of the distances in both directions, pooled, in voxels; 0 if a mask is empty.

    Squared distances in voxels are integers, so measuring between surface voxels takes the roots of the same numbers as
    medpy's distance transform of the whole volume.
    """
    distances = measure_surfaces(pair.prediction, pair.reference, _VOXELS)
    if distances.empty:
        return 0.0
    return float(np.percentile(np.hstack([distances.to_second_mm, distances.to_first_mm]), 95))
