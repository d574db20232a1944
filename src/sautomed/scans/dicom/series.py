"""Slices grouped into series, and series with several images at each place split into volumes.

Nothing is judged here: a series may turn out to be no volume.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Hashable
from dataclasses import dataclass, replace
from itertools import combinations

from sautomed.scans.dicom.header import FOLDER, SPLITTERS, Slice

_SAME_PLACE_MM = 0.01  # ours: far below any slice distance, above what rounding in a header does

_LOCALIZERS = frozenset({"LOCALIZER", "SCOUT"})


@dataclass(frozen=True)
class Series:
    """Images that belong together.

    Args:
        uid: SeriesInstanceUID; empty if the files have none.
        slices: In no order that means anything.
        label: What tells it from the other parts of its series, such as "echo time 4.6"; empty if it is whole.
    """

    uid: str
    slices: tuple[Slice, ...]
    label: str = ""

    @property
    def modality(self) -> str:
        """Such as CT or MR; empty if the files do not say."""
        return self.slices[0].file.modality

    @property
    def description(self) -> str:
        """What the scanner called it, or else its folder; and what tells it from other parts of the same series."""
        called = self.slices[0].file.description or self.slices[0].traits.get(FOLDER, "")
        return f"{called} ({self.label})".strip() if self.label else called


def group(slices: list[Slice]) -> list[Series]:
    """Series by UID, kind of file and whether they are localisers; several images at one place are split further.

    Returns:
        In the order of series number, description and UID.
    """
    grouped: dict[Hashable, list[Slice]] = defaultdict(list)
    for item in slices:
        grouped[_key(item)].append(item)
    found = [part for members in grouped.values() for part in _split(_whole(members))]
    return sorted(found, key=_rank)


def _key(item: Slice) -> Hashable:
    header = item.file
    without_uid = "" if header.series_uid else (item.file.member.rpartition("/")[0], header.series_number)
    image = header.rows is not None and header.columns is not None
    return header.series_uid, without_uid, header.sop_class, image, is_localizer(item)


def is_localizer(item: Slice) -> bool:
    """Whether its header calls it a localiser."""
    return not _LOCALIZERS.isdisjoint(item.file.image_type.split("\\"))


def _whole(members: list[Slice]) -> Series:
    return Series(members[0].file.series_uid, tuple(members))


def _split(series: Series) -> list[Series]:
    """The volumes of a series with several images at its places, or the series itself if nothing tells them apart."""
    if _distinct(series.slices) or len({_place(item) for item in series.slices}) < 2:
        return [series]
    names = dict(SPLITTERS)
    varying = [keyword for keyword in names if len({item.traits.get(keyword) for item in series.slices}) > 1]
    for keywords in (*combinations(varying, 1), *combinations(varying, 2), tuple(varying)):
        parts = _parts(series.slices, keywords)
        if len(parts) > 1 and all(len(part) > 1 and _distinct(part) for part in parts.values()):
            return [
                replace(series, slices=tuple(part), label=_label(keywords, values)) for values, part in parts.items()
            ]
    return [series]


def _parts(slices: tuple[Slice, ...], keywords: tuple[str, ...]) -> dict[tuple[str, ...], list[Slice]]:
    """Slices by the values of their traits."""
    parts: dict[tuple[str, ...], list[Slice]] = defaultdict(list)
    for item in slices:
        parts[tuple(item.traits.get(keyword, "none") for keyword in keywords)].append(item)
    return parts


def _label(keywords: tuple[str, ...], values: tuple[str, ...]) -> str:
    names = dict(SPLITTERS)
    return ", ".join(f"{names[keyword]} {value}" for keyword, value in zip(keywords, values, strict=True))


def _distinct(slices: tuple[Slice, ...] | list[Slice]) -> bool:
    """Whether no two slices lie at one place."""
    return len({_place(item) for item in slices}) == len(slices)


def _place(item: Slice) -> Hashable:
    position, orientation = item.position or (), item.orientation or ()
    return tuple(round(mm / _SAME_PLACE_MM) for mm in position), tuple(round(cosine, 2) for cosine in orientation)


def _rank(series: Series) -> tuple[float, str, str, list[float], str]:
    numbers = [item.file.series_number for item in series.slices if item.file.series_number is not None]
    within = [float(digits) for digits in re.findall(r"\d+(?:\.\d+)?", series.label)]
    return min(numbers, default=float("inf")), series.slices[0].file.description, series.uid, within, series.label
