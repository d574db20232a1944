"""A small study on disk: seven systems, two folds, with predictions, boxes, training logs and costs.

Its dataset has eight cases with blobs for three organs, four cases per fold; case_1 has no gallbladder. The systems:

- 3D-SAutoMed: nearly right, with its own boxes.
- SAMed: one voxel off; misses the gallbladder of case_0.
- TransUNet: two voxels off; invents a gallbladder in case_1.
- Slide-SAM: right, but prompted with a box from the truth.
- MA-SAM: done on fold 0, failed on fold 1.
- Swin-Unet: failed on both folds.
- SAM: left out.
"""

import base64
import csv
import json
import shutil
from io import BytesIO
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image

from sautomed.report.table import Cell, Table
from sautomed.study.report.grouping import Group, comparable_groups
from sautomed.study.report.runs import read_study
from sautomed.study.report.tables import study_tables

LABELS = {1: "liver", 2: "left_kidney", 3: "gallbladder"}
FOLDS = ([f"case_{i}" for i in range(4)], [f"case_{i}" for i in range(4, 8)])
SHAPE, SPACING_MM = (48, 40, 10), (5.0, 5.0, 10.0)
CENTRES, RADII = {1: (33, 20, 5), 2: (12, 13, 5), 3: (24, 31, 5)}, {1: (10, 11, 3.6), 2: (5, 5, 2.6), 3: (3, 3, 2)}
WITHOUT_GALLBLADDER = "case_1"
AUTOMED = "3D-SAutoMed"


@pytest.fixture(scope="session")
def fake_dataset(tmp_path_factory) -> Path:
    """The dataset of the study, in nnU-Net's raw layout."""
    folder = tmp_path_factory.mktemp("data") / "Dataset043_Blobs"
    for case in FOLDS[0] + FOLDS[1]:
        truth = _truth(case)
        noise = np.random.default_rng(_number(case)).normal(0, 8, SHAPE)
        image = 60 + 70 * (truth == 1) + 120 * (truth == 2) - 40 * (truth == 3) + noise
        _save(folder / "imagesTr" / f"{case}_0000.nii.gz", image.astype(np.float32))
        _save(folder / "labelsTr" / f"{case}.nii.gz", truth)
    _write_json(
        folder / "dataset.json",
        {
            "channel_names": {"0": "MR"},
            "labels": {"background": 0, **{name: value for value, name in LABELS.items()}},
            "numTraining": 8,
            "file_ending": ".nii.gz",
        },
    )
    return folder


@pytest.fixture(scope="session")
def fake_study(fake_dataset, tmp_path_factory) -> Path:
    """The study's folder; tests only read it (others take `study_copy`)."""
    folder = tmp_path_factory.mktemp("study") / "blobs"
    runs = []
    for fold in (0, 1):
        for order, (label, prompts, status, predict) in enumerate(SYSTEMS):
            status = status if isinstance(status, str) else status[fold]
            runs.append(_write_run(folder, fake_dataset, label, prompts, status, predict, fold, order))
    _write_json(folder / "study.json", {"title": "Blobs in miniature", "runs": [{"id": run} for run in runs]})
    return folder


@pytest.fixture
def study_copy(fake_study, tmp_path) -> Path:
    """A copy of the study that a test may change."""
    return shutil.copytree(fake_study, tmp_path / "blobs")


@pytest.fixture(scope="session")
def group(fake_study) -> Group:
    """The first group: all systems that were scored on both folds."""
    return comparable_groups(read_study(fake_study))[0]


@pytest.fixture(scope="session")
def image_of():
    """Decode a data URL: image_of(url)."""

    def decode(url: str) -> Image.Image:
        return Image.open(BytesIO(base64.b64decode(url.partition(",")[2])))

    return decode


@pytest.fixture(scope="session")
def tables(fake_study) -> dict[str, Table]:
    """Tables of the first group, by the end of their name: overview, dsc, against_best_nsd."""
    (of_group, _) = study_tables(read_study(fake_study))
    return {table.name.removeprefix(f"{of_group.group.name}_"): table for table in of_group.tables}


@pytest.fixture(scope="session")
def cell():
    """Find a cell: cell(table, system, column key)."""

    def find(table: Table, system: str, key: str) -> Cell:
        row = next(row for row in table.rows if row.name == system)
        return row.cells[[column.key for column in table.columns].index(key)]

    return find


@pytest.fixture
def change_run():
    """Change entries of a run.json: change_run(study_folder, run_id, seed=1)."""

    def change(study: Path, run_id: str, **entries) -> None:
        path = study / "runs" / run_id / "run.json"
        _write_json(path, {**json.loads(path.read_text()), **entries})

    return change


def _automed(truth, case):
    return _with_noise(truth, case, 0.015)


def _samed(truth, case):
    predicted = _with_noise(np.roll(truth, 1, axis=0), case, 0.03)
    return np.where(predicted == 3, 0, predicted) if case == "case_0" else predicted


def _transunet(truth, case):
    predicted = _with_noise(np.roll(truth, 2, axis=1), case, 0.05)
    if case == WITHOUT_GALLBLADDER:
        predicted[22:26, 29:33, 4:6] = 3
    return predicted


def _masam(truth, case):
    return _with_noise(np.roll(truth, 1, axis=1), case, 0.03)


