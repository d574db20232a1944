"""Scores as TransUNet's public code counts them, and after it SAMed's and Swin-Unet's: legacy numbers, to the bit.

Those programs take Dice and HD95 from medpy, give it no spacing, and put fixed numbers where a mask is empty. An
invented organ is rewarded and a missed one is no distance away, so these numbers only serve to stand beside published
ones. Source: TransUNet, utils.py, calculate_metric_percase; medpy, metric/binary.py, dc and hd95.
"""

from __future__ import annotations

import numpy as np

from sautomed.evaluation.measure import Comparison, dice, measure_surfaces

_VOXELS = (1.0, 1.0, 1.0)  # medpy's spacing where none is given


def legacy_dice(measured: Comparison, _tolerance_mm: float) -> float:
    """Overlap of the volumes; 1 if only the reference is empty, 0 if the prediction is, or both are."""
    if not measured.prediction.any():
        return 0.0
    if not measured.reference.any():
        return 1.0
    return dice(measured.prediction, measured.reference)


def legacy_hd95_voxels(measured: Comparison, _tolerance_mm: float) -> float:
    """95th percentile of both directed distances put together, in voxels whatever their size; 0 if any mask is empty.

    Squared distances of voxels are whole numbers, so this route over the surface voxels alone and medpy's distance
    transform of the whole volume take the roots of the same numbers.
    """
    distances = measure_surfaces(measured.prediction, measured.reference, _VOXELS)
    if distances.empty:
        return 0.0
    return float(np.percentile(np.hstack([distances.to_second_mm, distances.to_first_mm]), 95))
