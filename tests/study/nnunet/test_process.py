"""The process that nnU-Net runs in: its environment, its command, its end; none of this needs nnU-Net."""

import json
import os
import sys
import time

import psutil
import pytest

from sautomed.datasets import read_dataset
from sautomed.datasets.folds import Fold
from sautomed.errors import ExternalFailed, NotAModel, PackageMissing, UnknownSetting
from sautomed.scans.files import write_json
from sautomed.study import nnunet
from sautomed.study.nnunet import process
from sautomed.study.nnunet.process import carry_out, command, environment, result_path
from sautomed.study.nnunet.run import end_with_parent
from sautomed.study.nnunet.settings import read_changes

needs_posix = pytest.mark.skipif(not hasattr(os, "killpg"), reason="this system has no groups of processes")


@pytest.fixture
def no_nnunet(monkeypatch):
    monkeypatch.setattr(process, "find_spec", lambda name: None)


def stand_in(monkeypatch, code):
    """Let the steps run a Python program instead of nnU-Net; its first argument is the job."""
    monkeypatch.setattr(process, "command", lambda step, folder: [
        sys.executable, "-c", code, str(process.job_path(step, folder))])  # fmt: skip


def test_without_the_package_the_cure_is_its_installation(no_nnunet, dataset_folder, tmp_path):
    assert not nnunet.available()
    dataset = read_dataset(dataset_folder)
    with pytest.raises(PackageMissing, match=r'pip install "sautomed\[nnunet\]"'):
        nnunet.train(dataset, Fold(("block_0",), ("block_1",)), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_all_folders_lie_in_that_of_the_training(tmp_path):
    found = environment("train", tmp_path, "cpu", {"nnUNet_raw": "elsewhere", "PATH": "kept"})
    for name in ("raw", "preprocessed", "results"):
        assert found[f"nnUNet_{name}"] == str(tmp_path / name)
    assert found["PATH"] == "kept"


def test_on_a_cpu_no_worker_takes_a_core_from_the_training(tmp_path):
    assert environment("train", tmp_path, "cpu", {})["nnUNet_n_proc_DA"] == "0"
    assert environment("train", tmp_path, "cpu", {"nnUNet_n_proc_DA": "3"})["nnUNet_n_proc_DA"] == "3"
    assert "nnUNet_n_proc_DA" not in environment("train", tmp_path, "cuda", {})


def test_the_planner_is_never_given_zero_workers(tmp_path):
    assert environment("prepare", tmp_path, "cpu", {"nnUNet_n_proc_DA": "0"})["nnUNet_n_proc_DA"] == "1"


def test_the_command_is_of_this_python(tmp_path):
    assert command("train", tmp_path) == [
        sys.executable, "-m", "sautomed.study.nnunet.run", "train", str(tmp_path / "jobs" / "train.json")
    ]  # fmt: skip


def test_a_step_gives_what_it_wrote_down(tmp_path, monkeypatch):
    code = "import json, sys; job = sys.argv[1]; steps = json.load(open(job))['steps'] * 2; "
    code += "json.dump({'steps': steps}, open(job.replace('.json', '_done.json'), 'w'))"
    stand_in(monkeypatch, code)
    assert carry_out("train", {"steps": 4}, tmp_path, "cpu") == {"steps": 8}


def test_a_step_that_stops_says_its_last_lines(tmp_path, monkeypatch):
    stand_in(monkeypatch, "print('old'); raise SystemExit('the network fell asleep')")
    with pytest.raises(ExternalFailed, match="step train with exit code 1:\nold\nthe network fell asleep"):
        carry_out("train", {}, tmp_path, "cpu")


def test_a_result_of_an_earlier_attempt_counts_for_nothing(tmp_path, monkeypatch):
    job = process.job_path("train", tmp_path)
    write_json(result_path(job), {"steps": 1})
    stand_in(monkeypatch, "pass")
    with pytest.raises(ExternalFailed):
        carry_out("train", {}, tmp_path, "cpu")


def test_a_step_is_a_group_of_its_own_and_sees_our_end(tmp_path, monkeypatch):
    code = "import json, os, stat, sys; own = os.getpgrp() == os.getpid(); "
    code += "json.dump({'own': own, 'pipe': stat.S_ISFIFO(os.fstat(0).st_mode)}, "
    code += "open(sys.argv[1].replace('.json', '_done.json'), 'w'))"
    stand_in(monkeypatch, code)
    assert carry_out("train", {}, tmp_path, "cpu") == {"own": True, "pipe": True}


WORKS = """
import subprocess, sys, time
worker = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(600)"])
place = sys.argv[1].replace("train.json", "worker.txt")
open(place + "_", "w").write(str(worker.pid))
import os; os.replace(place + "_", place)
time.sleep(600)
"""


@needs_posix
def test_an_interrupted_step_ends_with_its_workers(tmp_path, monkeypatch):
    stand_in(monkeypatch, WORKS)
    place, started = tmp_path / "jobs" / "worker.txt", []

    def interrupted(self, *_, **__):
        while not place.exists():
            time.sleep(0.02)
        started.extend([self.pid, int(place.read_text())])
        monkeypatch.undo()
        raise KeyboardInterrupt

    monkeypatch.setattr(process.subprocess.Popen, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        carry_out("train", {}, tmp_path, "cpu")
    assert_gone(started)


@needs_posix
def test_a_step_whose_parent_is_killed_ends_with_its_workers():
    end_of_ours, theirs = os.pipe()
    telling, told = os.pipe()
    child = os.fork()
    if child == 0:
        os.setsid()
        os.dup2(end_of_ours, 0)
        os.close(theirs)
        worker = os.fork()
        if worker:
            os.write(told, f"{worker} ".encode())
            end_with_parent()
        time.sleep(600)
        os._exit(0)
    worker = int(os.read(telling, 20))
    assert psutil.pid_exists(worker)
    os.close(theirs)
    assert_gone([child, worker])


def assert_gone(processes):
    """Within ten seconds; what nobody has asked for its exit code yet counts as gone."""
    for _ in range(500):
        alive = [pid for pid in processes if psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie"]
        if not alive:
            return
        time.sleep(0.02)
    raise AssertionError(f"{alive} are still there")


def test_a_budget_that_planning_eats_up_is_said(dataset_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(process, "find_spec", lambda name: name)
    monkeypatch.setattr("sautomed.study.nnunet.work.carry_out", lambda *_: {"plans": "p", "processor_s": 1.0})
    fold = Fold(("block_0",), ("block_1",))
    with pytest.raises(ExternalFailed, match="Give more minutes"):
        nnunet.train(read_dataset(dataset_folder), fold, tmp_path, minutes=1e-9, device="cpu")


def test_processor_time_counts_that_of_planning(dataset_folder, tmp_path, monkeypatch):
    jobs = {}

    def play(step, job, *_):
        jobs[step] = job
        return {"plans": "P", "processor_s": 40.0, "model": "M", "steps": 1, "parameters": 1}

    monkeypatch.setattr(process, "find_spec", lambda name: name)
    monkeypatch.setattr("sautomed.study.nnunet.work.carry_out", play)
    fold = Fold(("block_0",), ("block_1",))
    nnunet.train(read_dataset(dataset_folder), fold, tmp_path, minutes=2, clock="processor", device="cpu")
    assert nnunet.read_training(tmp_path).minutes == pytest.approx(80 / 60, abs=0.5)
    assert jobs["train"]["budget"]["clock"] == "processor"
    assert 40 < jobs["train"]["budget"]["seconds"] <= 80


def test_a_training_and_a_prediction_from_end_to_end(dataset_folder, tmp_path, monkeypatch):
    """nnU-Net's part is played by a function that predicts the organ `dark` everywhere."""
    jobs = []

    def play(step, job, folder, device):
        jobs.append((step, job))
        if step == "predict":
            import nibabel
            import numpy as np

            for scan, target in zip(job["scans"], job["predictions"], strict=True):
                image = nibabel.load(scan)
                nibabel.save(nibabel.Nifti1Image(np.full(image.shape, 2, np.uint8), image.affine), target)
        return {
            "plans": "nnUNetPlans",
            "processor_s": 30.0,
            "model": "M",
            "steps": 7,
            "parameters": 11,
            "peak_bytes": 5,
            "cuda_peak_bytes": None,
            "seconds": [1.5],
        }

    monkeypatch.setattr(process, "find_spec", lambda name: name)
    monkeypatch.setattr("sautomed.study.nnunet.work.carry_out", play)
    dataset, fold = read_dataset(dataset_folder), Fold(("block_0", "block_3"), ("block_1",))
    run, heard, began = tmp_path / "run", [], time.time()
    settings = read_changes(["configuration=2d", "memory_gb=2"])
    training = nnunet.train(dataset, fold, run, minutes=5, seed=3, device="cpu", settings=settings)
    assert nnunet.train(dataset, fold, run, minutes=5) == training  # done is done
    nnunet.predict(
        training, dataset, fold.val, tmp_path / "out", device="cpu", on_case=lambda *said: heard.append(said)
    )
    assert [step for step, _ in jobs] == ["prepare", "train", "predict"]
    assert jobs[0][1] == {"number": 1, "configuration": "2d", "planner": "ExperimentPlanner", "memory_gb": 2.0}
    assert jobs[1][1]["seed"] == 3
    budget = jobs[1][1]["budget"]
    assert budget["clock"] == "wall"
    assert began + 300 <= budget["sent"] + budget["seconds"] + 1e-3
    assert 200 < budget["seconds"] <= 300
    assert training.cases == fold.train
    assert training.cpu_minutes >= 1.0
    assert heard == [(1, 1, "block_1")]
    assert dataset.read_label(dataset.cases[1]).array.shape == read_out(tmp_path / "out" / "block_1.nii.gz").array.shape
    assert set(read_out(tmp_path / "out" / "block_1.nii.gz").voxel_counts()) == {5}
    assert not (run / "predicting").exists()
    split = next((run / "preprocessed").glob("*/splits_final.json"))
    assert json.loads(split.read_text()) == [{"train": ["block_0", "block_3"], "val": ["block_1"]}]


def read_out(path):
    from sautomed.scans import read_labels

    return read_labels(path)


def test_an_unfinished_training_is_no_model(tmp_path):
    with pytest.raises(NotAModel):
        nnunet.read_training(tmp_path)


@pytest.mark.parametrize("change", ["configuration=4d", "epochs=3", "memory_gb=-1", "memory_gb=[", "nonsense"])
def test_settings_that_do_not_exist_are_refused(change):
    with pytest.raises(UnknownSetting):
        read_changes([change])