def _slidesam(truth, case):
    return truth


SYSTEMS = (  # label, prompts, status (of each fold), prediction from the truth
    (AUTOMED, "none", "done", _automed),
    ("SAMed", "none", "done", _samed),
    ("TransUNet", "none", "done", _transunet),
    ("Slide-SAM", "box", "done", _slidesam),
    ("MA-SAM", "none", ("done", "failed"), _masam),
    ("Swin-Unet", "none", "failed", None),
    ("SAM", "points", "left_out", None),
)
ERRORS = {
    "done": None,
    "failed": {"id": "SAM-E0601", "text": "8.1 GB were needed and 4.0 GB are there."},
    "left_out": {"id": "", "text": "an untrained trunk cannot segment zero-shot"},
}


def _write_run(folder: Path, dataset: Path, label, prompts, status, predict, fold, order) -> str:
    name = label.lower().replace("-", "_")
    run_id, training = f"{name}__blobs__fold{fold}__seed0", f"trainings/{name}__blobs__seed0/fold_{fold}"
    run, trained = folder / "runs" / run_id, status == "done" and label != "SAM"
    if status == "done":
        for case in FOLDS[fold]:
            predicted = predict(_truth(case), case).astype(np.uint8)
            _save(run / "predictions" / f"{case}.nii.gz", predicted)
            if label in (AUTOMED, "Slide-SAM"):
                _write_json(run / "prompts" / f"{case}.json", {"slices": _boxes(run, case)})
        _score(run, dataset)
    if trained:
        _write_log(folder / training / "log.csv", order)
    entry = {
        "id": run_id, "order": order, "label": label, "model": name, "preset": name, "setting": "",
        "dataset": "blobs", "dataset_folder": str(dataset), "layout": "auto", "plane": "axial", "fold": fold, "seed": 0,
        "prompts": prompts, "note": "", "convention": "ours", "tolerance_mm": 2.0,
        "status": status, "error": ERRORS[status],
        "cases": FOLDS[fold], "train_cases": FOLDS[1 - fold], "labels": {str(k): name for k, name in LABELS.items()},
        "costs": _costs(order) if status == "done" else None,
        "machine": "2 cores, no GPU", "date": "2026-11-23", "training": training if trained else None,
    }  # fmt: skip
    _write_json(run / "run.json", entry)
    return run_id


def _costs(order: int) -> dict:
    return {
        "parameters": 1_000_000 * (order + 1),
        "trained": 250_000 * (order + 1),
        "flops_per_volume": 3.2e11 * (order + 1),
        "seconds_per_volume": 1.5 + order,
        "peak_bytes": 900_000_000,
        "cuda_peak_bytes": None,
        "train_minutes": 20.0,
        "cpu_minutes": 38.0,
        "steps": 1200 - 100 * order,
    }


def _score(run: Path, dataset: Path) -> None:
    from sautomed.evaluation.evaluate import evaluate

    evaluate(run / "predictions", dataset, run / "scores")


def _write_log(path: Path, order: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = ["step", "elapsed_s", "lr", "loss", "ce", "dice", "box", "presence", "val_dsc"]
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        for step in range(10, 310, 10):
            loss = 0.9 * 0.99 ** (step / (order + 1)) + 0.1
            row = {"step": step, "elapsed_s": step * 0.4, "lr": 1e-3, "loss": loss, "ce": loss / 2, "dice": loss * 1.1}
            writer.writerow({**row, "box": 0, "presence": 0})
            if step % 50 == 0:
                val_dsc = (0.9 - 0.05 * order) * (1 - 0.98 ** (step / 2))
                writer.writerow({"step": step, "elapsed_s": step * 0.4, "val_dsc": val_dsc})


def _boxes(run: Path, case: str) -> dict[str, dict[str, list[int]]]:
    from sautomed.scans.read import read_labels

    slices = read_labels(run / "predictions" / f"{case}.nii.gz", "axial").array
    return {
        str(t): {str(k): _box(labels == k) for k in LABELS if np.any(labels == k)}
        for t, labels in enumerate(slices)
        if labels.any()
    }


def _box(mask: np.ndarray) -> list[int]:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return [int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1]


def _truth(case: str) -> np.ndarray:
    """Make blobs that differ between patients."""
    rng, labels = np.random.default_rng(100 + _number(case)), np.zeros(SHAPE, np.uint8)
    grid = np.moveaxis(np.indices(SHAPE), 0, -1)
    for value in LABELS:
        centre = np.array(CENTRES[value]) + rng.uniform([-2, -2, -0.5], [2, 2, 0.5])
        radii = np.array(RADII[value]) * rng.uniform(0.9, 1.1)
        if value != 3 or case != WITHOUT_GALLBLADDER:
            labels[(((grid - centre) / radii) ** 2).sum(-1) <= 1] = value
    return labels


def _with_noise(labels: np.ndarray, case: str, share: float) -> np.ndarray:
    """Remove a share of the voxels of every organ."""
    return np.where(np.random.default_rng(_number(case)).random(SHAPE) < share, 0, labels)


def _number(case: str) -> int:
    return int(case.removeprefix("case_"))


def _save(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(array, np.diag([*SPACING_MM, 1.0])), path)


def _write_json(path: Path, value) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=1))
