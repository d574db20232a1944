"""NIfTI scans and label maps in, oriented and checked; what cannot be trusted is refused by name.

Warnings are values, kept with the volume; nothing is printed or logged here.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from sautomed.errors import ConstantImage, NonFiniteVoxels, NotIntegerLabels, UnknownLabels, UnsupportedVoxels
from sautomed.io.nifti_file import NiftiHeader, read_header, read_voxels
from sautomed.io.nifti_geometry import native_grid
from sautomed.volume import LabelMap, NativeGrid, Plane, Volume, choose_plane, orient

NON_FINITE_LIMIT = 0.001  # ours: a few broken voxels are repaired, a broken image is not
LABEL_TOLERANCE = 1e-3  # ours: resampling and scaling in other tools leave errors far below
MAX_LABEL = 65535


@dataclass(frozen=True, eq=False)
class Geometry:
    """What a file says about itself without its voxels.

    Args:
        path: The file.
        format: For example "NIfTI-1, gzip".
        native: Shape and affine in the file's axis order.
        dtype: Type of the stored voxels.
        warnings: What is odd, as whole sentences.
    """

    path: Path
    format: str
    native: NativeGrid
    dtype: np.dtype[Any]
    warnings: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along the file's three axes."""
        return self.native.shape

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance of neighbouring voxels along the file's axes."""
        return self.native.spacing_mm

    @property
    def affine(self) -> NDArray[np.float64]:
        """4x4, index in the file's axis order to RAS mm."""
        return self.native.affine


def read_geometry(path: str | Path) -> Geometry:
    """Read the header of a scan or label map.

    Raises:
        DataError: MissingFile, NotNifti, TruncatedFile, UnsupportedVoxels, NotThreeD or BadGeometry.
    """
    path = Path(path)
    found = read_header(path)
    _check_dtype(found, path)
    native, notes = native_grid(found, path)
    return Geometry(path, _format_of(found), native, found.dtype, (*_name_notes(found, path), *notes))


def read_scan(path: str | Path, plane: Plane | Literal["auto"] = "auto") -> Volume:
    """Read a scan, scaled as its header says.

    A file is known by its content, so plain NIfTI named .gz is read, with a warning. NaN and infinite voxels below
    `NON_FINITE_LIMIT` become the smallest finite value, with a warning.

    Args:
        path: A single-file NIfTI, compressed or not, with one 3D volume (further axes of length 1 are dropped).
        plane: Which plane the slices shall be; "auto" takes the one that was scanned.
    Raises:
        DataError: As `read_geometry`, and NonFiniteVoxels or ConstantImage.
    """
    path = Path(path)
    found, native, stored, notes = _read(path)
    scaled, repairs = _repair(_scale(stored, found, path), path)
    del stored  # a large scan should not lie in memory three times
    if scaled.min() == scaled.max():
        raise ConstantImage(
            f"is a constant image: all {scaled.size} voxels are {scaled.flat[0]:g}, so there is nothing to segment.",
            where=path,
            cure="Check how the file was exported.",
        )
    chosen = choose_plane(native, plane)
    turned, affine = orient(scaled, native, chosen)
    return Volume(np.ascontiguousarray(turned), affine, native, chosen, path, (*notes, *repairs))


def read_labels(
    path: str | Path, plane: Plane | Literal["auto"] = "auto", names: dict[int, str] | None = None
) -> LabelMap:
    """Read a label map; floats are taken if they are whole numbers within `LABEL_TOLERANCE`.

    Args:
        path: As for `read_scan`.
        plane: The plane of the scan it belongs to.
        names: Name of each label without the background; None names every value that occurs after itself.
    Raises:
        DataError: As `read_geometry`, and NonFiniteVoxels, NotIntegerLabels, or UnknownLabels if `names` lacks a value.
    """
    path = Path(path)
    found, native, stored, _ = _read(path)
    whole = _whole_numbers(stored, found, path)
    chosen = choose_plane(native, plane)
    turned, affine = orient(whole, native, chosen)
    labels = LabelMap(np.ascontiguousarray(turned), affine, native, chosen, names or {})
    if names is not None:
        refuse_unknown_values(labels, where=path)
        return labels
    found_names = {value: f"label {value}" for value in labels.voxel_counts() if value != 0}
    return LabelMap(labels.array, affine, native, chosen, found_names)


def refuse_unknown_values(labels: LabelMap, *, where: str | Path) -> None:
    """Raise UnknownLabels, with value and voxel count, if `labels` holds values that its names lack."""
    unknown = labels.unknown_values()
    if not unknown:
        return
    listed = ", ".join(f"{value} ({count} voxels)" for value, count in unknown.items())
    known = ", ".join(f"{value} {name}" for value, name in sorted(labels.names.items()))
    raise UnknownLabels(
        f"holds label values that have no name in dataset.json: {listed}. Known are: 0 background, {known}.",
        where=where,
        cure="Add the labels to dataset.json, or correct the label map.",
    )


