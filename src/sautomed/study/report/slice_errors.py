"""Errors behind a score: every wrong voxel counted under one cause, and DSC by a slice's place in its organ.

Label maps are read case by case; memory holds one case at a time. Knows nothing of tables or figures.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from sautomed.datasets import Dataset
from sautomed.scans.volume import LabelMap
from sautomed.study.report.cases import ReportedSystem, read_label_maps

NEAR_MM = 5.0  # ours: errors closer to the true surface count as outline errors
CAUSES: Mapping[str, str] = MappingProxyType(
    {
        "boundary": "outline",  # within one voxel in the plane, or NEAR_MM, of the true surface
        "inner": "farther off",  # between the organ's end slices, farther from its surface
        "missed_slices": "missed slices",  # slices between its ends where nothing of it was found
        "beyond": "past its ends",  # false organ before its first or after its last slice
        "missed": "missed organ",  # nothing of it was found anywhere
        "invented": "invented organ",  # the truth has none of it
    }
)
PLACES: Mapping[str, str] = MappingProxyType(
    {
        "first": "first slice",
        "middle": "middle third",
        "last": "last slice",
        "walk_first": "walk's first",  # the volume's middle slice, where 3D-SAutoMed starts its walk to both ends
        "walk_near": "beside it",  # the same organs on the WALK_NEAR slices on either side of it
    }
)
WALK_NEAR = 3
BINS = 10  # equal parts of an organ's length, for the figure

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class SystemErrors:
    """Errors of one system over all cases that it segmented.

    Args:
        ml: Volume of wrong voxels per case, by class and cause.
        places: Mean DSC of slices that have the organ in the truth, by `PLACES`; nan if there is no such slice.
        along: The same by position between an organ's first and last slice, (BINS,).
        cases: Number of cases.
    """

    ml: Mapping[int, Mapping[str, float]]
    places: Mapping[str, float]
    along: NDArray[np.float64]
    cases: int

    def total_ml(self, cause: str) -> float:
        """Return the volume of one cause over all organs, per case."""
        return sum(causes[cause] for causes in self.ml.values())


def measure_errors(
    dataset: Dataset,
    cases: Sequence[str],
    systems: Sequence[ReportedSystem],
    labels: Mapping[int, str],
    on_case: Callable[[str], None] | None = None,
) -> dict[str, SystemErrors]:
    """Count every wrong voxel of every system in all cases under one cause.

    A voxel with the wrong organ counts twice: it is missing in one organ and false in the other.

    Args:
        cases: Ids.
        labels: Name of each class.
        on_case: Called with the id of each case when it is done.
    Returns:
        Errors by system name; systems that segmented no case are left out.
    Raises:
        DataError: A truth cannot be read.
    """
    tallies = {system.name: _Tally() for system in systems}
    for case in cases:
        _add_case(tallies, *read_label_maps(dataset, case, systems), labels)
        if on_case is not None:
            on_case(case)
    return {name: tally.errors(labels) for name, tally in tallies.items() if tally.cases}


def split_errors(truth: Mask, found: Mask, near: Mask) -> dict[str, int]:
    """Count every voxel in which two masks differ under one of `CAUSES`.

    Args:
        truth, found: (d h w).
        near: Voxels near the true surface, from `near_surface`.
    Returns:
        Voxels by cause; they add up to the number of differing voxels.
    """
    counts = dict.fromkeys(CAUSES, 0)
    wrong = truth ^ found
    if not truth.any() or not found.any():
        counts["invented" if found.any() else "missed"] = int(wrong.sum())
        return counts
    with_truth = np.flatnonzero(truth.any(axis=(1, 2)))
    between = np.zeros(len(truth), dtype=bool)
    between[with_truth[0] : with_truth[-1] + 1] = True
    lost = truth.any(axis=(1, 2)) & ~found.any(axis=(1, 2))
    counts["beyond"] = int(wrong[~between].sum())
    counts["missed_slices"] = int(wrong[lost].sum())
    rest = wrong[between & ~lost]
    counts["boundary"] = int((rest & near[between & ~lost]).sum())
    counts["inner"] = int(rest.sum()) - counts["boundary"]
    return counts


def near_surface(truth: Mask, spacing_mm: tuple[float, float, float]) -> Mask:
    """Return the voxels within one voxel in the plane, or `NEAR_MM`, of a mask's outline, on either side, (d h w)."""
    near = np.zeros_like(truth)
    if not truth.any():
        return near
    inside: tuple[slice, ...] = ndimage.find_objects(truth.astype(np.uint8))[0]
    # Crop to the region where voxels can be near.
    widths = [int(np.ceil(NEAR_MM / mm)) + 1 for mm in spacing_mm]
    around = tuple(slice(max(part.start - width, 0), part.stop + width)
                   for part, width in zip(inside, widths, strict=True))  # fmt: skip
    organ = truth[around]
    ring = np.ones((1, 3, 3), dtype=bool)
    beside = ndimage.binary_dilation(organ, ring) & ~ndimage.binary_erosion(organ, ring, border_value=1)
    # The outline is between two voxels: half a voxel less than the distance of their middles.
    apart = np.where(organ, _distance(organ, spacing_mm), _distance(~organ, spacing_mm)) - min(spacing_mm) / 2
    near[around] = beside | (apart <= NEAR_MM)
    return near


