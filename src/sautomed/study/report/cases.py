"""Cases for the figures: the scan, the truth, and the label map and boxes of every system of a table."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Literal

from sautomed.datasets import Case, Dataset, read_dataset
from sautomed.errors import BadTable, DataError, MissingFile, SautomedError
from sautomed.scans import read_labels
from sautomed.scans.grid import Plane
from sautomed.scans.paths import read_json
from sautomed.scans.volume import LabelMap, Volume, require_same_grid
from sautomed.study.report.grouping import Group, Row
from sautomed.study.report.plotting import shortened
from sautomed.study.report.runs import Run

Box = tuple[float, float, float, float]
Boxes = Mapping[int, Mapping[int, Box]]
Role = Literal["best", "median", "worst", "only"]


@dataclass(frozen=True, eq=False)
class ReportedSystem:
    """A row of the tables, for the figures.

    Args:
        place: Its place in the study's order, which gives its colour; the same in every table of the study.
    """

    row: Row
    place: int

    @property
    def name(self) -> str:
        """Name of its row."""
        return self.row.name

    @property
    def is_oracle(self) -> bool:
        """Whether it is prompted from the truth at test time."""
        return self.row.is_oracle

    @property
    def short_name(self) -> str:
        """Name in a chart; an oracle has an asterisk."""
        return shortened(self.name, 26) + (" *" if self.is_oracle else "")

    def run_of(self, case: str) -> Run | None:
        """Return the run that segmented a case; with several seeds, the first."""
        return next((run for run in self.row.runs if case in run.cases), None)

    def dsc(self) -> dict[str, dict[int, float]]:
        """Return the DSC by case and class, of the first seed; classes without a value are left out."""
        found: dict[str, dict[int, float]] = {}
        for one in self.row.scored:
            for score in one.scores:
                value = score.values.get("dsc", math.nan)
                if self.run_of(score.case) is one.run and math.isfinite(value):
                    found.setdefault(score.case, {})[score.class_id] = value
        return found

    def mean_dsc(self) -> dict[str, float]:
        """Return the mean over the organs, by case."""
        return {case: fmean(values.values()) for case, values in self.dsc().items()}


@dataclass(frozen=True, eq=False)
class ShownCase:
    """One case with the results of all systems.

    Args:
        predictions: By system name, on the grid of the truth; systems without a usable one are left out.
        boxes: By system name, for systems with boxes in this plane: by slice index and label value, (x0 y0 x1 y1) in
            pixels.
    """

    id: str
    scan: Volume
    truth: LabelMap
    predictions: Mapping[str, LabelMap]
    boxes: Mapping[str, Boxes] = field(default_factory=dict)


@dataclass(frozen=True)
class ChosenCase:
    """A case for the figures, why it was chosen, and its mean DSC over the systems."""

    role: Role
    case: str
    dsc: float


def systems_of(group: Group) -> list[ReportedSystem]:
    """Return the rows of a group, in their order."""
    return [ReportedSystem(row, row.runs[0].order) for row in group.rows]


def choose_cases(systems: Sequence[ReportedSystem]) -> list[ChosenCase]:
    """Choose the best, median and worst case by the mean DSC over all systems but oracles (over all, if all are).

    The choice is the same for every system. Fewer than three cases give fewer figures.
    """
    judges = [system for system in systems if not system.is_oracle] or list(systems)
    by_case: dict[str, list[float]] = {}
    for system in judges:
        for case, dsc in system.mean_dsc().items():
            by_case.setdefault(case, []).append(dsc)
    ranked = sorted(((fmean(values), case) for case, values in by_case.items()), reverse=True)
    if not ranked:
        return []
    places: dict[Role, int] = {"best": 0, "median": (len(ranked) - 1) // 2, "worst": len(ranked) - 1}
    if len(ranked) < 3:
        places = {"best": 0, "worst": len(ranked) - 1}
    if len(ranked) == 1:
        places = {"only": 0}
    return [ChosenCase(role, ranked[place][1], ranked[place][0]) for role, place in places.items()]


def open_dataset(systems: Sequence[ReportedSystem]) -> Dataset:
    """Open the dataset that the systems were scored on.

    Raises:
        SautomedError: It is no longer in its folder, or cannot be read.
    """
    run = systems[0].row.runs[0]
    return read_dataset(run.dataset_folder, run.layout)


def read_case(dataset: Dataset, case_id: str, systems: Sequence[ReportedSystem]) -> ShownCase:
    """Read a case in the plane of its runs.

    Raises:
        MissingFile: The dataset no longer has the case.
        DataError: The scan or the truth cannot be read.
    """
    case = _find(dataset, case_id)
    present = _systems_with(systems, case_id)
    scan, truth = dataset.load(case, _plane_of(present))
    # Boxes belong to slices of their run's plane.
    boxes = {system.name: read_boxes(run.prompts_of(case_id)) for system, run in present if run.plane == truth.plane}
    drawn = {name: found for name, found in boxes.items() if found}
    return ShownCase(case_id, scan, truth, _predictions(present, case_id, truth), drawn)


def read_label_maps(
    dataset: Dataset, case_id: str, systems: Sequence[ReportedSystem]
) -> tuple[LabelMap, Mapping[str, LabelMap]]:
    """Read the truth of a case, and by name the prediction of each system that has a usable one.

    Raises:
        MissingFile, DataError: As `read_case`.
    """
    present = _systems_with(systems, case_id)
    truth = dataset.read_label(_find(dataset, case_id), _plane_of(present))
    return truth, _predictions(present, case_id, truth)


def read_boxes(path: Path) -> Boxes:
    """Read the boxes that prompted a case; empty if there is no such file, or it was not written by `study`."""
    if not path.is_file():
        return {}
    try:
        slices = read_json(path, BadTable)["slices"]
        return {
            int(index): {int(value): _box(corners) for value, corners in boxes.items()}
            for index, boxes in slices.items()
        }
    except (SautomedError, KeyError, TypeError, ValueError, AttributeError):  # the figure is useful without boxes
        return {}


def _box(corners: Sequence[float]) -> Box:
    x0, y0, x1, y1 = (float(corner) for corner in corners)
    return x0, y0, x1, y1


def _find(dataset: Dataset, case_id: str) -> Case:
    found = next((case for case in dataset.cases if case.id == case_id), None)
    if found is None:
        raise MissingFile(f"has no case {case_id}.", where=dataset.folder, cure="Restore the dataset as it was.")
    return found


def _systems_with(systems: Sequence[ReportedSystem], case_id: str) -> list[tuple[ReportedSystem, Run]]:
    return [(system, run) for system in systems if (run := system.run_of(case_id)) is not None]


def _plane_of(present: Sequence[tuple[ReportedSystem, Run]]) -> Plane:
    return present[0][1].plane


def _predictions(present: Sequence[tuple[ReportedSystem, Run]], case_id: str, truth: LabelMap) -> dict[str, LabelMap]:
    read = {system.name: _prediction(run, case_id, truth) for system, run in present}
    return {name: found for name, found in read.items() if found is not None}


def _prediction(run: Run, case_id: str, truth: LabelMap) -> LabelMap | None:
    path = run.prediction_of(case_id)
    try:
        found = read_labels(path, truth.plane)
        require_same_grid(truth, found, first_name="truth", second_name="prediction", where=path)
    except DataError:  # show the other systems
        return None
    return found
