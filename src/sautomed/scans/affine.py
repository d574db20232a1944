"""What every format asks of an affine and its spacings, and how left-posterior-superior becomes RAS."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sautomed.errors import BadGeometry, UnknownSpacing
from sautomed.scans.grid import spacing_of

SPACING_RANGE_MM = (0.01, 100.0)  # ours: finer than any CT or MR of a patient, coarser than any localiser
_FARTHEST_MM = 1e6  # ours: no scanner puts a patient a kilometre away
_FLATTEST = 1e-3  # ours: volume of three unit axes from which on they count as three; 1 where they are at right angles
_PLACEHOLDER_MM = 999  # what nnU-Net writes for the missing third spacing of a picture
_REWRITE = "Write the file again from its source, or correct the header, for example with nibabel."

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def check_spacing(spacing_mm: Iterable[float], path: Path, name: str) -> None:
    """Raise BadGeometry if a spacing is zero, negative, not finite or outside `SPACING_RANGE_MM`."""
    lengths = [float(length) for length in spacing_mm]
    low, high = SPACING_RANGE_MM
    if all(np.isfinite(length) and low <= length <= high for length in lengths):
        return
    listed = " x ".join(f"{length:g}" for length in lengths)
    flat = " 999 is what some tools write for a flat picture." if _PLACEHOLDER_MM in lengths else ""
    raise BadGeometry(
        f"has a {name} of {listed} mm; zero, negative or absurd spacing (outside {low:g} to {high:g} mm) would make "
        f"every length and volume wrong.{flat}",
        where=path,
        cure=_REWRITE,
    )


def check_affine(affine: NDArray[np.float64], path: Path) -> None:
    """Raise BadGeometry unless `affine` gives every voxel a volume at a place that a patient can be at."""
    if not np.isfinite(affine).all() or np.abs(affine).max() > _FARTHEST_MM:
        raise BadGeometry(
            f"has an affine that is not finite or reaches further than {_FARTHEST_MM:g} mm.", where=path, cure=_REWRITE
        )
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    with np.errstate(all="ignore"):  # det warns of some matrices that it finds to be 0
        flat = lengths.min() > 0 and abs(np.linalg.det(affine[:3, :3] / lengths)) < _FLATTEST
    if flat:
        raise BadGeometry(
            "has a singular affine: its axes lie in one plane, so its voxels fill no volume.", where=path, cure=_REWRITE
        )
    check_spacing(spacing_of(affine), path, "spacing (affine)")


def affine_of(
    directions: NDArray[np.float64], origin_mm: NDArray[np.float64], to_ras: NDArray[np.float64]
) -> NDArray[np.float64]:
    """A 4x4 affine to RAS mm, yet to be checked.

    Args:
        directions: (3 3), the step of each index in mm as a column.
        origin_mm: (3,), where the first voxel lies.
        to_ras: (4 4), from the axes that both are given in.
    """
    affine = np.eye(4)
    affine[:3, :3] = directions
    affine[:3, 3] = origin_mm
    with np.errstate(all="ignore"):  # what is not finite is refused later
        return to_ras @ affine


def spacing_notes(shape: tuple[int, int, int], spacing_mm: tuple[float, float, float], path: Path) -> tuple[str, ...]:
    """A warning where a spacing looks invented: a flat image, or 1 mm everywhere in a shape that speaks against it."""
    listed = " x ".join(map(str, shape))
    if 1 in shape:
        return (f"{path}: is one slice ({listed} voxels); its thickness is only what the header says.",)
    # ours: a scan with cubic voxels is no four times longer than wide, and small crops may have any shape
    if set(spacing_mm) == {1.0} and max(shape) >= 128 and max(shape) >= 4 * min(shape):
        return (
            f"{path}: the spacing is exactly 1 x 1 x 1 mm for {listed} voxels, as if it was lost in a conversion; "
            "lengths, volumes and the plane depend on it.",
        )
    return ()


def refuse_unknown_orientation(path: Path, missing: str) -> UnknownSpacing:
    """The fault of a file that leaves open which way its axes run."""
    return UnknownSpacing(
        f"does not say how its voxels lie in the patient ({missing}); left and right could be swapped unnoticed.",
        where=path,
        cure="Write it again with its orientation, or take its spacings and the usual axes with --assume-spacing.",
    )


def check_choice(chosen: int | None, count: int, path: Path, fault: type[Any], flag: str, told: str) -> int:
    """Which of several volumes or channels to read.

    Args:
        chosen: What the user asked for, or None.
        count: How many there are.
        fault: What to raise.
        flag: The command line's word for the choice.
        told: What the file has, for the message.
    Raises:
        fault: There are several and none was chosen, or there are not so many.
    """
    if chosen is None and count == 1:
        return 0
    if chosen is None:
        raise fault(f"{told}, but one is needed.", where=path, cure=f"Pick one with {flag} 0 to {flag} {count - 1}.")
    if not 0 <= chosen < count:
        last = f"Pick one with {flag} 0 to {flag} {count - 1}." if count > 1 else f"Leave {flag} out."
        raise fault(f"{told}, so there is no number {chosen} (counted from 0).", where=path, cure=last)
    return chosen
