"""Fill the slices between those on which an organ is painted, by interpolating its shape."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float
from scipy.ndimage import distance_transform_edt

from sautomed.editing.edits import Edits
from sautomed.errors import UsageError
from sautomed.errors.text import listed
from sautomed.inference.prompts.document import GivenMask


def filled_masks(
    edits: Edits,
    k: int,
    organ: str,
    ends: tuple[int, int],
    shape: tuple[int, int],
    spacing_mm: tuple[float, float],
    where: str | Path,
) -> dict[int, GivenMask]:
    """Return masks of class k for slices between two, by slice; none if all between them are painted already.

    Each gap between two slices on which the class is painted, with nothing given for it between them, is filled.
    Locked slices are left out, and pixels that are painted of other classes stay theirs.

    Args:
        organ: Name of the class, for messages.
        ends: The two slices, the smaller first.
        shape: Rows and columns.
        spacing_mm: Of rows and of columns.
        where: The scan, for messages.
    Raises:
        UsageError: The class is not painted at both ends; the masks at the two ends of a gap do not overlap, so that
            nothing is known of the way between; or locked slices, or others where something else is given for the
            class, leave nothing to fill.
    """
    low, high = ends
    given = {t: found.given for (t, of), found in edits.corrections.given.items() if of == k and low <= t <= high}
    masks = {t: item.pixels(shape) for t, item in given.items() if isinstance(item, GivenMask)}
    painted = {t: mask for t, mask in masks.items() if mask.any()}
    for t in ends:
        _require_painted(t, painted, organ, where)
    found = {}
    for start, end in pairwise(sorted(given)):
        if end - start < 2 or start not in painted or end not in painted:
            continue
        if not (painted[start] & painted[end]).any():
            raise UsageError(
                f"the shapes painted on slices {start} and {end} (from 0) do not overlap, so the way "
                "between them is not known.",
                where=where,
                cure=f"Paint the organ on more slices between {start} and {end}, so that each overlaps the next.",
            )
        between = masks_between(painted[start], painted[end], end - start - 1, spacing_mm)
        for t, mask in enumerate(between, start=start + 1):
            if t not in edits.locked:
                found[t] = GivenMask.of(mask & ~_painted_of_others(edits, t, shape))
    if not found:
        _refuse_obstacles(sorted(given.keys() - painted.keys()), organ, where)
        _refuse_locks([t for t in range(low, high) if t in edits.locked and t not in given], where)
    return found


def _require_painted(t: int, painted: Collection[int], organ: str, where: str | Path) -> None:
    if t not in painted:
        raise UsageError(
            f"{organ} is not painted on slice {t}, so there is no shape to fill from.",
            where=where,
            cure=f"Paint it there first: session.paint({t}, {organ!r}, mask).",
        )


def _refuse_obstacles(slices: Sequence[int], organ: str, where: str | Path) -> None:
    """Raise UsageError if there are slices, between the ends, for which something else than a shape is given."""
    if slices:
        raise UsageError(
            f"nothing can be filled, as {organ} is given otherwise than by a shape on slices between the two (from 0): "
            f"{listed(slices)}.",
            where=where,
            cure=f"Paint it on each of them, or take back there what is given, as by session.forget({slices[0]}, "
            f"{organ!r}).",
        )


def _refuse_locks(slices: Sequence[int], where: str | Path) -> None:
    """Raise UsageError if there are slices that would be filled, but are locked."""
    if slices:
        raise UsageError(
            f"nothing can be filled, as slices between the two (from 0) are locked: {listed(slices)}.",
            where=where,
            cure=f"Release those to fill, as by session.release({slices[0]}).",
        )


def masks_between(
    first: Bool[np.ndarray, "h w"], last: Bool[np.ndarray, "h w"], count: int, spacing_mm: tuple[float, float]
) -> list[Bool[np.ndarray, "h w"]]:
    """Return the masks of so many slices between two others, in order, by interpolating signed distances.

    Each has all pixels that both have, and none that neither has.

    Args:
        first: With at least one pixel; so has `last`.
        spacing_mm: Of rows and of columns.
    Source: Raya and Udupa 1990, IEEE TMI 9(1), 32-42.
    """
    near, far = _signed_distance_mm(first, spacing_mm), _signed_distance_mm(last, spacing_mm)
    return [(count + 1 - step) * near + step * far > 0 for step in range(1, count + 1)]


def _signed_distance_mm(mask: Bool[np.ndarray, "h w"], spacing_mm: tuple[float, float]) -> Float[np.ndarray, "h w"]:
    """Return the distance from a mask's outline, positive inside; a slice ends where the outside begins."""
    wide = np.pad(mask, 1)
    inside, outside = (distance_transform_edt(part, sampling=spacing_mm) for part in (wide, ~wide))
    return (inside - outside)[1:-1, 1:-1]


def _painted_of_others(edits: Edits, t: int, shape: tuple[int, int]) -> Bool[np.ndarray, "h w"]:
    """Return the pixels of slice t that masks are given for; the class itself has none there."""
    painted = np.zeros(shape, bool)
    for correction in edits.corrections.at(t).values():
        if isinstance(correction.given, GivenMask):
            painted |= correction.given.pixels(shape)
    return painted
