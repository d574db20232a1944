"""Fill the slices between those on which an organ is painted, by interpolating its shape."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float
from scipy.ndimage import distance_transform_edt

from sautomed.editing.edits import Edits
from sautomed.errors import UsageError
from sautomed.inference.prompts.document import GivenMask


def filled_masks(
    edits: Edits,
    k: int,
    ends: tuple[int, int],
    shape: tuple[int, int],
    spacing_mm: tuple[float, float],
    where: str | Path,
) -> dict[int, GivenMask]:
    """Return masks of class k for slices between two, by slice.

    Each gap between two slices on which the class is painted, with nothing given for it between them, is filled.
    Locked slices are left out, and pixels that are painted of other classes stay theirs.

    Args:
        ends: The two slices, the smaller first.
        shape: Rows and columns.
        spacing_mm: Of rows and of columns.
        where: The scan, for messages.
    Raises:
        UsageError: The masks at the two ends of a gap do not overlap, so that nothing is known of the way between.
    """
    low, high = ends
    given = {t: found.given for (t, of), found in edits.corrections.given.items() if of == k and low <= t <= high}
    found = {}
    for start, end in pairwise(sorted(given)):
        masks = [item.pixels(shape) for item in (given[start], given[end]) if isinstance(item, GivenMask)]
        if end - start < 2 or len(masks) < 2 or not all(mask.any() for mask in masks):
            continue
        if not (masks[0] & masks[1]).any():
            raise UsageError(
                f"the shapes painted on slices {start} and {end} (from 0) do not overlap, so the way "
                "between them is not known.",
                where=where,
                cure=f"Paint the organ on more slices between {start} and {end}, so that each overlaps the next.",
            )
        between = masks_between(masks[0], masks[1], end - start - 1, spacing_mm)
        for t, mask in enumerate(between, start=start + 1):
            if t not in edits.locked:
                found[t] = GivenMask.of(mask & ~_painted_of_others(edits, t, shape))
    return found


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
