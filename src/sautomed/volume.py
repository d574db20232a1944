"""A scan or a label map together with the place of its voxels in the patient.

Arrays are (slice, row, col). They are turned once on reading, so that every slice looks as a radiologist sees it, and
turned back once on writing; turning only permutes and flips axes, so it loses nothing. `affine` takes the index of the
turned array to mm in RAS: x grows to the patient's right, y to anterior, z to superior.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import nibabel
import numpy as np
from nibabel import orientations
from numpy.typing import NDArray

from sautomed.errors import BadGeometry, GridMismatch, UnknownFormat
from sautomed.files import atomic_write

Plane = Literal["axial", "coronal", "sagittal"]
PLANES: tuple[Plane, ...] = get_args(Plane)
NIFTI_ENDINGS = (".nii.gz", ".nii")

AXIS_CODES: dict[Plane, tuple[str, str, str]] = {
    # Where slice, row and column indices grow to: superior or anterior is up, and the patient's left is on the right.
    "axial": ("S", "P", "L"),
    "coronal": ("P", "I", "L"),
    "sagittal": ("L", "I", "P"),
}
_PLANE_ACROSS_RAS: tuple[Plane, ...] = ("sagittal", "coronal", "axial")
ANISOTROPY = 1.25  # ours: from this ratio on, the coarsest axis is taken for the one that the scanner stacked
CORNER_TOLERANCE_MM = 0.1  # ours: a tenth of a fine voxel; rounding in headers stays far below


@dataclass(frozen=True, eq=False)
class NativeGrid:
    """The grid as the file had it.

    Args:
        shape: Voxels along the file's three axes.
        affine: 4x4, index in the file's axis order to RAS mm; need not be orthonormal.
        header: The nibabel header, or None if the array came from no file.
    """

    shape: tuple[int, int, int]
    affine: NDArray[np.float64]
    header: Any = None

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance of neighbouring voxels along the file's axes."""
        return _spacing_mm(self.affine)

    @property
    def axis_codes(self) -> str:
        """Where the file's three indices grow to, for example "LAS"."""
        return "".join(orientations.aff2axcodes(self.affine))


@dataclass(frozen=True, eq=False)
class Volume:
    """One scan, oriented.

    Args:
        array: float32 (d h w), in the file's own units.
        affine: 4x4, index (slice, row, col) to RAS mm.
        native: What the file had.
        plane: Which plane the slices are.
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
        return _spacing_mm(self.affine)


@dataclass(frozen=True, eq=False)
class LabelMap:
    """Integers on the grid of a scan, oriented; 0 is background.

    Args:
        array: uint8 or uint16 (d h w).
        affine: 4x4, index (slice, row, col) to RAS mm.
        native: The grid to return to.
        plane: Which plane the slices are.
        names: Name of each label without the background.
    """

    array: NDArray[np.unsignedinteger[Any]]
    affine: NDArray[np.float64]
    native: NativeGrid
    plane: Plane
    names: dict[int, str] = field(default_factory=dict)

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance of neighbouring voxels, slice first."""
        return _spacing_mm(self.affine)

    def voxel_counts(self) -> dict[int, int]:
        """How many voxels each value has that occurs, background included."""
        counts = np.bincount(self.array.ravel())
        return {int(value): int(counts[value]) for value in np.flatnonzero(counts)}

    def unknown_values(self) -> dict[int, int]:
        """Values other than the background that have no name, with their voxel counts."""
        return {value: count for value, count in self.voxel_counts().items() if value != 0 and value not in self.names}

    def to_native(self) -> NDArray[np.unsignedinteger[Any]]:
        """The labels in the axis order and direction of the file they belong to, (native.shape)."""
        shown = orientations.axcodes2ornt(AXIS_CODES[self.plane])
        back = orientations.ornt_transform(shown, _axes_of(self.native.affine))
        return np.ascontiguousarray(orientations.apply_orientation(self.array, back))

    def save(self, path: str | Path) -> None:
        """Write NIfTI on the native grid, with the native affines, their codes and units; atomically.

        Args:
            path: Ends in .nii or .nii.gz. An existing file is replaced.
        Raises:
            UnknownFormat: The name ends otherwise.
            UnwritableTarget: The place cannot be written.
        """
        if not str(path).endswith(NIFTI_ENDINGS):
            raise UnknownFormat(
                "label maps are written as NIfTI, so the name must end in .nii or .nii.gz.",
                where=path,
                cure=f"Call it {Path(path).name}.nii.gz, for example.",
            )
        image = _nifti_of(self.to_native(), self.native)
        with atomic_write(path) as temporary:
            nibabel.save(image, temporary)


