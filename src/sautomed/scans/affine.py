"""Checks of affines and spacings that all formats share, and the conversion from left-posterior-superior to RAS."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sautomed.errors import BadGeometry, SautomedError, UnknownSpacing
from sautomed.scans.grid import spacing_of

SPACING_RANGE_MM = (0.01, 100.0)  # ours: finer than any CT or MR of a patient, coarser than any localiser
_FARTHEST_MM = 1e6  # ours: no scanner places a patient a kilometre away
_FLATTEST = 1e-3  # ours: least volume spanned by the three unit axes; 1 if they are orthogonal
_PLACEHOLDER_MM = 999  # written by nnU-Net for the missing third spacing of a picture
_REWRITE = "Write the file again from its source, or correct the header, for example with nibabel."

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def check_spacing(spacing_mm: Iterable[float], path: Path, name: str) -> None:
    """Raise BadGeometry if a spacing is zero, negative, not finite or outside `SPACING_RANGE_MM`."""
    lengths = [float(length) for length in spacing_mm]
    low, high = SPACING_RANGE_MM
    if all(np.isfinite(length) and low <= length <= high for length in lengths):
        return
    product = " x ".join(f"{length:g}" for length in lengths)
    flat = " 999 is what some tools write for a flat picture." if _PLACEHOLDER_MM in lengths else ""
    raise BadGeometry(
        f"has a {name} of {product} mm; zero, negative or absurd spacing (outside {low:g} to {high:g} mm) would make "
        f"every length and volume wrong.{flat}",
        where=path,
        cure=_REWRITE,
    )


def check_affine(affine: NDArray[np.float64], path: Path, name: str = "affine") -> None:
    """Raise BadGeometry if `affine`, in mm, is not finite, singular, or has impossible spacings or distances.

    Args:
        name: For the message, such as "affine converted from metres".
    """
    if not np.isfinite(affine).all() or np.abs(affine).max() > _FARTHEST_MM:
        raise BadGeometry(
            f"has an {name} that is not finite or reaches further than {_FARTHEST_MM:g} mm.", where=path, cure=_REWRITE
        )
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    with np.errstate(all="ignore"):  # det warns about some matrices whose determinant is 0
        flat = lengths.min() > 0 and abs(np.linalg.det(affine[:3, :3] / lengths)) < _FLATTEST
    if flat:
        raise BadGeometry(
            "has a singular affine: its axes lie in one plane, so its voxels fill no volume.", where=path, cure=_REWRITE
        )
    check_spacing(spacing_of(affine), path, f"spacing ({name})")


def affine_of(
    directions: NDArray[np.float64], origin_mm: NDArray[np.float64], to_ras: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the 4x4 affine to RAS mm, not yet checked.

    Args:
        directions: (3 3), the step of each index in mm as a column.
        origin_mm: (3,), position of the first voxel.
        to_ras: (4 4), from the axes in which both are given.
    """
    affine = np.eye(4)
    affine[:3, :3] = directions
    affine[:3, 3] = origin_mm
    with np.errstate(all="ignore"):  # values that are not finite are refused by check_affine
        return to_ras @ affine


def spacing_notes(shape: tuple[int, int, int], spacing_mm: tuple[float, float, float], path: Path) -> tuple[str, ...]:
    """Return a warning if a spacing looks invented: of a flat image, or 1 mm everywhere in an implausible shape."""
    product = " x ".join(map(str, shape))
    if 1 in shape:
        return (f"{path}: is one slice ({product} voxels); its thickness is only what the header says.",)
    # ours: a scan with cubic voxels is less than four times longer than wide; small crops may have any shape
    if set(spacing_mm) == {1.0} and max(shape) >= 128 and max(shape) >= 4 * min(shape):
        return (
            f"{path}: the spacing is exactly 1 x 1 x 1 mm for {product} voxels, as if it was lost in a conversion; "
            "lengths, volumes and the plane depend on it.",
        )
    return ()


def unknown_orientation(path: Path, missing: str) -> UnknownSpacing:
    """Return the error for a file that does not give the directions of its axes."""
    return UnknownSpacing(
        f"does not give the orientation of its voxels in the patient ({missing}); left and right could be swapped "
        "unnoticed.",
        where=path,
        cure="Write it again with its orientation, or take its spacings and the usual axes with --assume-spacing.",
    )


def check_choice(
    chosen: int | None, count: int, path: Path, error: type[SautomedError], option: str, content: str
) -> int:
    """Return the index of the volume or channel to read.

    Args:
        chosen: Index asked for by the user, or None.
        count: Number of volumes or channels in the file.
        error: Class of the error to raise.
        option: Command line option of the choice, such as "--frame".
        content: What the file has, for the message.
    Raises:
        error: There are several and none was chosen, or the index is out of range.
    """
    if chosen is None and count == 1:
        return 0
    choices = f"Pick one with {option} 0 to {option} {count - 1}."
    if chosen is None:
        raise error(f"{content}, but one is needed.", where=path, cure=choices)
    if not 0 <= chosen < count:
        raise error(
            f"{content}, so there is no number {chosen} (counted from 0).",
            where=path,
            cure=choices if count > 1 else f"Leave {option} out.",
        )
    return chosen
