"""Read NIfTI: one file with header and voxels, compressed or not."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from nibabel.spatialimages import HeaderDataError

from sautomed.errors import NotThreeD, UnsupportedVoxels
from sautomed.scans.affine import check_choice
from sautomed.scans.nifti_file import NiftiHeader, read_header
from sautomed.scans.nifti_geometry import native_grid
from sautomed.scans.nifti_names import read_names
from sautomed.scans.payload import read_payload
from sautomed.scans.stored import Geometry, ReadOptions, Stored
from sautomed.scans.values import require_numbers


@dataclass(frozen=True)
class _Choice:
    """Index of the volume along the axes after the third, and name of the colour channel; None for plain voxels."""

    volume: int
    colour: str | None


def read_geometry(path: Path, options: ReadOptions) -> Geometry:
    """Read the header; as `scans.read_geometry`."""
    return _read(path, options)[1]


def read_stored(path: Path, options: ReadOptions) -> Stored:
    """Read header and voxels; as `scans.read_stored`. The header is checked first, which is cheap."""
    found, geometry, choice = _read(path, options)
    require_numbers(geometry.dtype, path)
    slope, intercept = _slope_and_intercept(found, path)
    voxels: Any = read_payload(found.payload, path, choice.volume)
    if choice.colour is not None:
        return Stored(geometry, np.array(voxels[choice.colour], order="F").reshape(geometry.shape, order="F"))
    return Stored(geometry, voxels.reshape(geometry.shape, order="F"), slope, intercept)


def _read(path: Path, options: ReadOptions) -> tuple[NiftiHeader, Geometry, _Choice]:
    found = read_header(path)
    choice = _choose(found, path, options)
    native, notes = native_grid(found, path, options)
    dtype = found.payload.dtype if choice.colour is None else found.payload.dtype[choice.colour]
    warnings = (*_name_notes(found, path), *notes)
    return found, Geometry(path, _format_of(found), native, dtype, warnings, read_names(found)), choice


def _choose(found: NiftiHeader, path: Path, options: ReadOptions) -> _Choice:
    """Return the volume to read: the fourth axis is time; the fifth, or the parts of a colour, are channels."""
    axes = found.stored_shape
    frames = axes[3] if len(axes) > 3 else 1
    vectors = axes[4] if len(axes) > 4 else 1
    if prod(axes[5:]) > 1:
        raise NotThreeD(
            f"has {len(axes)} axes of lengths {' x '.join(map(str, axes))}, but one 3D volume is needed.",
            where=path,
            cure="Split it and give one volume, for example with nibabel.four_to_three.",
        )
    content = f"has {len(axes)} axes of lengths {' x '.join(map(str, axes))}, that is {frames} volumes"
    frame = check_choice(options.frame, frames, path, NotThreeD, "--frame", content)
    names = found.payload.dtype.names
    if names is None:
        content = f"stores {vectors} channels per voxel (its fifth axis)"
        channel = check_choice(options.channel, vectors, path, UnsupportedVoxels, "--channel", content)
        return _Choice(frame + frames * channel, None)
    content = f"stores colours, {len(names)} channels ({', '.join(names)}) per voxel"
    channel = check_choice(options.channel, len(names), path, UnsupportedVoxels, "--channel", content)
    return _Choice(frame, names[channel])


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
    oddity = "is gzip but not named .gz" if found.compressed else "is plain NIfTI named .gz"
    return (f"{path}: {oddity}; it is read by its content, but other tools may refuse it.",)
