"""Whether the slices of a series are one volume: a stack, or a fault that says where and why not."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sautomed.errors import (
    BadGeometry,
    DuplicateSlices,
    GantryTilt,
    MixedOrientation,
    MixedSlices,
    NotAVolume,
    TooFewSlices,
    UnevenGaps,
)
from sautomed.scans.affine import check_affine
from sautomed.scans.dicom.geometry import Stack, Vectors, angle_deg, stack_of, straightened
from sautomed.scans.dicom.header import Slice
from sautomed.scans.dicom.kinds import require_scan
from sautomed.scans.dicom.series import Series

MIN_SLICES = 3  # ours: the fewest with two gaps, so that a missing slice can be noticed at all
ORIENTATION_LIMIT_DEG = 0.1  # ours: moves the far corner of a slice by about 1 mm
SKEW_LIMIT_DEG = 0.3  # ours: each direction turns by half of it, which moves a corner by about 1 mm
SPACING_LIMIT = 1e-3  # ours, relative: moves the far edge of a slice by half a millimetre
SAME_PLACE_MM = 0.01  # ours: nothing is scanned more densely
ROUNDING_MM = 0.1  # ours: what positions rounded to one decimal may lie off
ASIDE_LIMIT_MM = 1.0  # ours: the same as for affines that are not quite at right angles
TILT_LIMIT_DEG = 0.5  # ours: a gantry is tilted by whole degrees, a header is rounded far below
GAP_LIMIT = 0.05  # ours, of the slice distance
OFF_GRID_LIMIT = 0.25  # ours, of the slice distance; and never more than ASIDE_LIMIT_MM
_LISTED = 3
_RESAMPLE = "Give --resample to have it brought onto a regular grid, or find a series that is one."


def judge(series: Series, where: Path) -> Stack:
    """The stack that a series is, regular or not; `irregularity` tells.

    Raises:
        DataError: NotAVolume, UnsupportedVoxels, DamagedDicom, TruncatedFile, MixedOrientation, MixedSlices,
            DuplicateSlices, TooFewSlices or BadGeometry.
    """
    require_scan(series, where)
    directions = _common_directions(series.slices, where)
    _require_alike(series.slices, where)
    stack = stack_of(series.slices, directions)
    count = len(series.slices)
    if count > 1 and np.ptp(stack.places_mm) < SAME_PLACE_MM:
        raise NotAVolume(
            f"is no volume: all {count} images lie at one place, such as a localiser or a contrast watch.",
            where=where,
            cure="Give a series whose slices cover the patient.",
        )
    _require_apart(stack, where)
    if count < MIN_SLICES:
        raise _too_few(series, where)
    check_affine(stack.affine, where)
    return stack


def irregularity(stack: Stack, where: Path) -> GantryTilt | UnevenGaps | None:
    """Why a stack is no right-angled grid, which resampling cures; None if it is one.

    Returns:
        GantryTilt if the slices are shifted against each other, UnevenGaps if they lie at uneven distances or some are
        missing.
    """
    aside_mm, tilt = _aside(stack), stack.tilt_deg
    if aside_mm > ASIDE_LIMIT_MM or (aside_mm > ROUNDING_MM and tilt > TILT_LIMIT_DEG):
        return GantryTilt(_tilt_words(stack, aside_mm, tilt), where=where, cure=_RESAMPLE)
    uneven = _uneven_gaps(stack)
    if len(uneven):
        return UnevenGaps(_gap_words(stack, uneven), where=where, cure=_RESAMPLE)
    if _off_grid(stack) > min(OFF_GRID_LIMIT * stack.step_mm, ASIDE_LIMIT_MM):
        gaps = stack.gaps_mm
        return UnevenGaps(
            f"has slices at uneven distances: they drift from {gaps.min():.4g} to {gaps.max():.4g} mm, so that some "
            f"lie {_off_grid(stack):.2g} mm off any regular grid.",
            where=where,
            cure=_RESAMPLE,
        )
    return None


def notes_of(stack: Stack, where: Path) -> tuple[str, ...]:
    """What is odd about a stack that is regular enough to be read."""
    notes = []
    aside_mm, off_mm = _aside(stack), _off_grid(stack)
    if aside_mm > ROUNDING_MM:
        notes.append(f"{where}: the slices lie up to {aside_mm:.2g} mm beside a right-angled grid; this was corrected.")
    if off_mm > max(0.01 * stack.step_mm, 0.02):
        notes.append(f"{where}: the slices lie up to {off_mm:.2g} mm off even distances; the mean distance is taken.")
    tilts = {item.file.tilt_deg for item in stack.slices if item.file.tilt_deg}
    if tilts and aside_mm <= ROUNDING_MM:
        notes.append(
            f"{where}: the header gives a gantry tilt of {max(tilts, key=abs):g} degrees, but the slices lie at right "
            "angles; their positions are taken."
        )
    return tuple(notes)


def _uneven_gaps(stack: Stack) -> NDArray[np.intp]:
    """Indices of the gaps that differ from the stack's slice distance."""
    step = stack.step_mm
    allowed = max(GAP_LIMIT * step, min(1.1 * ROUNDING_MM, 0.2 * step))
    return np.flatnonzero(np.abs(stack.gaps_mm - step) > allowed)


