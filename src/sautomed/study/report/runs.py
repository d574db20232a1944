"""Runs of a study, read from its folder: settings, how each ended, its costs, and the scores of each case.

Knows nothing of tables or pictures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from sautomed.errors import BadTable, MissingFile
from sautomed.report.scores import CaseScore, read_case_scores
from sautomed.scans.grid import Plane
from sautomed.scans.paths import read_json

Prompts = Literal["none", "box", "points"]
RunStatus = Literal["done", "failed", "left_out"]

# What a person would give at test time, and here the truth gives; shown beside every score of such a system.
PROMPT_WORDS: Mapping[Prompts, str] = MappingProxyType(
    {"none": "none", "box": "box from the truth", "points": "points from the truth"}
)
_FROM_STUDY = ("order", "label", "setting", "note")  # entries of a run that study.json overrides
_STUDY_CURE = "Name the folder that sautomed study wrote."
_RUN_CURE = "Delete the run's folder and run it again with sautomed study --resume."


@dataclass(frozen=True)
class Costs:
    """Costs of a run; None for what was not measured.

    Args:
        parameters, trained: Number of parameters of the model, and of those that were trained.
        seconds_per_volume: Wall time of segmenting one case.
        peak_bytes, cuda_peak_bytes: Peak memory of the process, and on the GPU if there was one.
        train_minutes: Length of the training, by the clock that the study's minutes are measured with.
        cpu_minutes: Processor time of the training.
        steps: Steps of the optimiser.
    """

    parameters: int | None = None
    trained: int | None = None
    flops_per_volume: float | None = None
    seconds_per_volume: float | None = None
    peak_bytes: int | None = None
    cuda_peak_bytes: int | None = None
    train_minutes: float | None = None
    cpu_minutes: float | None = None
    steps: int | None = None


@dataclass(frozen=True)
class RunError:
    """Why a run failed or was left out; `id` is empty if the cause was not one of our errors."""

    text: str
    id: str = ""


@dataclass(frozen=True)
class Run:
    """One system on one fold of one dataset with one seed: its run.json and its folder.

    Args:
        label, setting: Together the name of a row of the tables ("SAMed", "3 cases"); the setting may be empty.
        prompts: What the system is given from the truth at test time.
        note: Shown beside the row.
        cases, train_cases: Ids.
        labels: Name of each label value, without the background.
        patients: Patient by case, for patients with several cases; any other case is its own patient.
        training: Folder of the training, relative to the study's.
        folder: STUDY/runs/ID.
    """

    id: str
    label: str
    model: str
    dataset: str
    fold: int
    status: RunStatus
    folder: Path
    order: int = 0
    preset: str = ""
    setting: str = ""
    dataset_folder: str = ""
    layout: str = "auto"
    plane: Plane = "axial"
    seed: int = 0
    prompts: Prompts = "none"
    note: str = ""
    convention: str = "ours"
    tolerance_mm: float | None = None
    error: RunError | None = None
    cases: tuple[str, ...] = ()
    train_cases: tuple[str, ...] = ()
    labels: Mapping[int, str] = field(default_factory=dict)
    patients: Mapping[str, str] = field(default_factory=dict)
    costs: Costs | None = None
    machine: str = ""
    date: str = ""
    training: str | None = None

    @property
    def is_oracle(self) -> bool:
        """Whether the system is prompted from the truth at test time."""
        return self.prompts != "none"

    @property
    def row(self) -> tuple[str, str]:
        """Label and setting; runs that share them are one row."""
        return self.label, self.setting

    @property
    def row_name(self) -> str:
        """`SAMed (3 cases)`."""
        return f"{self.label} ({self.setting})" if self.setting else self.label

    @property
    def reason(self) -> str:
        """Why the run has no scores; empty for a run that is done."""
        if self.status == "done":
            return ""
        return self.error.text if self.error else "no reason was written down"

    @property
    def predictions(self) -> Path:
        """Folder of CASE.nii.gz."""
        return self.folder / "predictions"

    @property
    def prompts_folder(self) -> Path:
        """Folder of CASE.json; exists only for systems with boxes."""
        return self.folder / "prompts"

    @property
    def scores_csv(self) -> Path:
        """One line per case and class."""
        return self.folder / "scores" / "scores.csv"

    @property
    def summary_json(self) -> Path:
        """Means, intervals, and the notes of the convention."""
        return self.folder / "scores" / "summary.json"

    @property
    def training_folder(self) -> Path | None:
        """STUDY/trainings/ID/fold_K; None for a system that was not trained."""
        return self.folder.parent.parent / self.training if self.training else None

    @property
    def training_log(self) -> Path | None:
        """log.csv of the training; None if there is none."""
        path = self.training_folder / "log.csv" if self.training_folder else None
        return path if path is not None and path.is_file() else None

    def prediction_of(self, case: str) -> Path:
        """Return the path of the predicted label map of a case."""
        return self.predictions / f"{case}.nii.gz"

    def prompts_of(self, case: str) -> Path:
        """Return the path of the boxes that prompted a case; the file exists only for systems with boxes."""
        return self.prompts_folder / f"{case}.json"

    def patient_of(self, case: str) -> str:
        """Return the patient of a case."""
        return self.patients.get(case, case)


@dataclass(frozen=True)
class Study:
    """A study.

    Args:
        runs: Runs that have ended, in the study's order.
        pending: Ids of planned runs that have not ended.
    """

    title: str
    runs: tuple[Run, ...]
    folder: Path
    pending: tuple[str, ...] = ()


def read_study(folder: str | Path) -> Study:
    """Read study.json and the runs/ID/run.json of its runs.

    Name, note and order of a row are taken from study.json, since its study file may have changed after a run ended.
    If study.json lists runs, all others are skipped.

    Raises:
        MissingFile: There is no study, or none of its runs has ended.
        BadTable: study.json or a run.json lacks an entry, or an entry has another type.
    """
    folder = Path(folder)
    described = _read_object(folder / "study.json", _STUDY_CURE)
    planned = _planned(described)
    paths = {path.parent.name: path for path in sorted((folder / "runs").glob("*/run.json"))}
    runs = [_read_run(path, planned.get(name, {})) for name, path in paths.items() if name in planned or not planned]
    if not runs:
        raise MissingFile(
            "holds no run that has ended.", where=folder / "runs", cure="Wait for the first one, or start the study."
        )
    runs.sort(key=lambda run: (run.order, run.id))
    ended = {run.id for run in runs}
    pending = tuple(name for name in planned if name not in ended)
    return Study(str(described.get("title") or folder.name), tuple(runs), folder, pending)


def case_scores(run: Run) -> list[CaseScore]:
    """Read the rows of a run's scores.csv, in the order of the file.

    Raises:
        MissingFile: The run has none, for instance because it failed.
        BadTable: A column is missing, or a field is not a number.
    """
    return read_case_scores(run.scores_csv, _RUN_CURE)


def metric_names(scores: Sequence[CaseScore]) -> tuple[str, ...]:
    """Return the metrics of some scores, in the order of the columns."""
    return tuple(dict.fromkeys(metric for score in scores for metric in score.values))


def _read_run(path: Path, planned: Mapping[str, Any]) -> Run:
    changed = {name: planned[name] for name in _FROM_STUDY if name in planned}
    entries = {**_read_object(path, _RUN_CURE), **changed, "folder": path.parent}
    try:
        return _RUN.validate_python(entries)
    except ValidationError as error:
        first = error.errors()[0]
        entry = ".".join(str(part) for part in first["loc"]) or "the file"
        raise BadTable(f"{entry}: {first['msg']}.", where=path, cure=_RUN_CURE) from error


def _read_object(path: Path, cure: str) -> dict[str, Any]:
    found = read_json(path, BadTable)
    if not isinstance(found, dict):
        raise BadTable("must hold one JSON object.", where=path, cure=cure)
    return found


def _planned(described: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the entries of each run in study.json, by id."""
    planned = described.get("runs")
    runs = [run for run in planned if isinstance(run, dict)] if isinstance(planned, list) else []
    return {str(run["id"]): run for run in runs if run.get("id")}


_RUN = TypeAdapter(Run)
