"""NIfTI: one file with header and voxels, compressed or not."""

from __future__ import annotations

from pathlib import Path

from nibabel.spatialimages import HeaderDataError

from sautomed.errors import UnsupportedVoxels
from sautomed.io.nifti_file import NiftiHeader, read_header, read_voxels
from sautomed.io.nifti_geometry import native_grid
from sautomed.io.stored import Geometry, ReadOptions, Stored
from sautomed.io.values import require_numbers


def read_geometry(path: Path, options: ReadOptions) -> Geometry:
    """As `io.read_geometry`, of a NIfTI file."""
    found = read_header(path)
    native, notes = native_grid(found, path)
    return Geometry(path, _format_of(found), native, found.dtype, (*_name_notes(found, path), *notes))


def read_stored(path: Path, options: ReadOptions) -> Stored:
    """As `io.read_stored`, of a NIfTI file. The header is judged first: it is cheap."""
    geometry = read_geometry(path, options)
    require_numbers(geometry.dtype, path)
    found, voxels = read_voxels(path)
    slope, intercept = _slope_and_intercept(found, path)
    return Stored(geometry, voxels.reshape(geometry.native.shape, order="F"), slope, intercept)


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


def _format_of(found: NiftiHeader) -> str:
    version = "NIfTI-2" if int(found.header["sizeof_hdr"]) == 540 else "NIfTI-1"
    return f"{version}, {'gzip' if found.compressed else 'not compressed'}"


def _name_notes(found: NiftiHeader, path: Path) -> tuple[str, ...]:
    named_gzip = path.name.lower().endswith(".gz")
    if found.compressed == named_gzip:
        return ()
    told = "is gzip but not named .gz" if found.compressed else "is plain NIfTI named .gz"
    return (f"{path}: {told}; it is read by its content, but other tools may refuse it.",)