def _common_directions(slices: tuple[Slice, ...], where: Path) -> Vectors:
    """The directions that all slices share."""
    stored = [item.orientation or () for item in slices]
    usual = Counter(stored).most_common(1)[0][0]
    measured = {}
    for orientation, item in zip(stored, slices, strict=True):
        if orientation not in measured:
            measured[orientation] = _directions(orientation, item, where)
    off = np.array([angle_deg(measured[usual], measured[orientation]) for orientation in stored])
    if off.max() > ORIENTATION_LIMIT_DEG:
        worst = int(off.argmax())
        raise MixedOrientation(
            f"has slices that do not lie parallel, so they form no volume: {int((off > ORIENTATION_LIMIT_DEG).sum())} "
            f"of {len(slices)} images are turned against the others, {slices[worst].name} by {off[worst]:.1f} degrees.",
            where=where,
            cure="Take the images of other directions out of the series, or give another series.",
        )
    return measured[usual]


def _directions(orientation: tuple[float, ...], item: Slice, where: Path) -> Vectors:
    lengths = [float(np.linalg.norm(part)) for part in (orientation[:3], orientation[3:])]
    if all(0.95 < length < 1.05 for length in lengths):
        directions, missed = straightened(orientation)
        if missed < SKEW_LIMIT_DEG:
            return directions
    raise BadGeometry(
        f"has directions of rows and columns that are no unit vectors at a right angle "
        f"({', '.join(f'{cosine:g}' for cosine in orientation)} in {item.name}).",
        where=where,
        cure="Export the series again from its source.",
    )


def _require_alike(slices: tuple[Slice, ...], where: Path) -> None:
    """Refuse slices of different sizes, spacings or pixel widths."""
    spacing = np.array([item.spacing for item in slices], dtype=np.float64)
    if (spacing <= 0).any():
        raise BadGeometry(f"has a pixel spacing of {spacing.min():g} mm.", where=where, cure="Export the series again.")
    usual = np.median(spacing, axis=0)
    alike = [bool((np.abs(one - usual) <= SPACING_LIMIT * usual).all()) for one in spacing]
    for name, values in (
        ("size", [f"{item.file.columns} x {item.file.rows} pixels" for item in slices]),
        ("pixel format", [f"{item.file.bits_allocated} bits" for item in slices]),
        ("spacing", [_spacing_words(usual if same else one) for one, same in zip(spacing, alike, strict=True)]),
    ):
        counts = Counter(values).most_common()
        if len(counts) > 1:
            odd = next(item for item, value in zip(slices, values, strict=True) if value == counts[1][0])
            raise MixedSlices(
                f"has slices that differ in {name}, so they form no volume: {counts[0][1]} of {len(slices)} have "
                f"{counts[0][0]}, but {odd.name} has {counts[1][0]}.",
                where=where,
                cure="Take the odd images out of the series, or give another series.",
            )


