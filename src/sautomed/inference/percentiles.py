"""Intensities of a scan as a few percentiles, in the scan's own unit.

A model folder keeps those of its training scans, so that a scan in another unit can be recognised.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass

import numpy as np

from sautomed.inference.intensity import Modality, sample_voxels

PERCENTILES = (0.0, 0.5, 5.0, 25.0, 50.0, 75.0, 95.0, 99.5, 100.0)


@dataclass(frozen=True)
class IntensityPercentiles:
    """The `PERCENTILES` of a scan before any scaling: of all voxels in CT, of the non-zero ones in other modalities."""

    least: float
    p0_5: float
    p5: float
    p25: float
    p50: float
    p75: float
    p95: float
    p99_5: float
    most: float

    @property
    def span(self) -> float:
        """From the 0.5th to the 99.5th percentile, so without single extreme voxels."""
        return self.p99_5 - self.p0_5

    def times(self, factor: float) -> IntensityPercentiles:
        """Return the percentiles of the same scan multiplied by a positive number."""
        return IntensityPercentiles(*(factor * value for value in astuple(self)))

    def plus(self, offset: float) -> IntensityPercentiles:
        """Return the percentiles of the same scan with `offset` added to every voxel."""
        return IntensityPercentiles(*(value + offset for value in astuple(self)))

    def subtracted_from(self, total: float) -> IntensityPercentiles:
        """Return the percentiles of the scan whose voxels are `total` minus the present ones: an inverted image."""
        return IntensityPercentiles(*(total - value for value in reversed(astuple(self))))  # PERCENTILES are symmetric

    def scaled(self, value: float) -> float:
        """Return where an intensity is within the span: 0 at its low end, 1 at its high end.

        Raises:
            ZeroDivisionError: Nearly all voxels have one value, so there is no span.
        """
        return (value - self.p0_5) / self.span


def percentiles_of(array: np.ndarray, modality: Modality) -> IntensityPercentiles:
    """Return the percentiles of a scan that no scaling was applied to, from an even sample of its voxels."""
    found = np.percentile(sample_voxels(array, modality), PERCENTILES)
    return IntensityPercentiles(*(float(f"{value:.6g}") for value in found))  # no digits of float32's rounding


def describe_range(cases: Sequence[IntensityPercentiles]) -> str:
    """Return where the 0.5th, the 50th and the 99.5th percentile of several scans lie, as text."""
    parts = []
    for name, values in (
        ("0.5 %", [case.p0_5 for case in cases]),
        ("50 %", [case.p50 for case in cases]),
        ("99.5 %", [case.p99_5 for case in cases]),
    ):
        low, high = min(values), max(values)
        parts.append(f"{low:g} ({name})" if low == high else f"{low:g} to {high:g} ({name})")
    return ", ".join(parts)
