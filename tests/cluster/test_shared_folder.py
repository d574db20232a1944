"""Whether machines see the same folder."""

from pathlib import Path

import pytest

from sautomed.cluster.shared_folder import enter, require_shared
from sautomed.errors import UnwritableTarget
from sautomed.scans.files import probe_in


def test_a_folder_that_is_shared_is_recognised_and_left_as_it_was(tmp_path):
    with probe_in(tmp_path / "out") as probe:
        require_shared(probe)
    assert list((tmp_path / "out").iterdir()) == []
    with pytest.raises(UnwritableTarget, match="is another folder on"):
        require_shared(probe)


def test_relative_paths_count_from_the_commands_folder_where_it_exists(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "work").mkdir()
    enter(tmp_path / "elsewhere")
    assert Path.cwd() == tmp_path
    enter(tmp_path / "work")
    assert Path.cwd() == tmp_path / "work"
