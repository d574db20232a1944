"""A study of the blocks that a test can afford: networks of a few channels, four steps each."""

import json
import shutil

import pytest
import yaml

from sautomed.study import Listener, StudyCallbacks, StudyRequest, loop, run_study


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch):
    """Learning curves take longer to draw than these trainings to train."""
    monkeypatch.setattr("sautomed.training.log.draw_learning_curve", lambda *_: None)


@pytest.fixture
def small_preset(small_settings, tmp_path):
    """The small experiment as a settings file beside the study's."""
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(small_settings.model_dump(mode="json")))
    return "small.yaml"


@pytest.fixture
def study_file(dataset_folder, small_preset, tmp_path):
    """Write a study file of the blocks, with these entries replaced."""

    def write(**changes):
        tree = {
            "title": "Blocks",
            "data": [{"name": "blocks", "folder": str(dataset_folder)}],
            "models": [{"label": "3D-SAutoMed", "preset": small_preset}],
        }
        path = tmp_path / "study.yaml"
        path.write_text(yaml.safe_dump({**tree, **changes}))
        return path

    return write


@pytest.fixture
def output(tmp_path):
    return tmp_path / "out"


@pytest.fixture
def run_file(output):
    """Run a study file in this process; returns the status of each run that it carried out itself, by id."""

    def run(file, listener=None, **request):
        ended = {}
        callbacks = StudyCallbacks(
            on_run=lambda *_: listener or Listener(), on_end=lambda run, status: ended.update({run.id: status})
        )
        request = {"output": output, "device": "cpu"} | request
        run_study(StudyRequest(file, **request), callbacks)
        return ended

    return run


@pytest.fixture
def record(output):
    """Read run.json of a run."""
    return lambda run_id: json.loads((output / "runs" / run_id / "run.json").read_text())


@pytest.fixture
def played_runs(monkeypatch):
    """Replace `carry_out`: write a finished training and a run.json; returns the ids of the runs in order."""
    done = []

    def play(run, study, data, folder, device, listener):
        shutil.rmtree(folder.output(run), ignore_errors=True)
        status = "done" if run.left_out is None else "left_out"
        if run.label.startswith("Failing"):
            status = "failed"
        if status != "left_out":
            folder.training(run).mkdir(parents=True, exist_ok=True)
            (folder.training(run) / "config.json").write_text(run.settings.model_dump_json())
        entry = {
            "id": run.id, "order": run.order, "label": run.label, "model": run.model, "dataset": run.dataset,
            "fold": run.fold, "seed": run.seed, "note": run.note, "setting": run.setting, "status": status,
            "error": None if status == "done" else {"id": "", "text": run.left_out or "a fault"},
            "cases": list(data.folds[run.fold].val),
            "labels": {str(value): name for value, name in data.dataset.labels.items()},
        }  # fmt: skip
        folder.output(run).mkdir(parents=True)
        folder.record(run).write_text(json.dumps(entry))
        done.append(run.id)
        return status

    monkeypatch.setattr(loop, "carry_out", play)
    return done


@pytest.fixture
def faulty_training(monkeypatch, trained_run):
    """Replace trainings: raise a fault for the variant without prompts, copy a finished training for any other."""

    def train_with(fault):
        def train(plan, callbacks):
            if not plan.settings.model.prompt:
                raise fault
            shutil.copytree(trained_run / "fold_0", plan.run / "fold_0", dirs_exist_ok=True)

        monkeypatch.setattr("sautomed.study.own_adapter.train", train)

    return train_with
