"""Intensities scaled to [0, 1]: CT by a fixed window in HU, others by percentiles of their non-zero voxels."""

from typing import Literal

import numpy as np

from sautomed.config import DataSettings
from sautomed.datasets.description import is_ct

Modality = Literal["ct", "other"]
SAMPLE = 4_000_000  # ours: voxels for the percentiles, evenly spread; more would cost memory and change nothing


def modality_of(channel: str, setting: str) -> Modality:
    """Return "ct" if the setting or, on "auto", the channel's name means CT."""
    if setting != "auto":
        return "ct" if setting == "ct" else "other"
    return "ct" if is_ct(channel) else "other"


def intensity_range(array: np.ndarray, settings: DataSettings) -> tuple[float, float]:
    """Return the intensities that become 0 and 1.

    Percentiles are taken over every voxel that is not zero: scanners pad with zeros, which are not tissue.
    """
    if settings.modality == "ct":
        return settings.window_hu
    low, high = np.percentile(sample_voxels(array, "other"), settings.percentiles)
    if high <= low:  # nearly all voxels are alike
        low, high = float(array.min()), float(array.max())
    return float(low), float(high)


def sample_voxels(array: np.ndarray, modality: Modality) -> np.ndarray:
    """Return voxels that are evenly spread over a scan; unless it is CT, those that are not zero if there are any."""
    sample = array.reshape(-1)[:: max(1, array.size // SAMPLE)]
    inside = sample if modality == "ct" else sample[sample != 0]
    return inside if inside.size else sample


def scale_intensity(array: np.ndarray, bounds: tuple[float, float]) -> np.ndarray:
    """Scale to float32 in [0, 1], clipped at the bounds."""
    low, high = bounds
    return np.clip((array.astype(np.float32) - low) / (high - low), 0, 1)
