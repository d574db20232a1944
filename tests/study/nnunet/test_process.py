"""How a step of nnU-Net is started: environment, command, result; none of this needs nnU-Net."""

import os
import signal
import sys
import time

import pytest

from sautomed import errors
from sautomed.cli.stopping import stops_raised
from sautomed.errors import ExternalFailed
from sautomed.scans.files import write_json
from sautomed.study.nnunet import process
from sautomed.study.nnunet.process import command, environment, result_path, run_step

needs_posix = pytest.mark.skipif(not hasattr(os, "killpg"), reason="this system has no groups of processes")


def stand_in(monkeypatch, code):
    """Run a Python program instead of nnU-Net's steps; its first argument is the file of the job."""
    monkeypatch.setattr(process, "command", lambda step, folder: [
        sys.executable, "-c", code, str(process.job_path(step, folder))])  # fmt: skip


def test_all_folders_of_nnunet_are_within_the_trainings(tmp_path):
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
        sys.executable, "-m", "sautomed.study.nnunet.steps", "train", str(tmp_path / "jobs" / "train.json")
    ]  # fmt: skip


def test_a_step_returns_the_result_it_wrote(tmp_path, monkeypatch):
    code = "import json, sys; job = sys.argv[1]; steps = json.load(open(job))['steps'] * 2; "
    code += "json.dump({'steps': steps}, open(job.replace('.json', '_done.json'), 'w'))"
    stand_in(monkeypatch, code)
    assert run_step("train", {"steps": 4}, tmp_path, "cpu") == {"steps": 8}


def test_a_step_that_stops_is_reported_with_its_last_lines(tmp_path, monkeypatch):
    stand_in(monkeypatch, "print('old'); raise SystemExit('the network fell asleep')")
    with pytest.raises(ExternalFailed, match="step train with exit code 1:\nold\nthe network fell asleep"):
        run_step("train", {}, tmp_path, "cpu")


def test_the_result_of_an_earlier_attempt_is_not_used(tmp_path, monkeypatch):
    job = process.job_path("train", tmp_path)
    write_json(result_path(job), {"steps": 1})
    stand_in(monkeypatch, "pass")
    with pytest.raises(ExternalFailed):
        run_step("train", {}, tmp_path, "cpu")


def test_a_step_is_a_process_group_of_its_own_with_a_pipe_as_input(tmp_path, monkeypatch):
    code = "import json, os, stat, sys; own = os.getpgrp() == os.getpid(); "
    code += "json.dump({'own': own, 'pipe': stat.S_ISFIFO(os.fstat(0).st_mode)}, "
    code += "open(sys.argv[1].replace('.json', '_done.json'), 'w'))"
    stand_in(monkeypatch, code)
    assert run_step("train", {}, tmp_path, "cpu") == {"own": True, "pipe": True}


WORKS = """
import subprocess, sys, time
worker = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(600)"])
place = sys.argv[1].replace("train.json", "worker.txt")
open(place + "_", "w").write(str(worker.pid))
import os; os.replace(place + "_", place)
time.sleep(600)
"""


@needs_posix
@pytest.mark.parametrize("number", errors.STOP_SIGNALS)
def test_a_stopped_step_ends_with_its_workers(tmp_path, monkeypatch, wait_for_end, number):
    stand_in(monkeypatch, WORKS)
    place, started = tmp_path / "jobs" / "worker.txt", []

    def interrupted(self, *_, **__):
        while not place.exists():
            time.sleep(0.02)
        started.extend([self.pid, int(place.read_text())])
        monkeypatch.undo()
        signal.raise_signal(number)

    monkeypatch.setattr(process.subprocess.Popen, "wait", interrupted)
    with pytest.raises(errors.STOP_SIGNALS[number]), stops_raised():
        run_step("train", {}, tmp_path, "cpu")
    wait_for_end(started)
