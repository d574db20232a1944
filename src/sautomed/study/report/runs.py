"""The runs of a study as they lie in its folder: what was asked, how it ended, what it cost, each case's scores.

Knows nothing of tables or pictures.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from sautomed.errors import BadTable, MissingFile
from sautomed.scans.paths import read_json, require_file

Prompts = Literal["none", "box", "points"]
RunStatus = Literal["done", "failed", "left_out"]

# What a person, or here the truth, had to give; said beside every score of such a system.
PROMPT_WORDS: Mapping[Prompts, str] = MappingProxyType(
    {"none": "none", "box": "box from the truth", "points": "points from the truth"}
)
# Columns of scores.csv that are no metric; all others are, whatever the convention calls them.
_NO_METRIC = frozenset({"case", "class_id", "class", "tolerance_mm", "volume_pred_ml", "volume_ref_ml", "status"})
_SHOWN = ("order", "label", "setting", "note")  # of a run, in study.json
_STUDY_CURE = "Name the folder that sautomed study wrote."
_RUN_CURE = "Take the run's folder away and let sautomed study --resume do it again."


@dataclass(frozen=True)
class Costs:
    """What a run cost.

    Args:
        parameters, trained: Numbers of the model, all and those that were trained.
        flops_per_volume: None where it was not counted.
        seconds_per_volume: Wall time of segmenting one case.
        peak_bytes, cuda_peak_bytes: Of the process, and on the GPU if there was one.
        train_minutes: Of the training, on the clock of the study's minutes.
        cpu_minutes: Processor time of the training.
        steps: Of the optimiser.
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
    """Why a run failed or was left out; the id is empty where no typed error stands behind it."""

    text: str
    id: str = ""


@dataclass(frozen=True)
class Run:
    """One system on one fold of one dataset with one seed: run.json and where it lies.

    Args:
        label, setting: Together a row of the tables ("SAMed", "3 cases"); the setting may be empty.
        prompts: What the system was told from the truth.
        note: Shown beside the row.
        cases, train_cases: Ids.
        labels: Name of each label value, without the background.
        patients: Patient of a case, where one patient has several; a case that is not named is a patient of its own.
        training: Folder of the training below the study's.
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
    plane: str = "axial"
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
        """Whether the truth told the system something at test time."""
        return self.prompts != "none"

    @property
    def row(self) -> tuple[str, str]:
        """Label and setting: runs that share them are one row."""
        return self.label, self.setting

    @property
    def row_name(self) -> str:
        """`SAMed (3 cases)`."""
        return f"{self.label} ({self.setting})" if self.setting else self.label

    @property
    def reason(self) -> str:
        """Why there are no scores; empty for a run that is done."""
        if self.status == "done":
            return ""
        return self.error.text if self.error else "no reason was written down"

    @property
    def predictions(self) -> Path:
        """Folder of CASE.nii.gz."""
        return self.folder / "predictions"

    @property
    def prompts_folder(self) -> Path:
        """Folder of CASE.json; only there for systems with boxes."""
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
        """STUDY/trainings/TID/fold_K; None for a system that was not trained."""
        return self.folder.parent.parent / self.training if self.training else None

    @property
    def training_log(self) -> Path | None:
        """log.csv of the training, None where there is none."""
        path = self.training_folder / "log.csv" if self.training_folder else None
        return path if path is not None and path.is_file() else None

    def prediction_of(self, case: str) -> Path:
        """The predicted label map of a case."""
        return self.predictions / f"{case}.nii.gz"

    def prompts_of(self, case: str) -> Path:
        """The boxes that prompted a case; not there for systems without."""
        return self.prompts_folder / f"{case}.json"

    def patient_of(self, case: str) -> str:
        """The patient that a case is of."""
        return self.patients.get(case, case)


@dataclass(frozen=True)
class Study:
    """A study.

    Args:
        runs: Those that have ended, in the study's order.
        pending: Ids of runs that were planned and have not ended.
    """

    title: str
    runs: tuple[Run, ...]
    folder: Path
    pending: tuple[str, ...] = ()


@dataclass(frozen=True)
class CaseScore:
    """One class in one case.

    Args:
        values: By metric, named as the convention's columns; nan where there is none.
        status: scored, absent, missed, spurious or failed, as `sautomed.evaluation.scores.Status`.
    """

    case: str
    class_id: int
    class_name: str
    values: Mapping[str, float]
    status: str


def read_study(folder: str | Path) -> Study:
    """Read study.json and the runs/ID/run.json of its runs.

    What a row is called and where it stands is as study.json says now, since its file may have changed after a run
    ended. Runs that the file no longer has are passed over, as long as it names any.

    Raises:
        MissingFile: There is no study, or no run of it has ended.
        BadTable: study.json or a run.json lacks an entry or holds another type.
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
    """The rows of a run's scores.csv, in its order.

    Raises:
        MissingFile: The run has none, as when it failed.
        BadTable: A column is absent, or text stands where a number belongs.
    """
    require_file(run.scores_csv)
    with run.scores_csv.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        rows = list(reader)
    metrics = [name for name in reader.fieldnames or [] if name not in _NO_METRIC]
    try:
        return [
            CaseScore(
                row["case"],
                int(row["class_id"]),
                row["class"],
                {metric: float(row[metric]) if row[metric] else math.nan for metric in metrics},
                row["status"],
            )
            for row in rows
        ]
    except (KeyError, ValueError, TypeError) as error:
        raise BadTable(
            f"lacks a column, or holds text for a number: {error}.", where=run.scores_csv, cure=_RUN_CURE
        ) from error


def metric_names(scores: Sequence[CaseScore]) -> tuple[str, ...]:
    """The metrics that rows hold, in the order of the columns."""
    return tuple(dict.fromkeys(metric for score in scores for metric in score.values))


def _read_run(path: Path, planned: Mapping[str, Any]) -> Run:
    shown = {name: planned[name] for name in _SHOWN if name in planned}
    entries = {**_read_object(path, _RUN_CURE), **shown, "folder": path.parent}
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
    """What study.json says of each of its runs, by id."""
    planned = described.get("runs")
    runs = [run for run in planned if isinstance(run, dict)] if isinstance(planned, list) else []
    return {str(run["id"]): run for run in runs if run.get("id")}


_RUN = TypeAdapter(Run)
