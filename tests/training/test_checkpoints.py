"""Checkpoints are written whole or not at all."""

import errno
import os
import tempfile

import pytest
import torch

from sautomed import errors
from sautomed.training.checkpoint_files import damaged
from sautomed.training.checkpoints import AtomicCheckpointIO


@pytest.fixture
def file(tmp_path):
    """A checkpoint that was written before."""
    path = tmp_path / "checkpoints" / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"global_step": 1}, path)
    return path


def fill_the_disk(monkeypatch):
    """Make PyTorch fail as it does on a full disk: the system's error, hidden by one of its own."""

    def save(content, file):
        file.write(b"PK half")
        try:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        finally:
            raise RuntimeError("unexpected pos 704 vs 598")

    monkeypatch.setattr(torch, "save", save)


def test_a_checkpoint_is_read_back_as_it_was_written(file):
    content = {"global_step": 2, "state_dict": {"w": torch.arange(3.0)}}
    AtomicCheckpointIO().save_checkpoint(content, str(file))
    found = AtomicCheckpointIO().load_checkpoint(file)
    assert found["global_step"] == 2
    assert torch.equal(found["state_dict"]["w"], torch.arange(3.0))
    assert list(file.parent.iterdir()) == [file]


def test_a_full_disk_keeps_the_checkpoint_before(file, monkeypatch):
    before = file.read_bytes()
    fill_the_disk(monkeypatch)
    with pytest.raises(errors.UnwritableTarget, match=r"last\.ckpt.*No space left"):
        AtomicCheckpointIO().save_checkpoint({"global_step": 2}, file)
    assert file.read_bytes() == before
    assert list(file.parent.iterdir()) == [file]


def test_other_errors_of_pytorch_stay_as_they_are(file):
    with pytest.raises(AttributeError):  # nothing can pickle a local function
        AtomicCheckpointIO().save_checkpoint({"a": lambda: None}, file)
    assert AtomicCheckpointIO().load_checkpoint(file) == {"global_step": 1}


def test_nothing_goes_through_the_folder_of_temporary_files(file, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "not there"))
    AtomicCheckpointIO().save_checkpoint({"global_step": 2}, file)
    assert AtomicCheckpointIO().load_checkpoint(file) == {"global_step": 2}


def test_a_checkpoint_is_removed(file):
    AtomicCheckpointIO().remove_checkpoint(file)
    assert not file.exists()


def test_what_a_killed_process_left_half_written_is_no_damaged_checkpoint(file):
    file.with_name(".0000-1-00000000.last.ckpt").write_bytes(b"half")
    assert damaged(file.parent) == []


def test_a_file_that_holds_no_checkpoint_is_named(file):
    file.write_bytes(b"nothing")
    with pytest.raises(errors.DamagedWeights, match=r"last\.ckpt"):
        AtomicCheckpointIO().load_checkpoint(file)
