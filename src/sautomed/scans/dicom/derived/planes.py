"""Where the slices of a series lie: between (column, row) of a slice and the patient, LPS mm as in DICOM."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

PLANE_TOLERANCE_MM = 0.01  # how far what was written may lie beside its slice; rounding stays far below


@dataclass(frozen=True, eq=False)
class Planes:
    """Where the slices of a series lie.

    Args:
        origins_mm: Centre of the first pixel of each slice, (d 3).
        across_mm: From one column to the next, (3).
        down_mm: From one row to the next, (3).
        shape: (slices, rows, columns).
    """

    origins_mm: NDArray[np.float64]
    across_mm: NDArray[np.float64]
    down_mm: NDArray[np.float64]
    shape: tuple[int, int, int]

    @property
    def spacing_mm(self) -> tuple[float, float]:
        """Between rows, and between columns: the order of PixelSpacing."""
        return float(np.linalg.norm(self.down_mm)), float(np.linalg.norm(self.across_mm))

    @property
    def slice_gap_mm(self) -> float:
        """Between neighbouring slices; 0 if there is only one."""
        if len(self.origins_mm) == 1:
            return 0.0
        heights = (self.origins_mm - self.origins_mm[0]) @ self.normal
        return float(abs(heights[-1]) / (len(heights) - 1))

    @property
    def normal(self) -> NDArray[np.float64]:
        """Unit vector across the slices, (3)."""
        across = np.cross(self.across_mm, self.down_mm)
        return across / np.linalg.norm(across)

    @property
    def directions(self) -> NDArray[np.float64]:
        """Unit vectors along a row and along a column, (6): the order of ImageOrientationPatient."""
        row_gap, column_gap = self.spacing_mm
        return np.concatenate([self.across_mm / column_gap, self.down_mm / row_gap])

    def points_mm(self, number: int, places: NDArray[np.float64]) -> NDArray[np.float64]:
        """Where places (n 2) of a slice, as (column, row), lie in the patient, (n 3)."""
        return self.origins_mm[number] + places[:, :1] * self.across_mm + places[:, 1:] * self.down_mm

    def slice_at(self, points_mm: NDArray[np.float64]) -> int:
        """The slice in which points (n 3) lie.

        Raises:
            ValueError: They lie in none.
        """
        nearest = int(np.abs((self.origins_mm - points_mm[0]) @ self.normal).argmin())
        beside_mm = float(np.abs((points_mm - self.origins_mm[nearest]) @ self.normal).max())
        if not beside_mm <= PLANE_TOLERANCE_MM:
            raise ValueError(f"points lie {beside_mm:.3g} mm beside the nearest slice")
        return nearest

    def places(self, number: int, points_mm: NDArray[np.float64]) -> NDArray[np.float64]:
        """The reverse of `points_mm`, (n 2)."""
        steps = np.stack([self.across_mm, self.down_mm], axis=1)
        found, *_ = np.linalg.lstsq(steps, (points_mm - self.origins_mm[number]).T, rcond=None)
        return found.T
