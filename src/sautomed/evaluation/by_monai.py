"""Scores by MONAI's own functions, with its defaults for empty masks (`ignore_empty`).

MONAI counts in float32 and takes a tolerance to the letter, where ours adds 0.0001 mm for affines that were rounded.
MONAI is loaded when the first score is asked for.
"""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from sautomed.evaluation.measure import Comparison, Mask

if TYPE_CHECKING:
    from torch import Tensor


def monai_dice(measured: Comparison, _tolerance_mm: float) -> float:
    """Overlap; nan if the reference is empty, whatever was predicted."""
    return _score("compute_dice", measured, ignore_empty=True)


def monai_hausdorff_mm(measured: Comparison, percentile: float) -> float:
    """The larger of the two directed percentiles, in mm; nan if any mask is empty."""
    return _score("compute_hausdorff_distance", measured, percentile=percentile, spacing=list(measured.spacing_mm))


def monai_nsd(measured: Comparison, tolerance_mm: float) -> float:
    """The part of both surfaces within the tolerance; nan if both masks are empty, 0 if only one is."""
    return _score("compute_surface_dice", measured, class_thresholds=[tolerance_mm], spacing=list(measured.spacing_mm))


def _score(function: str, measured: Comparison, **options: Any) -> float:
    """One class of one case through a function of `monai.metrics`.

    Where one mask is empty, all distances are infinite, and MONAI 1.6 makes their percentile nan (its issue 9095). An
    infinite one counts as nan here too, so that the version of MONAI moves no mean.
    """
    from monai import metrics

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of empty masks, which are expected here, and of options it is about to drop
        batch = [_tensor(mask) for mask in (measured.prediction, measured.reference)]
        value = float(getattr(metrics, function)(*batch, include_background=True, **options))
    return value if math.isfinite(value) else math.nan


def _tensor(mask: Mask) -> Tensor:
    """(1 1 d h w) with a rim of background, for MONAI takes no array without voxels."""
    import torch

    return torch.from_numpy(np.pad(mask, 1))[None, None].float()
