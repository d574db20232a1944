"""Reader of a DICOM series with its labels as PNG pictures, one per slice, in verified order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from sautomed.datasets.chaos.picture_order import propose, verify
from sautomed.datasets.chaos.pictures import GrayRange, labels_of_grays, read_label_pictures
from sautomed.datasets.dataset import AnyPlane, Case, as_label_map, files_below
from sautomed.datasets.names import files_in
from sautomed.errors import PictureOrder, SeveralSeries
from sautomed.scans import Geometry, ReadOptions, read_geometry, read_scan
from sautomed.scans.dicom.find import find
from sautomed.scans.dicom.series import group
from sautomed.scans.dicom.source import DicomSource
from sautomed.scans.grid import Plane, unorient
from sautomed.scans.volume import LabelMap, Volume

Phase = Literal["in", "out"]


@dataclass(frozen=True)
class DicomPngReader:
    """Reader of a folder of DICOM files as the scan and a folder of PNG files as its labels.

    Args:
        grays: Gray values of each label.
        names: Of the labels.
        phases: Phase to read, by case id, for folders that hold both phases of T1.
    """

    grays: Mapping[int, GrayRange]
    names: Mapping[int, str]
    phases: Mapping[str, Phase] = field(default_factory=dict)

    def geometry(self, case: Case) -> Geometry:
        return read_geometry(case.image, self._options(case))

    def image(self, case: Case, plane: AnyPlane) -> Volume:
        return read_scan(case.image, plane, self._options(case))

    def label(self, case: Case, path: Path, plane: Plane, image: Volume | None) -> tuple[LabelMap, tuple[str, ...]]:
        scan = self.image(case, plane) if image is None else image
        order = propose(files_in(path, ".png"), *_slices_of(scan, case), path)
        columns, rows, _ = scan.native.shape
        table = labels_of_grays(self.grays)
        labels = read_label_pictures(order.pictures, (rows, columns), table, self.names)
        slices = unorient(scan.array, scan.native, scan.plane).transpose(2, 1, 0)
        backwards, notes = verify(slices, labels, order, path)
        labels = labels[::-1] if backwards else labels
        return as_label_map(labels.transpose(2, 1, 0), scan.native, plane), notes

    def sources(self, case: Case) -> tuple[Path, ...]:
        return tuple(file for path in (case.image, case.label) if path is not None for file in files_below(path))

    def _options(self, case: Case) -> ReadOptions:
        phase = self.phases.get(case.id)
        return ReadOptions() if phase is None else ReadOptions(series=_series_of_phase(case.image, phase))


def _slices_of(scan: Volume, case: Case) -> tuple[list[str], list[int | None]]:
    """Return file and InstanceNumber of each slice."""
    source = scan.native.source
    if not isinstance(source, DicomSource):
        raise PictureOrder(
            "is no DICOM series, so it is not known which label picture belongs to which slice.",
            where=case.image,
            cure="Use the folder as the challenge's archive has it, or choose another layout with --layout.",
        )
    numbers = {(item.file.member, item.frame): item.file.instance for item in find(case.image).slices}
    slices = list(zip(source.members, source.frames, strict=True))
    # The frames of one file share its InstanceNumber, so only their order is known.
    return [member for member, _ in slices], [numbers.get(one) if one[1] is None else one[1] for one in slices]


def _series_of_phase(folder: Path, phase: Phase) -> str:
    """Return the number of the series of one phase, by echo time: the out-of-phase echo is the earlier one."""
    times: dict[float, str] = {}
    for number, series in enumerate(group(find(folder).slices), start=1):
        echo_times = {item.traits.get("EchoTime", "") for item in series.slices}
        if len(echo_times) == 1 and _is_number(next(iter(echo_times))):
            times[float(echo_times.pop())] = str(number)
    if len(times) != 2:
        found = ", ".join(f"{time:g} ms" for time in sorted(times)) or "none"
        raise SeveralSeries(
            f"should hold both phases of T1, but has {len(times)} echo times ({found}), so they cannot be told apart.",
            where=folder,
            cure="Put them into folders InPhase and OutPhase.",
        )
    return times[max(times) if phase == "in" else min(times)]


def _is_number(text: str) -> bool:
    try:
        return bool(np.isfinite(float(text)))
    except ValueError:
        return False
