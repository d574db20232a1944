"""Scores by MONAI's own functions, with its defaults for empty masks (`ignore_empty`).

MONAI computes in float32, and takes the tolerance as it is, where ours adds 0.0001 mm for rounding in affines. MONAI is
imported with the first score.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from sautomed.evaluation.measure import Comparison, Mask

if TYPE_CHECKING:
    from torch import Tensor


def monai_dice(pair: Comparison, _tolerance_mm: float) -> float:
    """Return the Dice coefficient; nan if the reference is empty."""
    from monai.metrics import compute_dice

    return _score(compute_dice, pair, ignore_empty=True)


def monai_hausdorff_mm(pair: Comparison, percentile: float) -> float:
    """Return the larger of the two directed percentiles, in mm; nan if a mask is empty."""
    from monai.metrics import compute_hausdorff_distance

    return _score(compute_hausdorff_distance, pair, percentile=percentile, spacing=list(pair.spacing_mm))


def monai_nsd(pair: Comparison, tolerance_mm: float) -> float:
    """Return the fraction of both surfaces within the tolerance; nan if both masks are empty, 0 if only one is."""
    from monai.metrics import compute_surface_dice

    return _score(compute_surface_dice, pair, class_thresholds=[tolerance_mm], spacing=list(pair.spacing_mm))


def _score(function: Callable[..., Tensor], pair: Comparison, **options: object) -> float:
    """Return the score of one comparison by a function of `monai.metrics`; nan instead of an infinite one.

    If one mask is empty, all distances are infinite, and MONAI 1.6 returns nan for their percentile (its issue 9095).
    An infinite percentile becomes nan here too, so that means do not depend on the version of MONAI.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about empty masks, which are handled here, and deprecated options
        batch = [_tensor(mask) for mask in (pair.prediction, pair.reference)]
        value = float(function(*batch, include_background=True, **options))
    return value if math.isfinite(value) else math.nan


def _tensor(mask: Mask) -> Tensor:
    """Return a mask as (1 1 d h w), padded with background, since MONAI refuses arrays without voxels."""
    import torch

    return torch.from_numpy(np.pad(mask, 1))[None, None].float()
