"""Training nnU-Net and predicting with it; its process is replaced by a function, so none of this needs nnU-Net."""

import json
from itertools import count
from types import SimpleNamespace

import nibabel
import numpy as np
import pytest

from sautomed.datasets import read_dataset
from sautomed.datasets.folds import Fold
from sautomed.errors import ExternalFailed, NotAModel, PackageMissing
from sautomed.scans import read_labels
from sautomed.study import nnunet
from sautomed.study.nnunet import process, train_and_predict
from sautomed.study.nnunet.settings import NnUNetSettings

FOLD = Fold(("block_0", "block_3"), ("block_1",))


@pytest.fixture
def jobs(monkeypatch):
    """Replace nnU-Net's process by a function that predicts the organ `dark` everywhere; returns its jobs by step.

    The clocks pass 20 s (wall) and 5 s (processor) each time that they are read; training starts at 1000 s.
    """
    jobs = {}

    def play(step, job, folder, device):
        jobs[step] = job
        for scan, target in zip(job.get("scans", ()), job.get("predictions", ()), strict=True):
            image = nibabel.load(scan)
            nibabel.save(nibabel.Nifti1Image(np.full(image.shape, 2, np.uint8), image.affine), target)
        costs = {"processor_s": 40.0, "peak_bytes": 5, "cuda_peak_bytes": None, "seconds": [1.5]}
        return {**costs, "plans": "nnUNetPlans", "model": "M", "steps": 7, "parameters": 11}

    wall_s, processor_s = count(100, 20), count(0, 5)
    clocks = SimpleNamespace(
        monotonic=lambda: next(wall_s), process_time=lambda: next(processor_s), time=lambda: 1000.0
    )
    monkeypatch.setattr(train_and_predict, "time", clocks)
    monkeypatch.setattr(process, "find_spec", lambda name: name)
    monkeypatch.setattr(train_and_predict, "run_step", play)
    return jobs


def test_without_the_package_the_cure_is_its_installation(dataset_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(process, "find_spec", lambda name: None)
    assert not nnunet.available()
    with pytest.raises(PackageMissing, match=r'pip install "sautomed\[nnunet\]"'):
        nnunet.train(read_dataset(dataset_folder), FOLD, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_training_and_a_prediction_from_end_to_end(dataset_folder, tmp_path, jobs):
    dataset, run, heard = read_dataset(dataset_folder), tmp_path / "run", []
    settings = NnUNetSettings(configuration="2d", memory_gb=2)
    training = nnunet.train(dataset, FOLD, run, minutes=5, seed=3, device="cpu", settings=settings)
    assert jobs["prepare"] == {"number": 1, "configuration": "2d", "planner": "ExperimentPlanner", "memory_gb": 2.0}
    assert jobs.pop("train")["seed"] == 3
    assert nnunet.train(dataset, FOLD, run, minutes=5) == training
    assert "train" not in jobs  # a finished training is not repeated
    assert training.cases == FOLD.train
    split = next((run / "preprocessed").glob("*/splits_final.json"))
    assert json.loads(split.read_text()) == [{"train": ["block_0", "block_3"], "val": ["block_1"]}]
    output = tmp_path / "out"
    nnunet.predict(training, dataset, FOLD.val, output, device="cpu", on_case=lambda *case: heard.append(case))
    assert heard == [(1, 1, "block_1")]
    predicted = read_labels(output / "block_1.nii.gz")
    assert predicted.array.shape == dataset.read_label(dataset.cases[1]).array.shape
    assert set(predicted.voxel_counts()) == {5}
    assert not (run / "predicting").exists()


def test_minutes_of_the_wall_clock_start_with_the_data(dataset_folder, tmp_path, jobs):
    training = nnunet.train(read_dataset(dataset_folder), FOLD, tmp_path, minutes=5, device="cpu")
    assert jobs["train"]["budget"] == {"seconds": 300 - 20, "clock": "wall", "sent": 1000.0}
    assert training.minutes == pytest.approx(40 / 60, abs=0.01)


def test_minutes_of_processor_time_include_those_of_planning(dataset_folder, tmp_path, jobs):
    training = nnunet.train(read_dataset(dataset_folder), FOLD, tmp_path, minutes=2, clock="processor", device="cpu")
    assert jobs["train"]["budget"] == {"seconds": 120 - 5 - 40, "clock": "processor", "sent": 1000.0}
    assert training.minutes == training.cpu_minutes == pytest.approx((5 + 40 + 40) / 60, abs=0.01)


def test_a_budget_that_planning_uses_up_is_refused(dataset_folder, tmp_path, jobs):
    with pytest.raises(ExternalFailed, match=r"Give more than 0\.3 minutes"):
        nnunet.train(read_dataset(dataset_folder), FOLD, tmp_path, minutes=0.3, device="cpu")
    assert "train" not in jobs


def test_an_unfinished_training_is_no_model(tmp_path):
    with pytest.raises(NotAModel):
        nnunet.read_training(tmp_path)
