"""The command `demo`: from no data to a report on phantoms, in a few minutes on two cores."""

from __future__ import annotations

import json
import os
import platform
import time
from dataclasses import dataclass
from pathlib import Path

from sautomed.cli.progress import Stages
from sautomed.config import load_settings
from sautomed.datasets import Case, Dataset, read_dataset
from sautomed.datasets.folds import Fold
from sautomed.errors import TargetExists
from sautomed.evaluation.evaluate import evaluate
from sautomed.inference.batch import Job, Plan, run_plan
from sautomed.inference.model import load
from sautomed.inference.preview import draw_preview
from sautomed.phantom import write_phantoms
from sautomed.report import write_report
from sautomed.scans import read_labels
from sautomed.scans.files import write_json
from sautomed.training.plan import TrainingPlan
from sautomed.training.train import train

KIND = "abdomen-ct"
CASES, HELD_OUT = 20, 4
TRAIN_MINUTES = 4.3  # ours: with all the rest under five on two cores
PICTURES = 3
# Ours: so short a training needs fewer pixels, milder augmentation, more single slices and more but smaller steps, and
# has no time to teach 13 organs to heed prompts that contradict the image.
SETTINGS = (
    "data.image_size=128",
    "model.prompt_head=false",
    "train.prompt_rows=0",
    "train.batch=2",
    "train.validate_every=200",
    "train.singles=0.8",
    "train.balanced=0.7",
    "train.augment.probability=0.4",
    "train.augment.rotate_degrees=8",
    "train.augment.scale=0.1",
    "train.augment.shift=0.04",
    "train.augment.intensity_probability=0.1",
)


@dataclass(frozen=True)
class DemoFolders:
    """The folders that the verbs of the demo write."""

    root: Path

    @property
    def data(self) -> Path:
        return self.root / "Dataset900_Phantom"

    @property
    def run(self) -> Path:
        return self.root / "run"

    @property
    def masks(self) -> Path:
        return self.root / "masks"

    @property
    def scores(self) -> Path:
        return self.root / "scores"


def run_demo(output: Path, seed: int, stages: Stages, minutes: float = TRAIN_MINUTES) -> Path:
    """Make phantoms, train `tiny` on most, segment the rest, score them and write a report.

    Args:
        output: A folder that is new or empty.
        minutes: Of training.
    Returns:
        The path of `report.html`.
    Raises:
        TargetExists: The folder is not empty, or is a file.
    """
    if output.exists() and not output.is_dir():
        raise TargetExists("is a file, but a folder is needed.", where=output, cure="Give another place with -o.")
    if output.exists() and any(output.iterdir()):
        raise TargetExists("is not empty.", where=output, cure="Give another folder with -o, or empty this one.")
    started, folders = time.monotonic(), DemoFolders(output)
    write_phantoms(folders.data, CASES, KIND, seed, on_case=stages.counter("Making phantoms"))
    dataset = read_dataset(folders.data)
    held_out = dataset.cases[-HELD_OUT:]
    _hold_out(folders, dataset, held_out)
    plan = TrainingPlan(folders.data, folders.run, load_settings("tiny", SETTINGS), 0, seed, minutes)
    model_folder = train(plan, stages.training_callbacks())
    jobs = tuple(Job(case.id, case.image, (folders.masks / f"{case.id}.nii.gz",)) for case in held_out)
    outcome = run_plan(load(model_folder), Plan(jobs), stages.slices("Segmenting", len(jobs)))
    if outcome.failures:
        raise outcome.failures[0].error
    evaluate(folders.masks, folders.data / "labelsTr", folders.scores, on_case=stages.counter("Scoring"))
    pictures = [_picture(folders, dataset, case) for case in held_out[:PICTURES]]
    return _report(folders, model_folder, pictures, time.monotonic() - started)


def _hold_out(folders: DemoFolders, dataset: Dataset, held_out: tuple[Case, ...]) -> None:
    """Write one fold that leaves out the held-out cases altogether, so that nothing is chosen by them."""
    ids = [case.id for case in dataset.cases if case not in held_out]
    fold = Fold(train=tuple(ids[:-1]), val=tuple(ids[-1:]))
    write_json(folders.run / "splits_final.json", [{"train": list(fold.train), "val": list(fold.val)}])


def _picture(folders: DemoFolders, dataset: Dataset, case: Case) -> tuple[str, Path]:
    volume, truth = dataset.load(case, "axial")
    path = folders.masks / f"{case.id}.png"
    labels = read_labels(folders.masks / f"{case.id}.nii.gz", volume.plane, dict(dataset.labels))
    draw_preview(volume, labels, path, reference=truth)
    return f"{case.id}: segmented (filled) and true (dashed)", path


def _report(folders: DemoFolders, model: Path, pictures: list[tuple[str, Path]], seconds: float) -> Path:
    metrics = json.loads((model / "metrics.json").read_text())
    page = folders.root / "report.html"
    write_report(
        page,
        title="3D-SAutoMed on phantoms",
        facts=[
            ("Data", f"{CASES} phantoms of kind {KIND}, {HELD_OUT} of them held out and scored here"),
            ("Model", "preset tiny at 128 pixels with milder augmentation, without prompt head, trained from scratch"),
            ("Training", f"{metrics['steps']} steps in {metrics['minutes']} minutes"),
            ("Total", f"{seconds / 60:.1f} minutes on {platform.machine()}, {os.cpu_count()} cores"),
            ("Model folder", str(model.relative_to(folders.root))),
        ],
        curve=model.parent / "log.csv",
        scores=folders.scores / "scores.csv",
        summary=folders.scores / "summary.json",
        pictures=pictures,
    )
    return page