def _read(path: Path) -> tuple[NiftiHeader, NativeGrid, NDArray[Any], tuple[str, ...]]:
    """Header, grid, stored voxels in three axes, warnings. The header is judged first: it is cheap."""
    head = read_header(path)
    _check_dtype(head, path)
    native, notes = native_grid(head, path)
    found, stored = read_voxels(path)
    return found, native, stored.reshape(native.shape, order="F"), (*_name_notes(found, path), *notes)


def _check_dtype(found: NiftiHeader, path: Path) -> None:
    if found.dtype.kind in "iuf":
        return
    kind = {"V": "colours", "c": "complex numbers"}.get(found.dtype.kind, f"values of type {found.dtype}")
    raise UnsupportedVoxels(
        f"stores {kind}, but a scan or label map needs one number per voxel.",
        where=path,
        cure="Convert it to one channel, for example to magnitude or grey values.",
    )


def _slope_and_intercept(found: NiftiHeader, path: Path) -> tuple[float, float]:
    try:
        slope, intercept = found.header.get_slope_inter()
    except HeaderDataError as error:
        raise UnsupportedVoxels(
            f"has scaling factors that are not finite ({error}).",
            where=path,
            cure="Write the file again from its source.",
        ) from error
    return (1.0 if slope is None else float(slope)), (0.0 if intercept is None else float(intercept))


def _scale(stored: NDArray[Any], found: NiftiHeader, path: Path) -> NDArray[np.float32]:
    """Intensities as float32. Values beyond its range become infinite and are judged with those that were."""
    slope, intercept = _slope_and_intercept(found, path)
    with np.errstate(over="ignore", invalid="ignore"):
        if (slope, intercept) == (1.0, 0.0):
            return stored.astype(np.float32)
        # float32 holds products of 16-bit integers well enough; wider types would lose digits before the scaling.
        if stored.dtype.itemsize <= 2:
            return stored.astype(np.float32) * np.float32(slope) + np.float32(intercept)
        return (stored.astype(np.float64) * slope + intercept).astype(np.float32)


def _repair(scaled: NDArray[np.float32], path: Path) -> tuple[NDArray[np.float32], tuple[str, ...]]:
    """Replace few voxels that are not finite by the smallest finite value; refuse many."""
    broken = ~np.isfinite(scaled)
    count = int(np.count_nonzero(broken))
    if count == 0:
        return scaled, ()
    first = tuple(int(axis[0]) for axis in np.nonzero(broken))
    share = count / scaled.size
    told = f"{count} of {scaled.size} voxels ({share:.2%}) are NaN or infinite, the first at index {first}"
    if share >= NON_FINITE_LIMIT:
        raise NonFiniteVoxels(
            f"{told}; above {NON_FINITE_LIMIT:.1%} the image cannot be trusted.",
            where=path,
            cure="Export the scan again, or replace them by the background value.",
        )
    scaled[broken] = scaled[~broken].min()
    return scaled, (f"{path}: {told}; they were set to the image's minimum.",)


def _whole_numbers(stored: NDArray[Any], found: NiftiHeader, path: Path) -> NDArray[np.unsignedinteger[Any]]:
    """Labels in the smallest unsigned type."""
    slope, intercept = _slope_and_intercept(found, path)
    values: NDArray[Any] = stored
    if stored.dtype.kind == "f" or (slope, intercept) != (1.0, 0.0):
        values = _rounded(stored.astype(np.float64) * slope + intercept, path)
    low, high = values.min(), values.max()
    if low < 0 or high > MAX_LABEL:
        raise NotIntegerLabels(
            f"holds values from {low:g} to {high:g}, but labels are whole numbers from 0 to {MAX_LABEL}.",
            where=path,
            cure="Is this a scan rather than its label map?",
        )
    return values.astype(np.uint8 if high <= 255 else np.uint16)


def _rounded(values: NDArray[np.float64], path: Path) -> NDArray[np.float64]:
    finite = np.isfinite(values)
    if not finite.all():
        raise NonFiniteVoxels(
            f"{np.count_nonzero(~finite)} labels are NaN or infinite.", where=path, cure="Export the label map again."
        )
    whole = np.rint(values)
    off = np.abs(values - whole) > LABEL_TOLERANCE
    if off.any():
        first = tuple(int(axis[0]) for axis in np.nonzero(off))
        raise NotIntegerLabels(
            f"holds {np.count_nonzero(off)} values that are no whole numbers, the first {values[first]:g} at {first}.",
            where=path,
            cure="Is this a scan, a probability map, or a label map resampled without nearest neighbour?",
        )
    return whole


def _format_of(found: NiftiHeader) -> str:
    version = "NIfTI-2" if int(found.header["sizeof_hdr"]) == 540 else "NIfTI-1"
    return f"{version}, {'gzip' if found.compressed else 'not compressed'}"


def _name_notes(found: NiftiHeader, path: Path) -> tuple[str, ...]:
    named_gzip = path.name.lower().endswith(".gz")
    if found.compressed == named_gzip:
        return ()
    told = "is gzip but not named .gz" if found.compressed else "is plain NIfTI named .gz"
    return (f"{path}: {told}; it is read by its content, but other tools may refuse it.",)