def _spacing_words(rows_columns: Vectors) -> str:
    return f"{rows_columns[1]:g} x {rows_columns[0]:g} mm"


def _require_apart(stack: Stack, where: Path) -> None:
    close = np.flatnonzero(stack.gaps_mm < SAME_PLACE_MM)
    if len(close) == 0:
        return
    first = int(close[0])
    names = f"{stack.slices[first].name} and {stack.slices[first + 1].name}"
    raise DuplicateSlices(
        f"has several images at one place ({len(close)} too many), and nothing in their headers tells them apart as "
        f"volumes: {names} both lie at {_height(stack, first)} mm.",
        where=where,
        cure="Keep one image for each place, or put the volumes into folders of their own.",
    )


def _too_few(series: Series, where: Path) -> TooFewSlices:
    count = len(series.slices)
    lone = count == 1 and where.is_file() and where.name == series.slices[0].file.member
    if lone:
        return TooFewSlices(
            "is a single slice of a series, which is no volume by itself.",
            where=where,
            cure="Give the folder that holds all files of the series.",
        )
    return TooFewSlices(
        f"has {count} slice{'s' * (count != 1)}, but a volume needs at least {MIN_SLICES}: with fewer, nothing tells "
        "how far apart slices lie.",
        where=where,
        cure="Check that all files of the series are there, or give another series.",
    )


def _aside(stack: Stack) -> float:
    """How far slices lie beside the first one's normal at most, mm."""
    return float(np.linalg.norm(stack.aside_mm, axis=1).max())


def _off_grid(stack: Stack) -> float:
    """How far slices lie from even distances at most, mm."""
    even = np.linspace(0, stack.places_mm[-1], len(stack.slices))
    return float(np.abs(stack.places_mm - even).max())


def _tilt_words(stack: Stack, aside_mm: float, tilt: float) -> str:
    stated = {item.file.tilt_deg for item in stack.slices if item.file.tilt_deg}
    told = f" (the header gives {max(stated, key=abs):g})" if stated else ""
    if tilt > TILT_LIMIT_DEG / 5:
        cause = f"as by a gantry tilt of {tilt:.1f} degrees{told}"
    else:
        cause = "without a common direction"
    return (
        f"has slices that are shifted against each other by up to {aside_mm:.1f} mm, {cause}, so its voxels form no "
        "right-angled grid."
    )


def _gap_words(stack: Stack, uneven: NDArray[np.intp]) -> str:
    step, gaps = stack.step_mm, stack.gaps_mm
    places = []
    for index in uneven[:_LISTED].tolist():
        ratio = gaps[index] / step
        whole = round(float(ratio))
        lost = whole - 1 if whole > 1 and abs(ratio - whole) < GAP_LIMIT * whole else 0
        missing = f" ({lost} slice{'s' * (lost > 1)} missing)" if lost else ""
        before, after = stack.slices[index], stack.slices[index + 1]
        places.append(
            f"{gaps[index]:.4g} mm between {before.name} (at {_height(stack, index)} mm) and {after.name} "
            f"(at {_height(stack, index + 1)} mm){missing}"
        )
    more = f", and at {len(uneven) - _LISTED} more places" if len(uneven) > _LISTED else ""
    return f"has slices at uneven distances: most lie {step:.4g} mm apart, but {'; '.join(places)}{more}."


def _height(stack: Stack, index: int) -> str:
    """Where a slice lies along the normal, mm, counted as its own position counts."""
    position = np.array(stack.slices[index].position)
    return f"{position @ stack.directions[2]:.1f}"
