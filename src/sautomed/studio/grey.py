"""A scan's intensities as 16 bits, which a page can window by itself."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_LOW, _HIGH = -32768, 32767


@dataclass(frozen=True)
class GreyScale:
    """How intensities are stored in 16 bits: intensity = stored * slope + intercept."""

    slope: float
    intercept: float

    def stored(self, intensities: NDArray[np.float32]) -> NDArray[np.int16]:
        """Return intensities as the nearest number of 16 bits, little-endian."""
        scaled = np.rint((intensities.astype(np.float64) - self.intercept) / self.slope)
        return np.clip(scaled, _LOW, _HIGH).astype("<i2")


def grey_scale(intensities: NDArray[np.float32]) -> GreyScale:
    """Return the scale for a scan: exact for whole numbers of 16 bits, such as HU, else over its whole range."""
    low, high = float(intensities.min()), float(intensities.max())
    if low >= _LOW and high <= _HIGH and all(np.array_equal(np.rint(plane), plane) for plane in intensities):
        return GreyScale(1.0, 0.0)
    slope = (high - low) / (_HIGH - _LOW) or 1.0
    return GreyScale(slope, low - _LOW * slope)
