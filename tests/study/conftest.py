"""A study of the blocks that a test can afford: networks of a few channels, four steps each."""

import json

import pytest
import yaml

from sautomed.study import StudyRequest, run_study


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch):
    """Learning curves take longer to draw than these trainings to train."""
    monkeypatch.setattr("sautomed.training_log.draw_learning_curve", lambda *_: None)


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


class Silent:
    """Stages that show nothing."""

    def show(self, *_, **__):
        pass

    def clear(self, *_):
        pass

    def counter(self, name):
        return lambda *_: None

    def training(self, name):
        return lambda _: None


@pytest.fixture
def silent():
    return Silent()


@pytest.fixture
def output(tmp_path):
    return tmp_path / "out"


@pytest.fixture
def carry_out(output, silent):
    """Run a study file in this process; gives the ids that it carried out itself, with their status."""

    def run(file, stages=None, **request):
        ended = {}
        request = {"output": output, "device": "cpu"} | request
        run_study(StudyRequest(file, **request), stages or silent, lambda run, status: ended.update({run.id: status}))
        return ended

    return run


@pytest.fixture
def record(output):
    """run.json of a run."""
    return lambda run_id: json.loads((output / "runs" / run_id / "run.json").read_text())
