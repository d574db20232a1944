"""The command `convert`: write a scan or label map in another format, voxel for voxel, at the same place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sautomed.errors import TargetExists
from sautomed.scans.files import require_writable_file
from sautomed.scans.formats import IMAGE_ENDINGS, ending_of
from sautomed.scans.paths import refuse_missing
from sautomed.scans.read import DEFAULT_OPTIONS, read_geometry, read_labels, read_stored
from sautomed.scans.stored import Geometry, ReadOptions, Stored
from sautomed.scans.write import write_image, write_labels

SEGMENT_ENDING = ".seg.nrrd"
_INTEGERS = tuple(np.dtype(name) for name in ("u1", "i1", "i2", "u2", "i4", "u4", "i8", "u8"))
_EXACT_WHOLE = 2**53  # float64 holds every whole number up to this


def convert_file(
    source: str | Path,
    target: str | Path,
    options: ReadOptions = DEFAULT_OPTIONS,
    *,
    labels: bool = False,
    overwrite: bool = False,
) -> Geometry:
    """Write `source` as `target`, in the axes of the source.

    The source's scaling is applied. Values without scaling keep their type; scaled ones get the smallest type that
    holds them exactly (whole numbers stay integers, so CT is int16). A label map that names its labels keeps the names,
    where the format of `target` has a place for them, and is stored as 8 or 16 bits.

    Args:
        source: A file, a folder with DICOM files, or a zip of one.
        target: Ends in .nii.gz, .nii, .nrrd or .mha; or in .seg.nrrd, which writes a label map as segments.
        labels: Whether it is a label map, which is resampled by nearest neighbour if `options` ask for resampling.
        overwrite: Whether `target` may exist.
    Returns:
        The geometry of the source, with its warnings.
    Raises:
        DataError: The source cannot be read.
        UnknownFormat: `target` has another ending.
        TargetExists: It exists, and `overwrite` is not given.
        UnwritableTarget: It cannot be written.
    """
    source, target = Path(source), Path(target)
    ending_of(target, IMAGE_ENDINGS, "scans")
    refuse_missing(source)
    if target.resolve() == source.resolve():
        raise TargetExists("is the scan itself.", where=target, cure="Give another -o.")
    if target.exists() and not overwrite:
        raise TargetExists("exists already.", where=target, cure="Choose another name, or allow it with --overwrite.")
    require_writable_file(target)
    geometry = read_geometry(source, options, labels=True)
    if target.name.lower().endswith(SEGMENT_ENDING) or (geometry.names and geometry.dtype.kind in "iu"):
        write_labels(read_labels(source, options=options), target)
        return geometry
    stored = read_stored(source, options, labels=labels)
    write_image(exact_values(stored), stored.geometry.native, target)
    return stored.geometry


def exact_values(stored: Stored) -> NDArray[Any]:
    """Return the scaled values in the smallest type that holds them exactly; unscaled ones in their own type."""
    voxels = stored.voxels
    if (stored.slope, stored.intercept) == (1.0, 0.0):
        # Only NIfTI stores extended floats, and few of its readers support them.
        return voxels.astype(np.float64) if voxels.dtype.itemsize > 8 else voxels
    whole = float(stored.slope).is_integer() and float(stored.intercept).is_integer()
    if voxels.dtype.kind in "iu" and whole:
        return _scaled_integers(voxels, int(stored.slope), int(stored.intercept))
    with np.errstate(over="ignore", invalid="ignore"):
        scaled = voxels.astype(np.float64) * stored.slope + stored.intercept
        if np.isfinite(scaled).all() and (scaled == np.rint(scaled)).all() and np.abs(scaled).max() <= _EXACT_WHOLE:
            return scaled.astype(_smallest_integer(int(scaled.min()), int(scaled.max())))
        narrow = scaled.astype(np.float32)
        return narrow if np.array_equal(narrow.astype(np.float64), scaled, equal_nan=True) else scaled


def _scaled_integers(voxels: NDArray[Any], slope: int, intercept: int) -> NDArray[Any]:
    ends = sorted(int(end) * slope + intercept for end in (voxels.min(), voxels.max()))
    kind = _smallest_integer(ends[0], ends[1])
    if kind is None:  # 64 bits are too few
        return voxels.astype(np.float64) * slope + intercept
    # Not only the result but every intermediate value must fit; Python's integers always do.
    limits = np.iinfo(np.int64)
    steps = (*ends, int(voxels.min()), int(voxels.max()), *(end - intercept for end in ends), slope, intercept)
    wide = np.int64 if all(limits.min <= step <= limits.max for step in steps) else object
    return (voxels.astype(wide) * slope + intercept).astype(kind)


def _smallest_integer(low: int, high: int) -> np.dtype[Any] | None:
    """Return the smallest integer type for a range, or None."""
    fitting = (kind for kind in _INTEGERS if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max)
    return next(fitting, None)
