"""The command `study`."""

import pytest
import yaml

from sautomed import errors
from sautomed.cli import run


@pytest.fixture
def left_out(dataset_folder, tmp_path):
    """A study whose only run is left out, so that it ends at once; its data set has no folder."""
    model = {"label": "SAM", "preset": "tiny", "left_out": "no weights"}
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump({"title": "None", "data": [{"name": "blocks"}], "models": [model]}))
    return path


def test_a_study_reports_how_its_runs_ended(left_out, dataset_folder, tmp_path, capsys):
    given = ["study", str(left_out), "-o", str(tmp_path / "out"), "--data", f"blocks={dataset_folder}"]
    assert run(given) == errors.EXIT_OK
    captured = capsys.readouterr()
    assert "left out: SAM, blocks, fold 0, seed 0" in captured.err
    assert "(1 left out)" in captured.out
    assert run(given) == errors.EXIT_USAGE
    assert run([*given, "--resume"]) == errors.EXIT_OK


@pytest.mark.parametrize("folders", [[], ["--data", "blocks"], ["--data", "others=."]])
def test_a_data_set_without_a_folder_is_refused(left_out, tmp_path, folders, capsys):
    assert run(["study", str(left_out), "-o", str(tmp_path / "out"), *folders]) == errors.EXIT_USAGE
    assert "--data" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
