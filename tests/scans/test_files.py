"""A reader sees a whole file or none, and every error of the target is named."""

import csv
import errno
import io
import json
import os
import subprocess
import sys

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sautomed import errors
from sautomed.scans import files
from sautomed.scans.files import (
    atomic_write,
    csv_text,
    full_disk_reported,
    nearest_folder,
    require_writable,
    sweep_leftovers,
    write_json,
    write_text,
)
from sautomed.scans.paths import read_json


def test_a_written_file_appears_whole_and_alone(tmp_path):
    target = tmp_path / "new" / "folder" / "scores.csv"
    with atomic_write(target) as temporary:
        assert temporary.parent == target.parent
        assert temporary.name.endswith("scores.csv")
        temporary.write_text("whole")
        assert not target.exists()
    assert target.read_text() == "whole"
    assert list(target.parent.iterdir()) == [target]


def test_a_failure_keeps_the_old_file_and_leaves_nothing_behind(tmp_path):
    target = tmp_path / "labels.nii.gz"
    target.write_text("old")

    def fail_half_way(temporary):
        temporary.write_text("half")
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"), atomic_write(target) as temporary:
        fail_half_way(temporary)
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_the_bytes_are_on_the_disk_before_the_name_is(tmp_path, monkeypatch):
    order = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: order.append((tmp_path / "a").exists()))
    write_text(tmp_path / "a", "text")
    assert order[0] is False


def test_a_full_disk_is_reported_for_the_folder(tmp_path):
    with pytest.raises(errors.UnwritableTarget, match="No space left") as caught, full_disk_reported(tmp_path):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert caught.value.where == str(tmp_path)
    with pytest.raises(PermissionError), full_disk_reported(tmp_path):
        raise PermissionError(errno.EACCES, "denied")


def test_new_files_have_ordinary_permissions(tmp_path):
    (tmp_path / "plain").touch()
    write_text(tmp_path / "atomic", "text")
    assert (tmp_path / "atomic").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_file_in_place_of_a_folder_is_named(tmp_path):
    (tmp_path / "out").write_text("I am a file")
    with pytest.raises(errors.UnwritableTarget, match="cannot be written") as caught:
        write_text(tmp_path / "out" / "scores.csv", "")
    assert (caught.value.id, caught.value.exit_code) == ("SAM-E0203", 2)
    assert (tmp_path / "out").read_text() == "I am a file"


def test_a_folder_in_place_of_the_file_is_named(tmp_path):
    (tmp_path / "scores.csv").mkdir()
    with pytest.raises(errors.UnwritableTarget, match=r"scores\.csv"):
        write_text(tmp_path / "scores.csv", "")
    assert [path.name for path in tmp_path.iterdir()] == ["scores.csv"]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_named(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(errors.UnwritableTarget, match="Permission denied"):
        write_text(tmp_path / "scores.csv", "")


def test_a_full_disk_is_named(tmp_path):
    with pytest.raises(errors.UnwritableTarget, match="No space left"), atomic_write(tmp_path / "x") as temporary:
        raise OSError(28, "No space left on device", str(temporary))


def test_a_missing_input_inside_the_body_is_not_blamed_on_the_target(tmp_path):
    with pytest.raises(PermissionError), atomic_write(tmp_path / "x"):
        raise PermissionError(13, "Permission denied", "/somewhere/else")


def test_json_round_trip_keeps_names_in_any_script(tmp_path):
    value = {"name": "Leber – 肝臓", "mean": [0.5, None]}
    write_json(tmp_path / "a.json", value)
    assert read_json(tmp_path / "a.json") == value
    assert json.loads((tmp_path / "a.json").read_bytes().decode("utf-8")) == value


def test_json_takes_no_nan(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", {"hd": float("nan")})
    assert not (tmp_path / "a.json").exists()


# --- leftovers of killed writers ---


def leftover(folder, name, process, machine=None):
    path = folder / f".{machine or files._machine()}-{process:x}-01234567.{name}"
    path.write_bytes(b"half")
    return path


KILLED = """
import os, sys, signal
from sautomed.scans.files import atomic_write
with atomic_write(sys.argv[1]) as temporary:
    temporary.write_bytes(b"half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs kill -9")
def test_a_killed_writer_leaves_no_half_file_and_its_temporary_file_is_deleted(tmp_path):
    target = tmp_path / "a.nii.gz"
    target.write_bytes(b"old")
    subprocess.run([sys.executable, "-c", KILLED, str(target)], check=False)
    assert target.read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 2
    assert len(sweep_leftovers(tmp_path, {"a.nii.gz"})) == 1
    assert list(tmp_path.iterdir()) == [target]


def test_only_leftovers_of_dead_writers_of_these_names_are_deleted(tmp_path):
    dead = 2**22 + 1  # above the largest process number of Linux
    kept = [
        leftover(tmp_path, "other.nii.gz", dead),
        leftover(tmp_path, "a.nii.gz", os.getppid()),
        leftover(tmp_path, "a.nii.gz", dead, machine="0000" if files._machine() != "0000" else "1111"),
        tmp_path / ".a.nii.gz",
        tmp_path / ".01234567.a.nii.gz",
    ]
    for path in kept[3:]:
        path.write_bytes(b"mine")
    mine = leftover(tmp_path, "a.nii.gz", os.getpid())  # of an earlier process with our number
    with atomic_write(tmp_path / "a.nii.gz") as temporary:
        assert sweep_leftovers(tmp_path, {"a.nii.gz"}) == [mine]
        assert temporary.exists()
    assert set(tmp_path.iterdir()) == {*kept, tmp_path / "a.nii.gz"}
    assert sweep_leftovers(tmp_path / "missing", {"a"}) == []


def test_without_names_the_leftovers_of_every_dead_writer_are_deleted(tmp_path):
    left = [leftover(tmp_path, name, 2**22 + 1) for name in ("a.nii.gz", "b.csv")]
    living = leftover(tmp_path, "c.csv", os.getppid())
    assert sweep_leftovers(tmp_path) == left
    assert list(tmp_path.iterdir()) == [living]


def test_a_leftover_of_another_machine_is_deleted_after_a_day(tmp_path):
    old = leftover(tmp_path, "a", 7, machine="0000" if files._machine() != "0000" else "1111")
    os.utime(old, (0, 0))
    assert sweep_leftovers(tmp_path, {"a"}) == [old]


# --- checks before the work ---


def test_checking_a_folder_leaves_no_file(tmp_path):
    require_writable(tmp_path / "not" / "there" / "yet")
    assert list(tmp_path.iterdir()) == []
    assert nearest_folder(tmp_path / "not" / "there") == tmp_path
    (tmp_path / "file").write_text("x")
    with pytest.raises(errors.UnwritableTarget, match="is a file, but a folder"):
        require_writable(tmp_path / "file" / "deeper")


@given(st.lists(st.lists(st.text(st.characters(codec="utf-8")), min_size=2, max_size=3), min_size=1, max_size=3))
@example([["\r", "a\r\nb"], ['"', ","]])
def test_csv_fields_are_read_back_unchanged(rows):
    read = list(csv.reader(io.StringIO(csv_text(rows), newline="")))
    assert read == [[field.replace("\r\n", "\n").replace("\r", "\n") for field in row] for row in rows]
