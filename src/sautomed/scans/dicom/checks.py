"""Check that the slices of a series form one volume; faults name the odd slices and their positions."""

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
from sautomed.scans.dicom.geometry import Stack, Vectors, largest_angle_deg, orthogonal_directions, stack_slices
from sautomed.scans.dicom.header import Slice
from sautomed.scans.dicom.kinds import require_scan
from sautomed.scans.dicom.resample import GROWTH_LIMIT, SPLIT_SERIES, grid_growth
from sautomed.scans.dicom.series import Series

MIN_SLICES = 3  # ours: with fewer there is only one gap, and a missing slice goes unnoticed
ORIENTATION_LIMIT_DEG = 0.1  # ours: shifts the far corner of a slice by about 1 mm
SKEW_LIMIT_DEG = 0.3  # ours: each direction turns by half of it, which shifts a corner by about 1 mm
SPACING_LIMIT = 1e-3  # ours, relative: shifts the far edge of a slice by half a millimetre
SAME_POSITION_MM = 0.01  # ours: no scan has slices closer than this
ROUNDING_MM = 0.1  # ours: error of positions that were rounded to one decimal
SHIFT_LIMIT_MM = 1.0  # ours: as for affines whose axes are nearly orthogonal
TILT_LIMIT_DEG = 0.5  # ours: gantries are tilted by whole degrees; rounding in headers stays far below
GAP_LIMIT = 0.05  # ours, as a fraction of the slice distance
OFF_GRID_LIMIT = 0.25  # ours, as a fraction of the slice distance, and at most SHIFT_LIMIT_MM
_GAPS_SHOWN = 3
_RESAMPLE = "Give --resample to have it resampled onto a regular grid, or give a series with regular slices."


def require_stack(series: Series, where: Path) -> Stack:
    """Return the slices of a series as a stack, which need not be regular; `irregularity` checks that.

    Raises:
        DataError: NotAVolume, UnsupportedVoxels, DamagedDicom, TruncatedFile, MixedOrientation, MixedSlices,
            DuplicateSlices, TooFewSlices or BadGeometry.
    """
    require_scan(series, where)
    directions = _common_directions(series.slices, where)
    _require_same_format(series.slices, where)
    stack = stack_slices(series.slices, directions)
    count = len(series.slices)
    if count > 1 and np.ptp(stack.offsets_mm) < SAME_POSITION_MM:
        raise NotAVolume(
            f"is no volume: all {count} images have the same position, as in a localiser or a contrast watch.",
            where=where,
            cure="Give a series whose slices cover the patient.",
        )
    _require_distinct_positions(stack, where)
    if count < MIN_SLICES:
        raise _too_few(series, where)
    check_affine(stack.affine, where)
    return stack


def irregularity(stack: Stack, where: Path) -> GantryTilt | UnevenGaps | None:
    """Return why a stack is not a regular, right-angled grid, which resampling cures; None if it is one.

    Returns:
        GantryTilt if the slices are shifted against each other, UnevenGaps if their distances differ, for example
        because slices are missing.
    """
    shift_mm, tilt_deg = _largest_shift_mm(stack), stack.tilt_deg
    if shift_mm > SHIFT_LIMIT_MM or (shift_mm > ROUNDING_MM and tilt_deg > TILT_LIMIT_DEG):
        return GantryTilt(_tilt_fault(stack, shift_mm, tilt_deg), where=where, cure=_cure(stack, tilted=True))
    uneven = _uneven_gaps(stack)
    if len(uneven):
        return UnevenGaps(_gap_fault(stack, uneven), where=where, cure=_cure(stack, tilted=False))
    if _off_grid_mm(stack) > min(OFF_GRID_LIMIT * stack.slice_spacing_mm, SHIFT_LIMIT_MM):
        gaps = stack.gaps_mm
        return UnevenGaps(
            f"has slices at uneven distances: they drift from {gaps.min():.4g} to {gaps.max():.4g} mm, so that some "
            f"lie {_off_grid_mm(stack):.2g} mm off any regular grid.",
            where=where,
            cure=_cure(stack, tilted=False),
        )
    return None


