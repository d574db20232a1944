"""Segments of 3D Slicer in the header of an NRRD file: their names, values and layers.

Format: https://slicer.readthedocs.io/en/latest/developer_guide/modules/segmentations.html
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sautomed.errors import NotThreeD
from sautomed.errors.text import listed
from sautomed.scans.values import MAX_LABEL

_KEY = re.compile(r"Segment([0-9]{1,5})_(Name|LabelValue|Layer)")
_VALUE = re.compile(r"[0-9]{1,5}")


@dataclass(frozen=True)
class Segment:
    """One segment.

    Args:
        name: As Slicer shows it.
        value: Of its voxels, 1 to 65535.
        layer: The volume of the file that holds it; segments of one layer do not overlap.
    """

    name: str
    value: int
    layer: int


def segments_of(pairs: Mapping[str, str]) -> tuple[Segment, ...]:
    """Return the segments that free keys and values of a header describe; those with unusable numbers are left out.

    Before Slicer 4.11 each segment had a layer of its own, and no value.
    """
    found: dict[int, dict[str, str]] = {}
    for key, text in pairs.items():
        match = _KEY.fullmatch(key)
        if match:
            found.setdefault(int(match[1]), {})[match[2]] = text.strip()
    segments = []
    for number, entry in sorted(found.items()):
        value, layer = entry.get("LabelValue", "1"), entry.get("Layer", "0" if "LabelValue" in entry else str(number))
        if _VALUE.fullmatch(value) and _VALUE.fullmatch(layer) and 0 < int(value) <= MAX_LABEL:
            segments.append(Segment(entry.get("Name", ""), int(value), int(layer)))
    return tuple(segments)


def names_of_layer(segments: Sequence[Segment], layer: int) -> dict[int, str]:
    """Return the name of each value in one layer."""
    return {segment.value: segment.name for segment in segments if segment.layer == layer}


def values_in_one_layer(segments: Sequence[Segment]) -> dict[int, Segment]:
    """Return the segment of each value once all layers are one: its own value if it is free, else the next free one."""
    taken: dict[int, Segment] = {}
    for segment in segments:
        if segment.value not in taken:
            taken[segment.value] = segment
    free = (value for value in range(1, MAX_LABEL + 1) if value not in taken)
    return taken | {next(free): segment for segment in segments if segment not in taken.values()}


def merge_layers(layers: NDArray[Any], segments: Sequence[Segment], path: Path) -> NDArray[np.uint16]:
    """Return one volume with all segments, with the values of `values_in_one_layer`.

    Args:
        layers: (layers, x, y, z).
        path: The file, for the error.
    Raises:
        NotThreeD: Segments overlap, so that no one value says which a voxel belongs to.
    """
    merged = np.zeros(layers.shape[1:], np.uint16, order="F")
    overlapping: dict[str, int] = {}
    for value, segment in sorted(values_in_one_layer(segments).items()):
        if segment.layer >= len(layers):
            continue
        inside = layers[segment.layer] == segment.value
        count = int(np.count_nonzero(merged[inside]))
        if count:
            overlapping[segment.name] = count
        merged[inside] = value
    if overlapping:
        counts = listed(f"{name} ({count} voxels)" for name, count in overlapping.items())
        raise NotThreeD(
            f"has segments that overlap others: {counts}; a label map has one label for each voxel.",
            where=path,
            cure=f"Read one layer with --frame 0 to {len(layers) - 1}, or save the segments without overlap: in 3D "
            "Slicer, Segment Editor, Masking, Modify other segments: Overwrite all.",
        )
    return merged
