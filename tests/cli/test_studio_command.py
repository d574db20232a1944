"""The command studio: what it passes on, and what it says."""

import pytest


@pytest.fixture
def started(monkeypatch, trained_run):
    """Run the command up to where it would serve; returns its arguments and output."""
    calls = []

    def record(model, source, output, host, port, browser, on_ready):
        calls.append((str(source), str(output), host, port, browser))
        on_ready("http://127.0.0.1:1/token/")

    monkeypatch.setattr("sautomed.studio.start_studio", record)
    return lambda command, *more: (command("studio", "-m", trained_run, *more), calls)


def test_it_prints_the_address_and_listens_on_this_machine(started, command):
    (code, output), calls = started(command, "-i", "scans", "-o", "out")
    assert code == 0
    assert "http://127.0.0.1:1/token/" in output
    assert "not encrypted" not in output
    assert calls == [("scans", "out", "127.0.0.1", 0, True)]


def test_another_address_is_said_to_be_seen_by_others(started, command):
    (code, output), calls = started(command, "--host", "192.0.2.1", "--port", "8000", "--no-browser")
    assert code == 0
    assert "not encrypted" in output
    assert calls == [(".", "studio", "192.0.2.1", 8000, False)]


def test_without_the_extra_it_says_what_to_install_before_a_model_is_read(command, monkeypatch, tmp_path):
    monkeypatch.setattr("sautomed.studio.start.find_spec", lambda name: None)
    code, output = command("studio", "-m", tmp_path / "no model")
    assert code == 2
    assert 'pip install "sautomed[studio]"' in output


@pytest.mark.parametrize("port", ["-1", "65536", "x"])
def test_a_port_that_cannot_be_is_refused(command, port, tmp_path):
    assert command("studio", "-m", tmp_path, "--port", port)[0] == 2
