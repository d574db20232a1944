"""What is checked before the server listens, and whether a browser is opened."""

import threading

import pytest

from sautomed.errors import NoCases, UnwritableTarget
from sautomed.inference.model import load
from sautomed.studio import start_studio


@pytest.fixture(scope="module")
def model(trained_run):
    return load(trained_run, "cpu")


@pytest.fixture
def opened(monkeypatch):
    """Addresses that a browser was asked to open; the server says that it is ready, and ends."""
    found, done = [], threading.Event()
    monkeypatch.setattr("sautomed.studio.server.serve", lambda workspace, address, on_ready: on_ready())
    monkeypatch.setattr("sautomed.studio.start.webbrowser.open", lambda url: (found.append(url), done.set()))
    return found, done


@pytest.mark.parametrize("browser", [True, False])
def test_a_browser_is_opened_if_asked_to(model, opened, scans, tmp_path, browser):
    found, done = opened
    told = []
    start_studio(model, scans, tmp_path / "out", "127.0.0.1", 0, browser, told.append)
    assert len(told) == 1
    assert done.wait(20) if browser else not done.is_set()
    assert found == (told if browser else [])


def test_a_folder_without_scans_is_refused(model, tmp_path):
    with pytest.raises(NoCases):
        start_studio(model, tmp_path, tmp_path / "out", "127.0.0.1", 0, False, print)


def test_an_output_that_cannot_be_written_is_refused_before_anything_is_done(model, scans, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UnwritableTarget):
        start_studio(model, scans, tmp_path / "file", "127.0.0.1", 0, False, print)
