"""Fixtures of the dataset tests."""

import pytest

from sautomed.datasets import read_dataset

from .block_dataset import BlockDataset
from .miniatures import write_miniature


@pytest.fixture(scope="session")
def written(tmp_path_factory):
    """Write each layout once; returns its folder and its patients. For reading only."""
    made = {}

    def folder_of(layout):
        if layout not in made:
            folder = tmp_path_factory.mktemp(layout) / "data set"
            made[layout] = (folder, write_miniature(layout, folder))
        return made[layout]

    return folder_of


@pytest.fixture
def blocks(tmp_path):
    """A dataset of five cases without faults, for tests to change."""
    return BlockDataset(tmp_path / "Dataset001_Blocks")


@pytest.fixture
def refused():
    """Check that a folder is refused with this fault and these words when all its cases are loaded."""

    def load_all(folder, layout):
        dataset = read_dataset(folder, layout)
        for case in dataset.cases:
            dataset.load(case)

    def check(kind, words, folder, layout="auto"):
        with pytest.raises(kind, match=words) as caught:
            load_all(folder, layout)
        assert caught.value.exit_code == 3
        assert caught.value.cure

    return check
