"""All runs of a study: each carried out once, by one process or several, resumed after Ctrl-C and kills."""

import csv
import json
import multiprocessing
import os
import signal
import time

import pytest

from sautomed import errors
from sautomed.scans.files import write_json
from sautomed.study import Listener, loop, plan_runs, read_study_file
from sautomed.study.report.runs import case_scores, read_study

DIRECTIONS = [{"name": "mid to ends", "walk": "mid_to_ends"}, {"name": "end to end", "walk": "end_to_end"}]
LATER = [{"label": "A", "preset": "tiny", "left_out": "later"}]
RUN = "3d_sautomed__blocks__fold0__seed0"


@pytest.mark.slow
def test_the_report_can_read_what_a_study_writes(run_file, study_file, small_preset, output):
    fast = ["train.steps=2"]
    models = [
        {"label": "A", "preset": small_preset, "set": fast},
        {"label": "B", "preset": small_preset, "set": [*fast, "model.prompt=false"]},
        {"label": "SAM", "preset": "sam", "left_out": "needs pretrained weights"},
    ]
    ended = run_file(study_file(models=models, settings=DIRECTIONS))
    assert list(ended.values()) == ["done"] * 4 + ["left_out"] * 2
    study = read_study(output)
    assert study.pending == ()
    first, direction, without_prompt, _, left_out, _ = study.runs
    assert (first.label, first.setting, direction.setting) == ("A", "mid to ends", "end to end")
    assert first.training == direction.training != without_prompt.training
    assert len(list((output / "trainings").glob("*/fold_0/model"))) == 2  # trained once for both directions
    assert len(list((output / "prepared" / "blocks").iterdir())) == 1  # and prepared once for all
    for run in study.runs[:4]:
        assert {score.case for score in case_scores(run)} == set(run.cases)
        assert run.training_log is not None
        assert run.costs.steps == 2
        assert run.costs.parameters >= run.costs.trained > 10_000
        assert run.costs.flops_per_volume > 2 * run.costs.parameters
        assert min(run.costs.seconds_per_volume, run.costs.peak_bytes) > 0
        assert run.costs.cpu_minutes is not None
    card = output / first.training / "model" / "MODEL_CARD.md"
    assert "In the study that this model was trained for" in card.read_text()  # not segmented once more for it
    assert without_prompt.costs.parameters < first.costs.parameters
    assert_boxes_in(json.loads(first.prompts_of(first.cases[0]).read_text()), rows=32, columns=40)
    assert not without_prompt.prompts_folder.exists()
    assert (left_out.status, left_out.reason, left_out.prompts) == ("left_out", "needs pretrained weights", "points")


def assert_boxes_in(prompts, rows, columns):
    """Within the slice and the pad that makes it square."""
    pad, found = (columns - rows) / 2 + 1, [box for boxes in prompts["slices"].values() for box in boxes.values()]
    assert found
    assert all(-1 <= x0 <= x1 <= columns + 1 and -pad <= y0 <= y1 <= rows + pad for x0, y0, x1, y1 in found)


@pytest.mark.slow
def test_stopped_by_ctrl_c_it_goes_on_from_the_last_checkpoint(run_file, study_file, record, output):
    def stop_at_three(step):
        if step.step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_file(study_file(), Listener(on_step=stop_at_three))
    assert not list((output / "runs").glob("*/run.json"))
    (training,) = (output / "trainings").glob("*/fold_0")
    spent, first_row = _spent_s(training), _rows(training)[0]
    assert run_file(study_file(), resume=True) == {RUN: "done"}
    assert _rows(training)[0] == first_row  # not trained anew
    assert record(RUN)["costs"]["steps"] == 4
    assert _spent_s(training) > spent


