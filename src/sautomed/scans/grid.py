"""Grid of a scan in the patient, and how its array is turned into the slices of a plane.

An affine takes an index to mm in RAS: x grows to the patient's right, y to anterior, z to superior. Turning an array
only permutes and flips its axes, so no voxel changes. Knows nothing of files.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from nibabel import orientations
from numpy.typing import NDArray

from sautomed.errors import BadGeometry

Plane = Literal["axial", "coronal", "sagittal"]
PLANES: tuple[Plane, ...] = get_args(Plane)

AXIS_CODES: dict[Plane, tuple[str, str, str]] = {
    # Directions of slice, row and column indices: superior or anterior is up, the patient's left is on the right.
    "axial": ("S", "P", "L"),
    "coronal": ("P", "I", "L"),
    "sagittal": ("L", "I", "P"),
}
_PLANE_ACROSS_RAS: tuple[Plane, ...] = ("sagittal", "coronal", "axial")
ANISOTROPY = 1.25  # ours: from this ratio on, the coarsest axis is taken as the one across the scanned slices


class ScanSource:
    """Base of what a format keeps of a scan's file, to write another one like it or to refer to it."""


@dataclass(frozen=True, eq=False)
class NativeGrid:
    """Grid of a scan in the axis order of its file.

    Args:
        shape: Voxels along the file's three axes.
        affine: 4x4, index in the file's axis order to RAS mm; used in all computations.
        stored_affine: Affine of the file if `affine` is a correction of it, written again on saving; else None.
        source: Of a NIfTI file its header (`nifti_file.NiftiSource`), of a DICOM series its files
            (`dicom.source.DicomSource`), otherwise None.
    """

    shape: tuple[int, int, int]
    affine: NDArray[np.float64]
    stored_affine: NDArray[np.float64] | None = None
    source: ScanSource | None = None

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance of neighbouring voxels along the file's axes."""
        return spacing_of(self.affine)

    @property
    def affine_to_write(self) -> NDArray[np.float64]:
        """Affine for a file on this grid: the scan's own, uncorrected."""
        return self.affine if self.stored_affine is None else self.stored_affine

    @property
    def axis_codes(self) -> str:
        """Directions in which the file's three indices grow, for example "LAS"."""
        return "".join(orientations.aff2axcodes(self.affine))


def spacing_of(affine: NDArray[np.float64]) -> tuple[float, float, float]:
    """Return the distance in mm of neighbouring voxels along each index."""
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    return float(lengths[0]), float(lengths[1]), float(lengths[2])


def corners_mm(affine: NDArray[np.float64], shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Return the positions of the eight corner voxels of an array, (8 3)."""
    far = np.array(shape) - 1
    corners = np.array([[i, j, k, 1] for i in (0, far[0]) for j in (0, far[1]) for k in (0, far[2])], dtype=np.float64)
    return (corners @ affine.T)[:, :3]


def corner_gap_mm(first: NDArray[np.float64], second: NDArray[np.float64], shape: tuple[int, ...]) -> float:
    """Return the largest distance between a corner voxel placed by one affine and by the other."""
    return float(np.linalg.norm(corners_mm(first, shape) - corners_mm(second, shape), axis=1).max())


def with_orthogonal_axes(affine: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the nearest affine with orthogonal axes, and the same first voxel, spacings and handedness.

    The directions are the orthogonal factor of their polar decomposition.
    Source: Higham 1986, SIAM J. Sci. Stat. Comput. 7(4).
    """
    lengths = np.array(spacing_of(affine))
    left, _, right = np.linalg.svd(affine[:3, :3] / lengths)
    straight = affine.copy()
    straight[:3, :3] = (left @ right) * lengths
    return straight


def orient(array: NDArray[Any], native: NativeGrid, plane: Plane) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Turn an array from the file's axes into (slice, row, col) of a plane.

    Args:
        array: (native.shape), any type.
        native: The grid of `array`.
        plane: Plane of the slices; on an oblique grid, the nearest one.
    Returns:
        A view of `array`, (d h w), and its affine.
    Raises:
        BadGeometry: The affine gives two axes the same direction.
    """
    turn = orientations.ornt_transform(axes_of(native.affine), orientations.axcodes2ornt(AXIS_CODES[plane]))
    affine = native.affine @ orientations.inv_ornt_aff(turn, native.shape)
    return orientations.apply_orientation(array, turn), affine


def unorient(array: NDArray[Any], native: NativeGrid, plane: Plane) -> NDArray[Any]:
    """Undo `orient`: a view of `array`, (d h w), in the axis order and direction of the file, (native.shape)."""
    back = orientations.ornt_transform(orientations.axcodes2ornt(AXIS_CODES[plane]), axes_of(native.affine))
    return orientations.apply_orientation(array, back)


def plane_of(spacing_by_ras_axis_mm: tuple[float, float, float]) -> Plane:
    """Return the scanned plane: across the axis with the coarsest spacing, or axial if none is clearly coarser.

    Args:
        spacing_by_ras_axis_mm: Spacing along right-left, anterior-posterior and superior-inferior.
    """
    order = np.argsort(spacing_by_ras_axis_mm)
    coarsest, next_coarsest = spacing_by_ras_axis_mm[order[2]], spacing_by_ras_axis_mm[order[1]]
    return _PLANE_ACROSS_RAS[order[2]] if coarsest > ANISOTROPY * next_coarsest else "axial"


def choose_plane(native: NativeGrid, plane: Plane | Literal["auto"] = "auto") -> Plane:
    """Return the requested plane; for "auto" that of a single slice, otherwise `plane_of` the spacings."""
    if plane != "auto":
        return plane
    ras_axes = axes_of(native.affine)[:, 0].astype(int)
    single = [int(axis) for axis, length in zip(ras_axes, native.shape, strict=True) if length == 1]
    if len(single) == 1:
        return _PLANE_ACROSS_RAS[single[0]]
    by_ras = [0.0, 0.0, 0.0]
    for axis, spacing in zip(ras_axes, native.spacing_mm, strict=True):
        by_ras[axis] = spacing
    return plane_of((by_ras[0], by_ras[1], by_ras[2]))


def axes_of(affine: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the RAS axis that each index follows most closely, and its direction (nibabel's rule), (3 2)."""
    axes = orientations.io_orientation(affine)
    if np.isnan(axes).any():
        raise BadGeometry(
            "two axes of the affine point the same way, so the voxels fill no volume.",
            cure="Write the file again with the affine that the scanner gave.",
        )
    return axes
