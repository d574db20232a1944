"""A scan or a label map with the position of its voxels in the patient.

Arrays are (slice, row, col). They are turned once on reading, so that slices look as in a radiologist's viewer, and
turned back once on writing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sautomed.errors import GridMismatch
from sautomed.scans.formats import label_writer
from sautomed.scans.grid import NativeGrid, Plane, corner_gap_mm, spacing_of, unorient

CORNER_TOLERANCE_MM = 0.1  # ours: a tenth of a fine voxel; rounding in headers stays far below
ROUNDING_MM = 0.01  # ours: above the rounding of headers with six digits over half a metre


@dataclass(frozen=True, eq=False)
class Volume:
    """One scan, oriented.

    Args:
        array: float32 (d h w), in the file's own units.
        affine: 4x4, index (slice, row, col) to RAS mm.
        native: Grid of the file.
        plane: Plane of the slices.
        path: The file, or None.
        warnings: What was odd but could be read, as whole sentences.
    """

    array: NDArray[np.float32]
    affine: NDArray[np.float64]
    native: NativeGrid
    plane: Plane
    path: Path | None = None
    warnings: tuple[str, ...] = ()

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance of neighbouring voxels, slice first."""
        return spacing_of(self.affine)


@dataclass(frozen=True, eq=False)
class LabelMap:
    """Integers on the grid of a scan, oriented; 0 is background.

    Args:
        array: uint8 or uint16 (d h w).
        affine: 4x4, index (slice, row, col) to RAS mm.
        native: Grid of the file to write.
        plane: Plane of the slices.
        names: Name of each label without the background.
        partial: Whether it may cover a part of its scan alone, as `scans.partial`.
    """

    array: NDArray[np.unsignedinteger[Any]]
    affine: NDArray[np.float64]
    native: NativeGrid
    plane: Plane
    names: dict[int, str] = field(default_factory=dict)
    partial: bool = False

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance of neighbouring voxels, slice first."""
        return spacing_of(self.affine)

    def voxel_counts(self) -> dict[int, int]:
        """Return the number of voxels of each value that occurs, background included."""
        # Slice by slice, because bincount makes a copy with eight bytes per voxel.
        counts = np.zeros(int(self.array.max(initial=0)) + 1, np.int64)
        for plane in self.array:
            counts += np.bincount(plane.ravel(), minlength=len(counts))
        return {int(value): int(counts[value]) for value in np.flatnonzero(counts)}

    def unknown_values(self) -> dict[int, int]:
        """Return the values other than the background that have no name, with their voxel counts."""
        return {value: count for value, count in self.voxel_counts().items() if value != 0 and value not in self.names}

    def to_native(self) -> NDArray[np.unsignedinteger[Any]]:
        """Return the labels in the axes of the file, (native.shape)."""
        return np.ascontiguousarray(unorient(self.array, self.native, self.plane))

    def to_smallest_native(self) -> NDArray[np.unsignedinteger[Any]]:
        """Return the labels as `to_native`, in the smallest unsigned type that holds them."""
        array = self.to_native()
        return array.astype(np.uint8 if array.max(initial=0) <= 255 else np.uint16, copy=False)

    def save(self, path: str | Path) -> None:
        """Write the labels on the native grid, with the names and colours that the format can hold; atomically.

        Args:
            path: Ends in one of `formats.LABEL_ENDINGS`, such as .nii.gz or .nrrd. An existing file is replaced.
        Raises:
            UnknownFormat: The name has another ending.
            UnwritableTarget: The file cannot be written.
            SautomedError: The format cannot hold the labels; see its writer.
        """
        label_writer(path)(self, Path(path))


def corner_distance_mm(first: Volume | LabelMap, second: Volume | LabelMap) -> float:
    """Return the largest distance between corresponding corner voxels; inf if the shapes differ."""
    if first.array.shape != second.array.shape:
        return float("inf")
    return corner_gap_mm(first.affine, second.affine, first.array.shape)


def require_same_grid(
    first: Volume | LabelMap, second: Volume | LabelMap, *, first_name: str, second_name: str, where: str | Path
) -> None:
    """Raise GridMismatch unless two arrays lie on one grid in the patient.

    Both are compared as oriented, so files that store the same grid in another axis order agree.

    Raises:
        GridMismatch: Shapes differ, or corner voxels are more than `CORNER_TOLERANCE_MM` apart; gives both geometries.
    """
    gap_mm = corner_distance_mm(first, second)
    if gap_mm <= CORNER_TOLERANCE_MM:
        return
    reason = "have different shapes" if np.isinf(gap_mm) else f"lie up to {gap_mm:.3g} mm apart at the corners"
    raise GridMismatch(
        f"{first_name} and {second_name} {reason}, so their voxels do not belong together. "
        f"{first_name}: {_geometry_line(first)}; {second_name}: {_geometry_line(second)}.",
        where=where,
        cure="Use files that belong together; train with --regrid-labels brings label maps onto their scans (nearest "
        "neighbour).",
    )


def small_gap_notes(image: Volume, labels: LabelMap, where: str | Path) -> tuple[str, ...]:
    """Return a warning if a scan and its label map are further apart than rounding, but not so far as to be refused."""
    gap_mm = corner_distance_mm(image, labels)
    if not ROUNDING_MM < gap_mm <= CORNER_TOLERANCE_MM:
        return ()
    return (
        f"{where}: image and label map lie up to {gap_mm:.2g} mm apart at the corners; below "
        f"{CORNER_TOLERANCE_MM:g} mm they are taken for one grid.",
    )


def _geometry_line(item: Volume | LabelMap) -> str:
    spacing = " x ".join(f"{length:.4g}" for length in item.native.spacing_mm)
    shape = " x ".join(map(str, item.native.shape))
    origin = ", ".join(f"{position:.1f}" for position in item.native.affine[:3, 3])
    return f"{shape} voxels of {spacing} mm, axes {item.native.axis_codes}, first voxel at ({origin}) mm"
