"""The demo refuses a place that is in use before it does anything, and says at its end what to try next."""

from importlib import import_module

import pytest

from sautomed.cli.demo import run_demo
from sautomed.errors import TargetExists


@pytest.mark.parametrize(("name", "words"), [("used.txt", "is a file"), (".", "is not empty")])
def test_a_place_in_use_is_refused(tmp_path, name, words):
    (tmp_path / "used.txt").write_text("mine")
    with pytest.raises(TargetExists, match=words) as caught:
        run_demo(tmp_path / name, 0, stages=None)
    assert caught.value.exit_code == 2
    assert (tmp_path / "used.txt").read_text() == "mine"


def test_its_last_words_name_the_studios_demo(command, monkeypatch, tmp_path):
    monkeypatch.setattr(import_module("sautomed.cli.demo"), "run_demo", lambda output, *_: output / "report.html")
    code, output = command("demo", "-o", tmp_path)
    assert code == 0
    assert output.index("report.html") < output.index("sautomed studio --demo")