def _cure(stack: Stack, *, tilted: bool) -> str:
    return _RESAMPLE if grid_growth(stack, tilted=tilted) <= GROWTH_LIMIT else SPLIT_SERIES


def warnings_of(stack: Stack, where: Path) -> tuple[str, ...]:
    """Return warnings about a stack that is regular enough to be read."""
    warnings = []
    shift_mm, off_mm = _largest_shift_mm(stack), _off_grid_mm(stack)
    if shift_mm > ROUNDING_MM:
        warnings.append(f"{where}: slices lie up to {shift_mm:.2g} mm beside a right-angled grid; this was corrected.")
    if off_mm > max(0.01 * stack.slice_spacing_mm, 0.02):
        warnings.append(f"{where}: slices lie up to {off_mm:.2g} mm off even distances; the mean distance is used.")
    tilts = {item.file.tilt_deg for item in stack.slices if item.file.tilt_deg}
    if tilts and shift_mm <= ROUNDING_MM:
        warnings.append(
            f"{where}: the header gives a gantry tilt of {max(tilts, key=abs):g} degrees, but by their positions the "
            "slices are not tilted; the positions are used."
        )
    return tuple(warnings)


def _uneven_gaps(stack: Stack) -> NDArray[np.intp]:
    """Return the indices of gaps that differ from the stack's slice distance."""
    spacing_mm = stack.slice_spacing_mm
    allowed = max(GAP_LIMIT * spacing_mm, min(1.1 * ROUNDING_MM, 0.2 * spacing_mm))
    return np.flatnonzero(np.abs(stack.gaps_mm - spacing_mm) > allowed)


def _common_directions(slices: tuple[Slice, ...], where: Path) -> Vectors:
    """Return the directions (3 3) that all slices share, or raise MixedOrientation."""
    stored = [item.orientation or () for item in slices]
    usual = Counter(stored).most_common(1)[0][0]
    measured = {}
    for orientation, item in zip(stored, slices, strict=True):
        if orientation not in measured:
            measured[orientation] = _directions(orientation, item, where)
    off = np.array([largest_angle_deg(measured[usual], measured[orientation]) for orientation in stored])
    if off.max() > ORIENTATION_LIMIT_DEG:
        worst = int(off.argmax())
        raise MixedOrientation(
            f"has slices that are not parallel, so they form no volume: {int((off > ORIENTATION_LIMIT_DEG).sum())} "
            f"of {len(slices)} images are turned against the others, {slices[worst].name} by {off[worst]:.1f} degrees.",
            where=where,
            cure="Remove the images of other directions from the series, or give another series.",
        )
    return measured[usual]


def _directions(orientation: tuple[float, ...], item: Slice, where: Path) -> Vectors:
    """Return the directions of one slice, or raise BadGeometry."""
    lengths = [float(np.linalg.norm(part)) for part in (orientation[:3], orientation[3:])]
    if all(0.95 < length < 1.05 for length in lengths):
        directions, error_deg = orthogonal_directions(orientation)
        if error_deg < SKEW_LIMIT_DEG:
            return directions
    raise BadGeometry(
        f"has directions of rows and columns that are no unit vectors at a right angle "
        f"({', '.join(f'{cosine:g}' for cosine in orientation)} in {item.name}).",
        where=where,
        cure="Export the series again from its source.",
    )


def _require_same_format(slices: tuple[Slice, ...], where: Path) -> None:
    """Refuse slices of different sizes, spacings or pixel widths."""
    spacing = np.array([item.spacing for item in slices], dtype=np.float64)
    if (spacing <= 0).any():
        raise BadGeometry(f"has a pixel spacing of {spacing.min():g} mm.", where=where, cure="Export the series again.")
    usual = np.median(spacing, axis=0)
    is_usual = [bool((np.abs(one - usual) <= SPACING_LIMIT * usual).all()) for one in spacing]
    for name, values in (
        ("size", [f"{item.file.columns} x {item.file.rows} pixels" for item in slices]),
        ("pixel format", [f"{item.file.bits_allocated} bits" for item in slices]),
        ("spacing", [_spacing_text(usual if same else one) for one, same in zip(spacing, is_usual, strict=True)]),
    ):
        counts = Counter(values).most_common()
        if len(counts) > 1:
            odd = next(item for item, value in zip(slices, values, strict=True) if value == counts[1][0])
            raise MixedSlices(
                f"has slices that differ in {name}, so they form no volume: {counts[0][1]} of {len(slices)} have "
                f"{counts[0][0]}, but {odd.name} has {counts[1][0]}.",
                where=where,
                cure="Remove the odd images from the series, or give another series.",
            )


