"""Check by size and side that the labels of an abdomen mean the organs that the layout says.

A label map without a description can be numbered in any order. The usual volumes of eight organs differ enough to tell
two orders apart, even if one organ is large or absent.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sautomed.datasets.btcv import PAPER_LABELS
from sautomed.errors import UnknownLabels
from sautomed.errors.text import listed_labels

ALPHABETICAL: Mapping[int, str] = MappingProxyType(
    {
        1: "aorta",
        2: "gallbladder",
        3: "left_kidney",
        4: "right_kidney",
        5: "liver",
        6: "pancreas",
        7: "spleen",
        8: "stomach",
    }
)
SAMED = PAPER_LABELS  # the paper follows SAMed
# Ours: of adults, in CT of the upper abdomen; only the ratios between them are used.
_USUAL_ML: Mapping[str, float] = MappingProxyType(
    {
        "aorta": 90,
        "gallbladder": 25,
        "left_kidney": 160,
        "right_kidney": 155,
        "liver": 1500,
        "pancreas": 75,
        "spleen": 220,
        "stomach": 350,
    }
)
_LEAST_ORGANS = 4  # ours: fewer could fit by chance
_MARGIN = 0.25  # ours: the mean squared log ratio of another order must be smaller by this much
_LEFT_ORGANS = ("spleen", "left_kidney")
_RIGHT_ORGANS = ("liver", "right_kidney")


def check_labels(
    array: NDArray[np.unsignedinteger[Any]], order: str, orders: Mapping[str, Mapping[int, str]], where: Path
) -> tuple[str, ...]:
    """Compare a label map with the usual sizes and sides of organs.

    Args:
        array: (slice row column), any voxel size.
        order: The key of `orders` to check.
        orders: Labels of each layout.
        where: The file, for the message.
    Returns:
        Warnings.
    Raises:
        UnknownLabels: Another order fits the sizes clearly better.
    """
    counts = np.bincount(array.ravel(), minlength=max(orders[order]) + 1)
    sizes = {value: int(counts[value]) for value in orders[order] if counts[value]}
    if len(sizes) < _LEAST_ORGANS:
        return ()
    misfits = {name: _misfit(sizes, names) for name, names in orders.items()}
    best = min(misfits, key=misfits.__getitem__)
    if misfits[best] < misfits[order] - _MARGIN:
        raise UnknownLabels(
            f"has labels in another order than the layout {order}: by the sizes of the organs they are rather "
            f"{listed_labels(orders[best])} than {listed_labels(orders[order])}.",
            where=where,
            cure=f"Read the folder with --layout {best}.",
        )
    return (*_largest_note(sizes, orders[order], where), *_side_notes(array, orders[order], where))


def _misfit(sizes: Mapping[int, int], names: Mapping[int, str]) -> float:
    """Return the mean squared log ratio to the usual sizes; the voxel size cancels out."""
    ratios = np.array([np.log(size / _USUAL_ML[names[value]]) for value, size in sizes.items()])
    return float(((ratios - np.median(ratios)) ** 2).mean())


def _largest_note(sizes: Mapping[int, int], names: Mapping[int, str], where: Path) -> tuple[str, ...]:
    largest = names[max(sizes, key=sizes.__getitem__)]
    if largest == "liver":
        return ()
    return (f"{where}: the largest organ is the {largest}, not the liver; is this the right order of labels?",)


def _side_notes(array: NDArray[Any], names: Mapping[int, str], where: Path) -> tuple[str, ...]:
    """Warn if the organs of one side are not on one side, or the patient's left is not on the right of the slices."""
    places = {}
    for value, name in names.items():
        if name in (*_LEFT_ORGANS, *_RIGHT_ORGANS) and (array == value).any():
            places[name] = np.array([axis.mean() for axis in np.nonzero(array == value)])
    if len(places) < 4:
        return ()
    to_left = [places[left] - places[right] for left, right in zip(_LEFT_ORGANS, _RIGHT_ORGANS, strict=True)]
    if float(np.dot(to_left[0][1:], to_left[1][1:])) <= 0:
        return (f"{where}: spleen and left kidney are on different sides; left and right may be swapped.",)
    mean = np.mean(to_left, axis=0)
    if mean[2] > abs(mean[1]):
        return ()
    return (
        f"{where}: the patient's left is not on the right of the slices, so they are rotated or mirrored; they are "
        "kept like this.",
    )
