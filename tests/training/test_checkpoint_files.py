"""Which checkpoint a training can resume from."""

import pytest
import torch

from sautomed.training.checkpoint_files import damaged, is_whole, newest_whole
from sautomed.training.checkpoints import AtomicCheckpointIO


@pytest.fixture
def file(tmp_path):
    """A checkpoint that was written before."""
    path = tmp_path / "checkpoints" / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"global_step": 1}, path)
    return path


def test_the_newest_whole_checkpoint_is_the_last_or_else_the_best(file):
    best = file.with_name("best.ckpt")
    AtomicCheckpointIO().save_checkpoint({"global_step": 0}, best)
    assert (newest_whole(file.parent), damaged(file.parent)) == (file, [])
    file.write_bytes(file.read_bytes()[:-30])
    assert (newest_whole(file.parent), damaged(file.parent)) == (best, [file])
    best.unlink()
    assert newest_whole(file.parent) is None
    assert newest_whole(file.parent / "missing") is None


def test_one_flipped_byte_makes_a_checkpoint_damaged(file):
    AtomicCheckpointIO().save_checkpoint({"w": torch.arange(1000.0)}, file)
    assert is_whole(file)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    assert not is_whole(file)
