"""A study of the blocks that a test can afford: networks of a few channels, four steps each."""

import json

import pytest
import yaml

from sautomed.study import Listener, StudyCallbacks, StudyRequest, run_study


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
    """Write a study of the blocks; name what shall be otherwise."""

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
def carry_out(output):
    """Run a study file in this process; gives the ids that it carried out itself, with their status."""

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
    """run.json of a run."""
    return lambda run_id: json.loads((output / "runs" / run_id / "run.json").read_text())
