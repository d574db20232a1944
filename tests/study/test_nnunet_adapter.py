"""nnU-Net in a study; its process is replaced by a function."""

import nibabel
import numpy as np
import pytest

from sautomed import errors
from sautomed.study import plan_runs, read_study_file
from sautomed.study.nnunet import process

NNUNET = [{"label": "nnU-Net", "preset": "nnunet", "set": ["configuration=2d"]}]
RUN = "nnu_net__blocks__fold0__seed0"


@pytest.fixture
def played(monkeypatch):
    """Replace nnU-Net's process by a function that predicts the organ `dark` everywhere; returns its jobs."""
    jobs = {}

    def play(step, job, folder, device):
        jobs[step] = job
        for scan, target in zip(job.get("scans", ()), job.get("predictions", ()), strict=True):
            image = nibabel.load(scan)
            nibabel.save(nibabel.Nifti1Image(np.full(image.shape, 2, np.uint8), image.affine), target)
        costs = {"processor_s": 30.0, "peak_bytes": 5, "cuda_peak_bytes": None, "parameters": 11}
        return {**costs, "plans": "P", "model": "M", "steps": 7, "seconds": [2.0] * len(job.get("scans", ()))}

    monkeypatch.setattr(process, "find_spec", lambda name: name)
    monkeypatch.setattr("sautomed.study.nnunet.train_and_predict.run_step", play)
    return jobs


def test_nnunet_is_a_run_like_any_other(run_file, study_file, record, output, played):
    few = [{"name": "2 cases", "train_cases": 2}]
    assert run_file(study_file(models=NNUNET, settings=few)) == {"nnu_net__blocks__2_cases__fold0__seed0": "done"}
    run = record("nnu_net__blocks__2_cases__fold0__seed0")
    assert run["model"] == "nnunet"
    assert len(run["train_cases"]) == 2
    assert run["costs"]["steps"] == 7
    assert run["costs"]["seconds_per_volume"] == 2.0
    assert run["costs"]["parameters"] == 11
    assert (output / "runs" / run["id"] / "scores" / "scores.csv").is_file()
    assert played["prepare"]["configuration"] == "2d"


def test_without_the_package_the_run_fails_with_the_cure(run_file, study_file, record, monkeypatch):
    monkeypatch.setattr(process, "find_spec", lambda name: None)
    with pytest.raises(errors.SomeCasesFailed):
        run_file(study_file(models=NNUNET))
    assert record(RUN)["error"]["id"] == errors.PackageMissing.id
    assert "pip install" in record(RUN)["error"]["text"]


def test_unknown_settings_of_nnunet_are_refused_before_any_run(study_file):
    wrong = [NNUNET[0] | {"set": ["train.batch=4"]}]
    with pytest.raises(errors.UnknownSetting, match="configuration, planner, memory_gb"):
        plan_runs(read_study_file(study_file(models=wrong)))