def slice_dsc(truth: Mask, found: Mask) -> NDArray[np.float64]:
    """Return the DSC of each slice with the structure in the truth, nan for others, (d,)."""
    in_truth, in_found = truth.sum(axis=(1, 2)), found.sum(axis=(1, 2))
    both = (truth & found).sum(axis=(1, 2))
    return np.where(in_truth > 0, 2 * both / np.maximum(in_truth + in_found, 1), np.nan)


def _distance(mask: Mask, spacing_mm: tuple[float, float, float]) -> NDArray[np.float64]:
    """Return the distance (mm) from each voxel of a mask to the nearest one outside it; inf if there is none."""
    if mask.all():
        return np.full(mask.shape, np.inf)
    return np.asarray(ndimage.distance_transform_edt(mask, sampling=spacing_mm))


@dataclass
class _Tally:
    """Sums and values over cases, of one system."""

    ml: dict[tuple[int, str], float] = field(default_factory=dict)
    places: dict[str, list[float]] = field(default_factory=lambda: {place: [] for place in PLACES})
    along: list[list[float]] = field(default_factory=lambda: [[] for _ in range(BINS)])
    cases: int = 0

    def add_organ(self, class_id: int, counts: Mapping[str, int], voxel_ml: float, dsc: NDArray[np.float64]) -> None:
        for cause, voxels in counts.items():
            self.ml[class_id, cause] = self.ml.get((class_id, cause), 0.0) + voxels * voxel_ml
        with_organ = np.flatnonzero(np.isfinite(dsc))
        if not len(with_organ):
            return
        place_of = (with_organ - with_organ[0] + 0.5) / (with_organ[-1] - with_organ[0] + 1)
        for place, value in zip(place_of, dsc[with_organ], strict=True):
            self.along[int(place * BINS)].append(float(value))
        self.places["first"].append(float(dsc[with_organ[0]]))
        self.places["last"].append(float(dsc[with_organ[-1]]))
        _append_mean(self.places["middle"], dsc[with_organ][np.abs(place_of - 0.5) <= 1 / 6])
        start = len(dsc) // 2
        if math.isfinite(dsc[start]):
            beside = [t for t in range(start - WALK_NEAR, start + WALK_NEAR + 1) if t != start and 0 <= t < len(dsc)]
            self.places["walk_first"].append(float(dsc[start]))
            _append_mean(self.places["walk_near"], dsc[beside])

    def errors(self, labels: Mapping[int, str]) -> SystemErrors:
        return SystemErrors(
            ml={label: {cause: self.ml.get((label, cause), 0.0) / self.cases for cause in CAUSES} for label in labels},
            places={place: fmean(values) if values else math.nan for place, values in self.places.items()},
            along=np.array([fmean(values) if values else math.nan for values in self.along]),
            cases=self.cases,
        )


def _append_mean(values: list[float], more: NDArray[np.float64]) -> None:
    """Append the mean over slices: one value per organ and case, so that long organs do not outweigh short ones."""
    if np.isfinite(more).any():
        values.append(float(np.nanmean(more)))


def _add_case(
    tallies: Mapping[str, _Tally], truth_map: LabelMap, found_maps: Mapping[str, LabelMap], labels: Mapping[int, str]
) -> None:
    spacing_mm = truth_map.spacing_mm
    voxel_ml = math.prod(spacing_mm) / 1000
    for name in found_maps:
        tallies[name].cases += 1
    for class_id in labels:
        truth = truth_map.array == class_id
        near = near_surface(truth, spacing_mm)
        for name, found_map in found_maps.items():
            found = found_map.array == class_id
            tallies[name].add_organ(class_id, split_errors(truth, found, near), voxel_ml, slice_dsc(truth, found))
