"""The demo refuses a place that is in use before it does anything."""

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
