"""How slices lie to each other, measured from their positions and directions; SliceThickness is never asked.

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
    """Parallel slices in the order of their places along the normal.

    Args:
        slices: In that order.
        directions: (3 3), rows: of growing column index, of growing row index, and the normal; at right angles.
        spacing_mm: Between columns, between rows.
        places_mm: (n), where the slices lie along the normal, from the first.
        aside_mm: (n 2), how far each first pixel lies beside the first slice's normal, along columns and rows.
    """

    slices: tuple[Slice, ...]
    directions: Vectors
    spacing_mm: tuple[float, float]
    places_mm: Vectors
    aside_mm: Vectors

    @property
    def gaps_mm(self) -> Vectors:
        """(n-1), between neighbours."""
        return np.diff(self.places_mm)

    @property
    def step_mm(self) -> float:
        """The slice distance that most neighbours have."""
        return float(np.median(self.gaps_mm))

    @property
    def shape(self) -> tuple[int, int, int]:
        """Columns, rows, slices."""
        header = self.slices[0].file
        return header.columns or 0, header.rows or 0, len(self.slices)

    @property
    def tilt_deg(self) -> float:
        """The angle between the line that the slices' corners lie on and their normal."""
        along = self.places_mm - self.places_mm.mean()
        drift = along @ (self.aside_mm - self.aside_mm.mean(axis=0)) / (along @ along)
        return float(np.degrees(np.arctan(np.linalg.norm(drift))))

    @property
    def affine(self) -> Vectors:
        """4x4, index (column, row, slice) to RAS mm; of a regular stack."""
        return self.affine_of(self.places_mm[-1] / (len(self.slices) - 1))

    def affine_of(self, step_mm: float, moved_mm: tuple[float, float] = (0.0, 0.0)) -> Vectors:
        """The affine of a grid from the first slice on.

        Args:
            step_mm: Between its slices.
            moved_mm: Its first pixel from that of the first slice, along columns and rows.
        """
        columns, rows, normal = self.directions
        affine = np.eye(4)
        affine[:3, 0] = columns * self.spacing_mm[0]
        affine[:3, 1] = rows * self.spacing_mm[1]
        affine[:3, 2] = normal * step_mm
        affine[:3, 3] = np.array(self.slices[0].position) + columns * moved_mm[0] + rows * moved_mm[1]
        return LPS_TO_RAS @ affine


def stack_of(slices: tuple[Slice, ...], directions: Vectors) -> Stack:
    """Sort slices along the normal and measure how they lie.

    Args:
        slices: At least one, each with a position and a spacing.
        directions: As in `Stack`.
    """
    positions = np.array([item.position for item in slices], dtype=np.float64)
    order = np.argsort(positions @ directions[2], kind="stable")
    positions = positions[order] - positions[order[0]]
    between_rows, between_columns = slices[0].spacing or (0.0, 0.0)
    return Stack(
        slices=tuple(slices[index] for index in order),
        directions=directions,
        spacing_mm=(between_columns, between_rows),
        places_mm=positions @ directions[2],
        aside_mm=positions @ directions[:2].T,
    )


def straightened(orientation: tuple[float, ...]) -> tuple[Vectors, float]:
    """The nearest directions at right angles, and by how many degrees the stored ones miss a right angle.

    Args:
        orientation: ImageOrientationPatient; neither direction may be zero.
    Returns:
        (3 3), as in `Stack`; the two given ones turn by half of what they miss each.
    """
    columns, rows = (np.array(part) / np.linalg.norm(part) for part in (orientation[:3], orientation[3:]))
    missed = 90.0 - float(np.degrees(np.arccos(np.clip(columns @ rows, -1, 1))))
    half_sum, half_difference = columns + rows, columns - rows
    half_sum, half_difference = (part / max(np.linalg.norm(part), 1e-9) for part in (half_sum, half_difference))
    columns, rows = (half_sum + half_difference) / np.sqrt(2), (half_sum - half_difference) / np.sqrt(2)
    return np.stack([columns, rows, np.cross(columns, rows)]), abs(missed)


def angle_deg(first: Vectors, second: Vectors) -> float:
    """The largest angle between like directions of two sets."""
    cosines = np.clip((first * second).sum(axis=1), -1, 1)
    return float(np.degrees(np.arccos(cosines)).max())
