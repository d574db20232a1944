"""Group slices into series, and split series with several images at each position into volumes.

A group need not be a volume: `checks` decides that.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Hashable
from dataclasses import dataclass, replace
from itertools import combinations

from sautomed.scans.dicom.header import FOLDER, SPLITTERS, Slice

_SAME_POSITION_MM = 0.01  # ours: far below any slice distance, above what rounding in a header does
_LOCALIZERS = frozenset({"LOCALIZER", "SCOUT"})


@dataclass(frozen=True)
class Series:
    """Images of one series, or of one part of it.

    Args:
        uid: SeriesInstanceUID; empty if the files have none.
        slices: Unordered.
        label: What distinguishes it from other parts of its series, such as "echo time 4.6"; empty if it was not split.
    """

    uid: str
    slices: tuple[Slice, ...]
    label: str = ""

    @property
    def modality(self) -> str:
        """Such as CT or MR; empty if the files have none."""
        return self.slices[0].file.modality

    @property
    def description(self) -> str:
        """SeriesDescription, or else the folder; with `label` if the series was split."""
        name = self.slices[0].file.description or self.slices[0].traits.get(FOLDER, "")
        return f"{name} ({self.label})".strip() if self.label else name


def group(slices: list[Slice]) -> list[Series]:
    """Group slices by series UID, kind of file and whether they are localisers; split those with shared positions.

    Returns:
        Series sorted by series number, description and UID.
    """
    grouped: dict[Hashable, list[Slice]] = defaultdict(list)
    for item in slices:
        grouped[_group_key(item)].append(item)
    series = [Series(members[0].file.series_uid, tuple(members)) for members in grouped.values()]
    return sorted((part for item in series for part in _split(item)), key=_sort_key)


def _group_key(item: Slice) -> Hashable:
    header = item.file
    without_uid = "" if header.series_uid else (item.file.member.rpartition("/")[0], header.series_number)
    is_image = header.rows is not None and header.columns is not None
    return header.series_uid, without_uid, header.sop_class, is_image, is_localizer(item)


def is_localizer(item: Slice) -> bool:
    """Whether the header calls the image a localiser."""
    return not _LOCALIZERS.isdisjoint(item.file.image_type.split("\\"))


def _split(series: Series) -> list[Series]:
    """Return the volumes of a series with several images at each position.

    Returns:
        The series itself, if it has one image at each position or if no header element distinguishes the volumes.
    """
    if _distinct(series.slices) or len({_position_key(item) for item in series.slices}) < 2:
        return [series]
    varying = [keyword for keyword in dict(SPLITTERS) if len({item.traits.get(keyword) for item in series.slices}) > 1]
    for keywords in (*combinations(varying, 1), *combinations(varying, 2), tuple(varying)):
        parts = _parts(series.slices, keywords)
        if len(parts) > 1 and all(len(part) > 1 and _distinct(part) for part in parts.values()):
            return [
                replace(series, slices=tuple(part), label=_label(keywords, values)) for values, part in parts.items()
            ]
    return [series]


def _parts(slices: tuple[Slice, ...], keywords: tuple[str, ...]) -> dict[tuple[str, ...], list[Slice]]:
    """Group slices by the values of some of their traits."""
    parts: dict[tuple[str, ...], list[Slice]] = defaultdict(list)
    for item in slices:
        parts[tuple(item.traits.get(keyword, "none") for keyword in keywords)].append(item)
    return parts


def _label(keywords: tuple[str, ...], values: tuple[str, ...]) -> str:
    names = dict(SPLITTERS)
    return ", ".join(f"{names[keyword]} {value}" for keyword, value in zip(keywords, values, strict=True))


def _distinct(slices: tuple[Slice, ...] | list[Slice]) -> bool:
    """Whether no two slices share a position."""
    return len({_position_key(item) for item in slices}) == len(slices)


def _position_key(item: Slice) -> Hashable:
    position, orientation = item.position or (), item.orientation or ()
    return tuple(round(mm / _SAME_POSITION_MM) for mm in position), tuple(round(cosine, 2) for cosine in orientation)


def _sort_key(series: Series) -> tuple[float, str, str, list[float], str]:
    numbers = [item.file.series_number for item in series.slices if item.file.series_number is not None]
    label_numbers = [float(digits) for digits in re.findall(r"\d+(?:\.\d+)?", series.label)]
    return (
        min(numbers, default=float("inf")),
        series.slices[0].file.description,
        series.uid,
        label_numbers,
        series.label,
    )