def orient(array: NDArray[Any], native: NativeGrid, plane: Plane) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Turn an array of the file's axes into (slice, row, col) of a plane.

    Args:
        array: (native.shape), any type.
        native: The grid of `array`.
        plane: Which plane the slices shall be. On an oblique grid, the nearest one.
    Returns:
        A view of `array`, (d h w), and its affine.
    Raises:
        BadGeometry: The affine gives two axes the same direction.
    """
    turn = orientations.ornt_transform(_axes_of(native.affine), orientations.axcodes2ornt(AXIS_CODES[plane]))
    affine = native.affine @ orientations.inv_ornt_aff(turn, native.shape)
    return orientations.apply_orientation(array, turn), affine


def plane_of(spacing_by_ras_axis_mm: tuple[float, float, float]) -> Plane:
    """The plane that was scanned: across the axis with the coarsest spacing, or axial if none stands out.

    Args:
        spacing_by_ras_axis_mm: Spacing along right-left, anterior-posterior and superior-inferior.
    """
    order = np.argsort(spacing_by_ras_axis_mm)
    coarsest, next_coarsest = spacing_by_ras_axis_mm[order[2]], spacing_by_ras_axis_mm[order[1]]
    return _PLANE_ACROSS_RAS[order[2]] if coarsest > ANISOTROPY * next_coarsest else "axial"


def choose_plane(native: NativeGrid, plane: Plane | Literal["auto"] = "auto") -> Plane:
    """The plane asked for; for "auto" that of a single slice, otherwise as `plane_of`."""
    if plane != "auto":
        return plane
    ras_axes = _axes_of(native.affine)[:, 0].astype(int)
    single = [int(axis) for axis, length in zip(ras_axes, native.shape, strict=True) if length == 1]
    if len(single) == 1:
        return _PLANE_ACROSS_RAS[single[0]]
    by_ras = [0.0, 0.0, 0.0]
    for axis, spacing in zip(ras_axes, native.spacing_mm, strict=True):
        by_ras[axis] = spacing
    return plane_of((by_ras[0], by_ras[1], by_ras[2]))


def corner_distance_mm(first: Volume | LabelMap, second: Volume | LabelMap) -> float:
    """How far the corner voxels of two equally shaped arrays lie apart at most; inf if the shapes differ."""
    if first.array.shape != second.array.shape:
        return float("inf")
    far = np.array(first.array.shape) - 1
    corners = np.array([[i, j, k, 1] for i in (0, far[0]) for j in (0, far[1]) for k in (0, far[2])], dtype=np.float64)
    gaps = corners @ (first.affine - second.affine).T
    return float(np.linalg.norm(gaps[:, :3], axis=1).max())


def require_same_grid(
    first: Volume | LabelMap, second: Volume | LabelMap, *, first_name: str, second_name: str, where: str | Path
) -> None:
    """Refuse two arrays that do not lie on one grid in the patient.

    Both are compared as oriented, so files that store the same grid in another axis order agree.

    Raises:
        GridMismatch: Shapes differ, or corner voxels lie more than `CORNER_TOLERANCE_MM` apart; names both geometries.
    """
    gap_mm = corner_distance_mm(first, second)
    if gap_mm <= CORNER_TOLERANCE_MM:
        return
    reason = "have different shapes" if np.isinf(gap_mm) else f"lie up to {gap_mm:.3g} mm apart at the corners"
    raise GridMismatch(
        f"{first_name} and {second_name} {reason}, so their voxels do not belong together. "
        f"{first_name}: {_geometry_line(first)}; {second_name}: {_geometry_line(second)}.",
        where=where,
        cure="Use files that belong together, or resample one onto the other (nearest neighbour for labels).",
    )


def _geometry_line(item: Volume | LabelMap) -> str:
    spacing = " x ".join(f"{length:.4g}" for length in item.native.spacing_mm)
    shape = " x ".join(map(str, item.native.shape))
    origin = ", ".join(f"{place:.1f}" for place in item.native.affine[:3, 3])
    return f"{shape} voxels of {spacing} mm, axes {item.native.axis_codes}, first voxel at ({origin}) mm"


def _spacing_mm(affine: NDArray[np.float64]) -> tuple[float, float, float]:
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    return float(lengths[0]), float(lengths[1]), float(lengths[2])


def _axes_of(affine: NDArray[np.float64]) -> NDArray[np.float64]:
    """Which RAS axis each index follows most closely, and in which direction (nibabel's rule)."""
    axes = orientations.io_orientation(affine)
    if np.isnan(axes).any():
        raise BadGeometry(
            "two axes of the affine point the same way, so the voxels fill no volume.",
            cure="Write the file again with the affine that the scanner gave.",
        )
    return axes


def _nifti_of(array: NDArray[np.unsignedinteger[Any]], native: NativeGrid) -> nibabel.Nifti1Image:
    """A NIfTI image of labels in the smallest unsigned type, in the likeness of the scan's header."""
    kind = np.uint8 if array.max(initial=0) <= 255 else np.uint16
    if native.header is None:
        image = nibabel.Nifti1Image(array.astype(kind), native.affine)
        image.header.set_xyzt_units("mm")
        image.header.set_qform(native.affine, code=1)
        image.header.set_sform(native.affine, code=1)
    else:
        image_type = nibabel.Nifti2Image if isinstance(native.header, nibabel.Nifti2Header) else nibabel.Nifti1Image
        header = native.header.copy()
        header["cal_min"] = header["cal_max"] = 0  # the scan's display window would hide labels
        image = image_type(array.astype(kind), native.affine, header)
    image.header.set_data_dtype(kind)
    image.header.set_intent("label")
    return image