def _spacing_text(rows_columns: Vectors) -> str:
    return f"{rows_columns[1]:g} x {rows_columns[0]:g} mm"


def _require_distinct_positions(stack: Stack, where: Path) -> None:
    close = np.flatnonzero(stack.gaps_mm < SAME_POSITION_MM)
    if len(close) == 0:
        return
    first = int(close[0])
    names = f"{stack.slices[first].name} and {stack.slices[first + 1].name}"
    raise DuplicateSlices(
        f"has several images at one position ({len(close)} too many), and nothing in their headers separates them into "
        f"volumes: {names} both lie at {_position_text(stack, first)} mm.",
        where=where,
        cure="Keep one image for each position, or put the volumes into separate folders.",
    )


def _too_few(series: Series, where: Path) -> TooFewSlices:
    count = len(series.slices)
    is_single_file = count == 1 and where.is_file() and where.name == series.slices[0].file.member
    if is_single_file:
        return TooFewSlices(
            "is a single slice of a series, which is no volume by itself.",
            where=where,
            cure="Give the folder that holds all files of the series.",
        )
    return TooFewSlices(
        f"has {count} slice{'s' * (count != 1)}, but a volume needs at least {MIN_SLICES}: with fewer, a missing "
        "slice cannot be noticed.",
        where=where,
        cure="Check that all files of the series are there, or give another series.",
    )


def _largest_shift_mm(stack: Stack) -> float:
    """Return the largest shift of a slice within its plane, against the first slice, in mm."""
    return float(np.linalg.norm(stack.in_plane_mm, axis=1).max())


def _off_grid_mm(stack: Stack) -> float:
    """Return the largest distance of a slice from its position on a grid of even distances, in mm."""
    even = np.linspace(0, stack.offsets_mm[-1], len(stack.slices))
    return float(np.abs(stack.offsets_mm - even).max())


def _tilt_fault(stack: Stack, shift_mm: float, tilt_deg: float) -> str:
    stated = {item.file.tilt_deg for item in stack.slices if item.file.tilt_deg}
    header_tilt = f" (the header gives {max(stated, key=abs):g})" if stated else ""
    if tilt_deg > TILT_LIMIT_DEG / 5:
        cause = f"as by a gantry tilt of {tilt_deg:.1f} degrees{header_tilt}"
    else:
        cause = "without a common direction"
    return (
        f"has slices that are shifted against each other by up to {shift_mm:.1f} mm, {cause}, so its voxels form no "
        "right-angled grid."
    )


def _gap_fault(stack: Stack, uneven: NDArray[np.intp]) -> str:
    spacing_mm, gaps = stack.slice_spacing_mm, stack.gaps_mm
    uneven_gaps = []
    for index in uneven[:_GAPS_SHOWN].tolist():
        ratio = gaps[index] / spacing_mm
        multiple = round(float(ratio))
        count = multiple - 1 if multiple > 1 and abs(ratio - multiple) < GAP_LIMIT * multiple else 0
        missing = f" ({count} slice{'s' * (count > 1)} missing)" if count else ""
        before, after = stack.slices[index], stack.slices[index + 1]
        uneven_gaps.append(
            f"{gaps[index]:.4g} mm between {before.name} (at {_position_text(stack, index)} mm) and {after.name} "
            f"(at {_position_text(stack, index + 1)} mm){missing}"
        )
    more = f"; {len(uneven) - _GAPS_SHOWN} more gaps differ" if len(uneven) > _GAPS_SHOWN else ""
    return f"has slices at uneven distances: most lie {spacing_mm:.4g} mm apart, but {'; '.join(uneven_gaps)}{more}."


def _position_text(stack: Stack, index: int) -> str:
    """Return the coordinate of a slice along the normal in mm, in the coordinates of its header."""
    position = np.array(stack.slices[index].position)
    return f"{position @ stack.directions[2]:.1f}"
