"""A study worked through: once each, by one process or several, whatever fails or is killed."""

import csv
import json
import multiprocessing
import os
import shutil
import signal
import time
import zipfile

import pytest

from sautomed import errors
from sautomed.study import Listener, plan_runs, read_study_file, runner
from sautomed.study.folder import StudyFolder, claimed
from sautomed.study.report.runs import case_scores, read_study
from sautomed.study.runner import Outcome

DIRECTIONS = [{"name": "mid to ends", "walk": "mid_to_ends"}, {"name": "end to end", "walk": "end_to_end"}]
LATER = [{"label": "A", "preset": "tiny", "left_out": "later"}]
RUN = "3d_sautomed__blocks__fold0__seed0"


@pytest.mark.slow
def test_a_study_leaves_what_the_report_reads(carry_out, study_file, small_preset, output):
    fast = ["train.steps=2"]
    models = [
        {"label": "A", "preset": small_preset, "set": fast},
        {"label": "B", "preset": small_preset, "set": [*fast, "model.prompt=false"]},
        {"label": "SAM", "preset": "sam", "left_out": "needs pretrained weights"},
    ]
    ended = carry_out(study_file(models=models, settings=DIRECTIONS))
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
        assert min(run.costs.seconds_per_volume, run.costs.peak_bytes, run.costs.cpu_minutes) > 0
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
def test_stopped_by_ctrl_c_it_goes_on_from_the_last_checkpoint(carry_out, study_file, record, output):
    def stop_at_three(step):
        if step.step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        carry_out(study_file(), Listener(on_step=stop_at_three))
    assert not list((output / "runs").glob("*/run.json"))
    (training,) = (output / "trainings").glob("*/fold_0")
    spent, first_row = _spent_s(training), _rows(training)[0]
    assert carry_out(study_file(), resume=True) == {RUN: "done"}
    assert _rows(training)[0] == first_row  # not trained anew
    assert record(RUN)["costs"]["steps"] == 4
    assert _spent_s(training) > spent


