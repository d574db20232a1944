"""Whether the labels of an abdomen mean the organs that they are said to mean: by size and by side.

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
SAMED = PAPER_LABELS  # which follow SAMed
# Ours: of adults, as CT of the upper abdomen shows them; only their ratios count.
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
_LEAST_ORGANS = 4  # ours: fewer leave room for chance
_MARGIN = 0.25  # ours: by how much the mean squared log ratio must be smaller for another order to be believed
_LEFT_ORGANS = ("spleen", "left_kidney")
_RIGHT_ORGANS = ("liver", "right_kidney")


def check_labels(
    array: NDArray[np.unsignedinteger[Any]], order: str, orders: Mapping[str, Mapping[int, str]], where: Path
) -> tuple[str, ...]:
    """Hold a label map against the usual sizes and sides of organs.

    Args:
        array: (slice row column), any voxel size.
        order: Which of `orders` the labels are said to have.
        orders: Name of a layout -> its labels.
        where: The file, for the message.
    Returns:
        What is odd.
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
            f"{_listed(orders[best])} than {_listed(orders[order])}.",
            where=where,
            cure=f"Read the folder with --layout {best}.",
        )
    return (*_largest_note(sizes, orders[order], where), *_side_notes(array, orders[order], where))


def _misfit(sizes: Mapping[int, int], names: Mapping[int, str]) -> float:
    """Mean squared log ratio to the usual sizes, whatever the voxel size."""
    ratios = np.array([np.log(size / _USUAL_ML[names[value]]) for value, size in sizes.items()])
    return float(((ratios - np.median(ratios)) ** 2).mean())


def _largest_note(sizes: Mapping[int, int], names: Mapping[int, str], where: Path) -> tuple[str, ...]:
    largest = names[max(sizes, key=sizes.__getitem__)]
    if largest == "liver":
        return ()
    return (f"{where}: the largest organ is the {largest}, not the liver; is this the right order of labels?",)


def _side_notes(array: NDArray[Any], names: Mapping[int, str], where: Path) -> tuple[str, ...]:
    """Whether the organs of either side lie together, and that side where a radiologist sees it."""
    places = {}
    for value, name in names.items():
        if name in (*_LEFT_ORGANS, *_RIGHT_ORGANS) and (array == value).any():
            places[name] = np.array([axis.mean() for axis in np.nonzero(array == value)])
    if len(places) < 4:
        return ()
    to_left = [places[left] - places[right] for left, right in zip(_LEFT_ORGANS, _RIGHT_ORGANS, strict=True)]
    if float(np.dot(to_left[0][1:], to_left[1][1:])) <= 0:
        return (f"{where}: spleen and left kidney lie on different sides; left and right may have changed places.",)
    mean = np.mean(to_left, axis=0)
    if mean[2] > abs(mean[1]):
        return ()
    return (
        f"{where}: the patient's left is not on the right of the slices, so they are turned or mirrored; this is kept.",
    )


def _listed(names: Mapping[int, str]) -> str:
    return ", ".join(f"{value} {name}" for value, name in names.items())
