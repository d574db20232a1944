"""Positions of the slices of a series: from (column, row) of a slice to LPS mm and back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

PLANE_TOLERANCE_MM = 0.01  # of a frame or contour from its slice; rounding in files stays far below


@dataclass(frozen=True, eq=False)
class Planes:
    """Planes of the slices of a series; lengths are LPS mm.

    Args:
        origins_mm: (d 3), centre of the first pixel of each slice.
        across_mm: (3), from one column to the next.
        down_mm: (3), from one row to the next.
        shape: (slices, rows, columns).
    """

    origins_mm: NDArray[np.float64]
    across_mm: NDArray[np.float64]
    down_mm: NDArray[np.float64]
    shape: tuple[int, int, int]

    @property
    def spacing_mm(self) -> tuple[float, float]:
        """Distance of rows and distance of columns, in the order of PixelSpacing."""
        return float(np.linalg.norm(self.down_mm)), float(np.linalg.norm(self.across_mm))

    @property
    def slice_gap_mm(self) -> float:
        """Mean distance of neighbouring slices; 0 if there is only one."""
        if len(self.origins_mm) == 1:
            return 0.0
        heights = (self.origins_mm - self.origins_mm[0]) @ self.normal
        return float(abs(heights[-1]) / (len(heights) - 1))

    @property
    def normal(self) -> NDArray[np.float64]:
        """Unit vector (3) across the slices."""
        across = np.cross(self.across_mm, self.down_mm)
        return across / np.linalg.norm(across)

    @property
    def directions(self) -> NDArray[np.float64]:
        """Unit vectors along a row and along a column, (6), in the order of ImageOrientationPatient."""
        row_gap, column_gap = self.spacing_mm
        return np.concatenate([self.across_mm / column_gap, self.down_mm / row_gap])

    def points_mm(self, number: int, pixels: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the positions (n 3) of pixel coordinates (n 2), as (column, row), of a slice."""
        return self.origins_mm[number] + pixels[:, :1] * self.across_mm + pixels[:, 1:] * self.down_mm

    def slice_at(self, points_mm: NDArray[np.float64]) -> int:
        """Return the index of the slice that contains points (n 3).

        Raises:
            ValueError: No slice contains them.
        """
        nearest = int(np.abs((self.origins_mm - points_mm[0]) @ self.normal).argmin())
        distance_mm = float(np.abs((points_mm - self.origins_mm[nearest]) @ self.normal).max())
        if not distance_mm <= PLANE_TOLERANCE_MM:
            raise ValueError(f"points lie {distance_mm:.3g} mm beside the nearest slice")
        return nearest

    def pixels(self, number: int, points_mm: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the pixel coordinates (n 2) of positions (n 3) in a slice; the inverse of `points_mm`."""
        steps = np.stack([self.across_mm, self.down_mm], axis=1)
        pixels, *_ = np.linalg.lstsq(steps, (points_mm - self.origins_mm[number]).T, rcond=None)
        return pixels.T