def _rows(training):
    with (training / "log.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def _spent_s(training):
    return json.loads((training / "spent.json").read_text())["processor_s"]


# --- what goes wrong ---


@pytest.fixture
def stumbling_train(monkeypatch, trained_run):
    """Instead of a training: a fault for the variant without prompts, a finished training for any other."""

    def stumble_with(fault):
        def train(plan, callbacks):
            if not plan.settings.model.prompt:
                raise fault
            shutil.copytree(trained_run / "fold_0", plan.run / "fold_0", dirs_exist_ok=True)

        monkeypatch.setattr("sautomed.study.own.train", train)

    return stumble_with


@pytest.mark.parametrize(
    ("fault", "error_id", "words"),
    [
        (MemoryError("of 9 GB"), errors.MemoryShortage.id, "ran out of memory: of 9 GB"),
        (errors.TrainingDiverged("the loss became nan.", cure="Less."), errors.TrainingDiverged.id, "became nan"),
        (KeyError("x"), "", "a bug, see error.txt: KeyError"),
        (OSError(28, "No space left on device"), "", "by the system, see error.txt: [Errno 28] No space left"),
    ],
)
def test_a_failed_run_is_written_down_and_the_others_go_on(
    carry_out, study_file, small_preset, record, output, stumbling_train, fault, error_id, words
):
    stumbling_train(fault)
    models = [
        {"label": "Broken", "preset": small_preset, "set": ["model.prompt=false"]},
        {"label": "3D-SAutoMed", "preset": small_preset},
    ]
    file = study_file(models=models)
    with pytest.raises(errors.SomeCasesFailed, match=r"1 of 2 runs failed \(broken__") as some:
        carry_out(file)
    assert isinstance(some.value.result, Outcome)
    assert some.value.result.counts == {"failed": 1, "done": 1}
    broken = record("broken__blocks__fold0__seed0")
    assert (broken["status"], broken["error"]["id"]) == ("failed", error_id)
    assert words in broken["error"]["text"]
    assert record(RUN)["status"] == "done"
    written = (output / "runs" / RUN / "run.json").stat().st_mtime_ns
    stale = output / "runs" / broken["id"] / "prompts" / "block_0.json"
    stale.parent.mkdir()
    stale.write_text("{}")
    stumbling_train(errors.UsageError("another fault.", cure=""))
    with pytest.raises(errors.SomeCasesFailed):
        carry_out(file, resume=True)
    assert "another fault" in record("broken__blocks__fold0__seed0")["error"]["text"]  # tried again
    assert not stale.exists()  # anew
    assert (output / "runs" / RUN / "run.json").stat().st_mtime_ns == written  # and what was done, not


@pytest.fixture
def plans(monkeypatch):
    """The trainings that a study asks for, none of which is done."""
    asked = []

    def train(plan, callbacks):
        asked.append(plan)
        raise KeyboardInterrupt

    monkeypatch.setattr("sautomed.study.own.train", train)
    return asked


def begin_training(study_file, output):
    """What a killed attempt leaves of the one training of a study: settings and checkpoints."""
    (run,) = plan_runs(read_study_file(study_file(settings=DIRECTIONS[:1])))
    training = StudyFolder(output).training(run)
    (training / "checkpoints").mkdir(parents=True)
    (training / "config.json").write_text(run.settings.model_dump_json())
    for name in ("best", "last"):
        with zipfile.ZipFile(training / "checkpoints" / f"{name}.ckpt", "w") as archive:
            archive.writestr("data.pkl", "x" * 1000)
    return training


@pytest.fixture
def begun(carry_out, study_file, output, plans):
    """A study whose one training was killed."""
    with pytest.raises(KeyboardInterrupt):
        carry_out(study_file(settings=DIRECTIONS[:1]))
    return begin_training(study_file, output)


def test_a_training_goes_on_with_the_walk_that_it_began_with(carry_out, study_file, begun, plans):
    with pytest.raises(KeyboardInterrupt):
        carry_out(study_file(settings=DIRECTIONS[::-1]), resume=True)  # which shares it
    assert (plans[-1].resume, plans[-1].settings.segment.walk) == (True, "mid_to_ends")


@pytest.mark.parametrize("name", ["best", "last"])
def test_a_checkpoint_that_is_cut_short_is_trained_anew(carry_out, study_file, begun, plans, name):
    path = begun / "checkpoints" / f"{name}.ckpt"
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(KeyboardInterrupt):
        carry_out(study_file(settings=DIRECTIONS[:1]), resume=True)
    assert not plans[-1].resume
    assert not (begun / "checkpoints").exists()


def test_a_kill_between_model_and_processor_time_costs_only_that(
    carry_out, study_file, record, output, stumbling_train
):
    stumbling_train(None)
    carry_out(study_file())
    next(output.glob("trainings/*/fold_0/spent.json")).unlink()
    (output / "runs" / RUN / "run.json").unlink()
    assert carry_out(study_file(), resume=True) == {RUN: "done"}
    assert (record(RUN)["costs"]["steps"], record(RUN)["costs"]["cpu_minutes"]) == (4, None)


@pytest.mark.parametrize("minutes", [float("nan"), float("inf"), 0.0, -1.0])
def test_endless_and_no_minutes_are_refused(carry_out, study_file, output, minutes):
    with pytest.raises(errors.UsageError, match="--max-minutes-per-run"):
        carry_out(study_file(), max_minutes=minutes)
    assert not output.exists()


# --- several processes ---


needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="the processes of this test are forked")


def note_run(run, study, data, folder, device, listener):
    """Instead of a run: a line that says whose it was."""
    time.sleep(0.05)
    with (folder.root / "carried_out.txt").open("a") as file:
        file.write(f"{run.id} {os.getpid()}\n")
    folder.output(run).mkdir(parents=True)
    folder.record(run).write_text(json.dumps({"status": "done"}))
    return "done"


def hang(run, study, data, folder, device, listener):
    (folder.root / "hanging.txt").write_text(run.id)
    time.sleep(600)


@pytest.fixture
def forked(carry_out, monkeypatch, output):
    """A process that goes on with a study; `instead` stands for carrying out a run."""
    started = []

    def fork(file, instead):
        monkeypatch.setattr(runner, "carry_out", instead)
        process = multiprocessing.get_context("fork").Process(target=carry_out, args=(file,), kwargs={"resume": True})
        process.start()
        started.append(process)
        return process

    yield fork
    for process in started:
        process.kill()
        process.join()


