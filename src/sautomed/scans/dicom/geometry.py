"""Relative positions of slices, from ImagePositionPatient and ImageOrientationPatient; SliceThickness is not used.

Lengths are mm. Positions are in DICOM's axes (left, posterior, superior); affines are RAS.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sautomed.scans.affine import LPS_TO_RAS
from sautomed.scans.dicom.header import Slice

Vectors = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Stack:
    """Parallel slices, sorted along their normal.

    Args:
        slices: In this order.
        directions: (3 3), rows: unit vectors of growing column index, of growing row index, and the normal.
        spacing_mm: Between columns, between rows.
        offsets_mm: (n), positions along the normal, relative to the first slice.
        in_plane_mm: (n 2), shift of each first pixel within the slice plane, relative to the first slice: along growing
            column index, along growing row index.
    """

    slices: tuple[Slice, ...]
    directions: Vectors
    spacing_mm: tuple[float, float]
    offsets_mm: Vectors
    in_plane_mm: Vectors

    @property
    def gaps_mm(self) -> Vectors:
        """Distances (n-1) between neighbouring slices."""
        return np.diff(self.offsets_mm)

    @property
    def slice_spacing_mm(self) -> float:
        """The median distance of neighbouring slices."""
        return float(np.median(self.gaps_mm))

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of columns, rows and slices."""
        header = self.slices[0].file
        return header.columns or 0, header.rows or 0, len(self.slices)

    @property
    def tilt_deg(self) -> float:
        """Angle between the normal and the line through the first pixels of the slices, fitted by least squares."""
        along = self.offsets_mm - self.offsets_mm.mean()
        drift = along @ (self.in_plane_mm - self.in_plane_mm.mean(axis=0)) / (along @ along)
        return float(np.degrees(np.arctan(np.linalg.norm(drift))))

    @property
    def affine(self) -> Vectors:
        """4x4, index (column, row, slice) to RAS mm, if the stack is regular."""
        return self.grid_affine(self.offsets_mm[-1] / (len(self.slices) - 1))

    def grid_affine(self, slice_spacing_mm: float, shift_mm: tuple[float, float] = (0.0, 0.0)) -> Vectors:
        """Return the affine (4x4) of a regular grid that starts at the first slice.

        Args:
            slice_spacing_mm: Distance of the grid's slices.
            shift_mm: From the first pixel of the first slice to that of the grid, as `in_plane_mm`.
        """
        columns, rows, normal = self.directions
        affine = np.eye(4)
        affine[:3, 0] = columns * self.spacing_mm[0]
        affine[:3, 1] = rows * self.spacing_mm[1]
        affine[:3, 2] = normal * slice_spacing_mm
        affine[:3, 3] = np.array(self.slices[0].position) + columns * shift_mm[0] + rows * shift_mm[1]
        return LPS_TO_RAS @ affine


def stack_slices(slices: tuple[Slice, ...], directions: Vectors) -> Stack:
    """Sort slices along the normal and measure their positions.

    Args:
        slices: At least one, each with a position and a spacing.
        directions: (3 3), as in `Stack`.
    """
    positions = np.array([item.position for item in slices], dtype=np.float64)
    order = np.argsort(positions @ directions[2], kind="stable")
    positions = positions[order] - positions[order[0]]
    between_rows, between_columns = slices[0].spacing or (0.0, 0.0)
    return Stack(
        slices=tuple(slices[index] for index in order),
        directions=directions,
        spacing_mm=(between_columns, between_rows),
        offsets_mm=positions @ directions[2],
        in_plane_mm=positions @ directions[:2].T,
    )


def orthogonal_directions(orientation: tuple[float, ...]) -> tuple[Vectors, float]:
    """Return the nearest orthogonal directions, and the error of the stored ones in degrees.

    Args:
        orientation: ImageOrientationPatient; neither direction may be zero.
    Returns:
        Directions (3 3) as in `Stack`, each of the stored two turned by half of the error; and by how much the angle of
        the stored two differs from 90 degrees.
    """
    columns, rows = (np.array(part) / np.linalg.norm(part) for part in (orientation[:3], orientation[3:]))
    error_deg = 90.0 - float(np.degrees(np.arccos(np.clip(columns @ rows, -1, 1))))
    half_sum, half_difference = columns + rows, columns - rows
    half_sum, half_difference = (part / max(np.linalg.norm(part), 1e-9) for part in (half_sum, half_difference))
    columns, rows = (half_sum + half_difference) / np.sqrt(2), (half_sum - half_difference) / np.sqrt(2)
    return np.stack([columns, rows, np.cross(columns, rows)]), abs(error_deg)


def largest_angle_deg(first: Vectors, second: Vectors) -> float:
    """Return the largest angle between corresponding rows of two sets of directions (3 3)."""
    cosines = np.clip((first * second).sum(axis=1), -1, 1)
    return float(np.degrees(np.arccos(cosines)).max())