def _rows(training):
    with (training / "log.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def _spent_s(training):
    return json.loads((training / "spent.json").read_text())["processor_s"]


@pytest.mark.parametrize("minutes", [float("nan"), float("inf"), 0.0, -1.0])
def test_minutes_that_are_not_positive_and_finite_are_refused(run_file, study_file, output, minutes):
    with pytest.raises(errors.UsageError, match="--max-minutes-per-run"):
        run_file(study_file(), max_minutes=minutes)
    assert not output.exists()


def test_minutes_are_remembered_and_the_fewer_apply(run_file, study_file, output):
    file = study_file(models=LATER, minutes=5)
    run_file(file, max_minutes=2)
    assert json.loads((output / "study.json").read_text())["study"]["minutes"] == 2
    untimed, other = study_file(models=LATER), output.parent / "other"
    run_file(untimed, max_minutes=3, output=other)
    run_file(untimed, output=other, resume=True)
    assert json.loads((other / "study.json").read_text())["study"]["minutes"] == 3


# --- several processes ---


needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="the processes of this test are forked")


def note_run(run, study, data, folder, device, listener):
    """Replace `carry_out`: note the run and the process."""
    with (folder.root / "carried_out.txt").open("a") as file:
        file.write(f"{run.id} {os.getpid()}\n")
    folder.output(run).mkdir(parents=True)
    write_json(folder.record(run), {"status": "done"})  # at once, as other processes read it
    return "done"


def hang(run, study, data, folder, device, listener):
    """Replace `carry_out`: note the run and wait to be killed."""
    (folder.root / "hanging.txt").write_text(run.id)
    time.sleep(600)


@pytest.fixture
def forked(run_file, monkeypatch, output):
    """Start a process that resumes a study, with `instead` in place of `carry_out`."""
    started = []

    def fork(file, instead):
        monkeypatch.setattr(loop, "carry_out", instead)
        process = multiprocessing.get_context("fork").Process(target=run_file, args=(file,), kwargs={"resume": True})
        process.start()
        started.append(process)
        return process

    yield fork
    for process in started:
        process.kill()
        process.join()


@needs_fork
def test_several_processes_carry_out_every_run_once(forked, study_file, small_preset, output, monkeypatch):
    monkeypatch.setattr(loop, "WAIT_S", 0.05)
    models = [{"label": name, "preset": small_preset, "set": [f"train.steps={ord(name)}"]} for name in "ABCDE"]
    file = study_file(models=models, seeds=[0, 1])
    together, met = multiprocessing.get_context("fork").Barrier(3), set()

    def wait_for_the_others(run, *rest):
        """Hold each process's first run until every process has one."""
        if os.getpid() not in met:
            met.add(os.getpid())
            together.wait(60)
        return note_run(run, *rest)

    processes = [forked(file, wait_for_the_others) for _ in range(3)]
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    lines = [line.split() for line in (output / "carried_out.txt").read_text().splitlines()]
    assert sorted(run for run, _ in lines) == sorted(run.id for run in plan_runs(read_study_file(file)))
    assert len({process for _, process in lines}) == 3


@needs_fork
def test_the_run_of_a_killed_process_is_taken_over(forked, run_file, study_file, small_preset, output, monkeypatch):
    monkeypatch.setattr(loop, "WAIT_S", 0.05)
    file = study_file(models=[{"label": name, "preset": small_preset} for name in "AB"], seeds=[0, 1])
    victim = forked(file, hang)
    while not (output / "hanging.txt").exists():
        assert victim.is_alive()
        time.sleep(0.02)
    left = []

    def kill_after_two(run, *rest):
        """The victim's run, and the other that shares its training, have to wait."""
        left.append(run.id)
        if len(left) == 2:
            os.kill(victim.pid, signal.SIGKILL)
            victim.join()
        return note_run(run, *rest)

    monkeypatch.setattr(loop, "carry_out", kill_after_two)
    ended = run_file(file, resume=True)
    first = (output / "hanging.txt").read_text()
    assert first == "a__blocks__fold0__seed0"
    assert list(ended) == [f"{name}__blocks__fold0__seed{seed}" for seed in (1, 0) for name in "ab"]
