"""The command studio: what it passes on, and what it says."""

import pytest

from sautomed.cli.studio_command import WHAT_TO_PRESS
from sautomed.inference.shipped import PHANTOM_CT, SHIPPED


@pytest.fixture
def calls(monkeypatch):
    """Let the command run up to where it would serve; returns what it would serve with."""
    found = []

    def record(model, source, output, host, port, browser, on_ready):
        found.append((model.folder, str(source), str(output), host, port, browser))
        on_ready("http://127.0.0.1:1/token/")

    monkeypatch.setattr("sautomed.studio.start_studio", record)
    return found


@pytest.fixture
def started(calls, trained_run):
    """Run the command with a model; returns its code and output, and what it would serve besides the model."""

    def run(command, *more):
        return command("studio", "-m", trained_run, *more), [call[1:] for call in calls]

    return run


def test_it_prints_the_address_and_listens_on_this_machine(started, command):
    (code, output), calls = started(command, "-i", "scans", "-o", "out")
    assert code == 0
    assert "http://127.0.0.1:1/token/" in output
    assert "not encrypted" not in output
    assert WHAT_TO_PRESS not in output
    assert calls == [("scans", "out", "127.0.0.1", 0, True)]


def test_another_address_is_said_to_be_seen_by_others(started, command):
    (code, output), calls = started(command, "--host", "192.0.2.1", "--port", "8000", "--no-browser")
    assert code == 0
    assert "not encrypted" in output
    assert calls == [(".", "studio", "192.0.2.1", 8000, False)]


@pytest.mark.parametrize(("options", "folder"), [([], "studio-demo"), (["-o", "mine"], "mine")])
def test_the_demo_brings_a_model_and_a_scan_and_says_what_to_press(
    calls, command, monkeypatch, tmp_path, options, folder
):
    monkeypatch.chdir(tmp_path)
    code, output = command("studio", "--demo", *options)
    assert code == 0
    assert WHAT_TO_PRESS in output
    scan = f"{folder}/phantom/imagesTr/phantom_000_0000.nii.gz"
    assert calls == [(SHIPPED / PHANTOM_CT, scan, folder, "127.0.0.1", 0, True)]
    assert [found.name for found in tmp_path.iterdir()] == [folder]
    assert [found.name for found in (tmp_path / folder).iterdir()] == ["phantom"]


def test_a_folder_with_the_name_of_the_demos_model_does_not_take_its_place(calls, command, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / PHANTOM_CT).mkdir()
    assert command("studio", "--demo")[0] == 0
    assert calls[0][0] == SHIPPED / PHANTOM_CT


def test_without_the_extra_it_says_what_to_install_before_a_model_is_read(command, monkeypatch, tmp_path):
    monkeypatch.setattr("sautomed.studio.start.find_spec", lambda name: None)
    monkeypatch.chdir(tmp_path)
    for order in (["-m", tmp_path / "no model"], ["--demo"]):
        code, output = command("studio", *order)
        assert code == 2
        assert 'pip install "sautomed[studio]"' in output
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("port", ["-1", "65536", "x"])
def test_a_port_that_cannot_be_is_refused(command, port, tmp_path):
    assert command("studio", "-m", tmp_path, "--port", port)[0] == 2