@needs_fork
def test_several_processes_carry_out_every_run_once(forked, study_file, small_preset, output, monkeypatch):
    monkeypatch.setattr(runner, "WAIT_S", 0.05)
    models = [{"label": name, "preset": small_preset, "set": [f"train.steps={ord(name)}"]} for name in "ABCDE"]
    file = study_file(models=models, seeds=[0, 1])
    processes = [forked(file, note_run) for _ in range(3)]
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    lines = [line.split() for line in (output / "carried_out.txt").read_text().splitlines()]
    assert sorted(run for run, _ in lines) == sorted(run.id for run in plan_runs(read_study_file(file)))
    assert len({process for _, process in lines}) > 1


@needs_fork
def test_the_run_of_a_killed_process_is_taken_over(forked, carry_out, study_file, small_preset, output, monkeypatch):
    monkeypatch.setattr(runner, "WAIT_S", 0.05)
    file = study_file(models=[{"label": name, "preset": small_preset} for name in "AB"], seeds=[0, 1])
    victim = forked(file, hang)
    while not (output / "hanging.txt").exists():
        time.sleep(0.02)
    left = []

    def kill_after_two(run, *rest):
        """The victim's run, and the other that shares its training, wait."""
        left.append(run.id)
        if len(left) == 2:
            os.kill(victim.pid, signal.SIGKILL)
            victim.join()
        return note_run(run, *rest)

    monkeypatch.setattr(runner, "carry_out", kill_after_two)
    ended = carry_out(file, resume=True)
    first = (output / "hanging.txt").read_text()
    assert first == "a__blocks__fold0__seed0"
    assert list(ended) == [f"{name}__blocks__fold0__seed{seed}" for seed in (1, 0) for name in "ab"]


def test_while_another_process_trains_the_runs_that_need_it_wait(study_file, output):
    mid, end = plan_runs(read_study_file(study_file(settings=DIRECTIONS)))
    folder = StudyFolder(output)
    with claimed(folder, mid) as mine, claimed(folder, end) as other:
        assert (mine, other) == (True, False)
    model = folder.training(mid) / "model"
    model.mkdir(parents=True)
    (model / "MODEL_CARD.md").write_text("done")
    with claimed(folder, mid) as mine, claimed(folder, end) as other, claimed(folder, mid) as again:
        assert (mine, other, again) == (True, True, False)


# --- the folder ---


def test_a_folder_in_use_is_refused(carry_out, study_file, output):
    carry_out(study_file(models=LATER))
    with pytest.raises(errors.TargetExists, match=r"holds a study already.*--resume"):
        carry_out(study_file(models=LATER))
    assert carry_out(study_file(models=LATER), resume=True) == {}
    other = output.parent / "other"
    other.mkdir()
    (other / "letter.txt").write_text("mine")
    with pytest.raises(errors.TargetExists, match="not empty"):
        carry_out(study_file(), output=other, resume=True)


def test_minutes_are_remembered_and_the_fewer_rule(carry_out, study_file, output):
    file = study_file(models=LATER, minutes=5)
    carry_out(file, max_minutes=2)
    assert json.loads((output / "study.json").read_text())["study"]["minutes"] == 2
    untimed, other = study_file(models=LATER), output.parent / "other"
    carry_out(untimed, max_minutes=3, output=other)
    carry_out(untimed, output=other, resume=True)
    assert json.loads((other / "study.json").read_text())["study"]["minutes"] == 3


def test_phantoms_are_made_once(carry_out, study_file, dataset_folder, output, monkeypatch):
    made = []

    def write(place, count, kind, seed, on_case):
        made.append((place, count, kind, seed))
        shutil.copytree(dataset_folder, place)

    monkeypatch.setattr("sautomed.study.data.write_phantoms", write)
    file = study_file(models=LATER, data=[{"name": "made", "phantom": {"kind": "thorax-ct", "count": 2, "seed": 3}}])
    carry_out(file)
    carry_out(file, resume=True)
    assert made == [(output / "data" / "made", 2, "thorax-ct", 3)]


def test_what_the_data_cannot_give_is_told_before_any_work(carry_out, study_file, dataset_folder, output):
    with pytest.raises(errors.UnknownSetting, match="9 training cases, but fold 0 of blocks has 4"):
        carry_out(study_file(settings=[{"train_cases": 9}]))
    data = [{"name": "blocks", "folder": str(dataset_folder), "folds": [0, 9]}]
    with pytest.raises(errors.FoldOutOfRange):
        carry_out(study_file(data=data), output=output.parent / "other")
    assert not list(output.parent.glob("*/runs"))
