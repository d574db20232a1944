"""SAM's position code, held against transformers' own."""

import pytest
import torch
from transformers import SamVisionConfig
from transformers.models.sam.modeling_sam import SamPositionalEmbedding

from sautomed.model.position_code import PositionCode
from sautomed.model.sam.network import dense_position


@pytest.fixture
def theirs():
    torch.manual_seed(0)
    return SamPositionalEmbedding(SamVisionConfig(num_pos_feats=16, scale=1.0))


@pytest.fixture
def ours(theirs):
    code = PositionCode(32)
    code.load_state_dict(theirs.state_dict())
    return code


def test_places_have_the_code_that_transformers_gives_them(ours, theirs):
    places = torch.rand(2, 5, 2, generator=torch.Generator().manual_seed(1))
    assert torch.equal(ours(places), theirs(places))


def test_a_grid_has_the_codes_of_its_centres(ours, theirs):
    grid = ours.dense(2, 4)
    assert torch.equal(grid, dense_position(theirs, 2, 4)[0])
    assert torch.equal(grid[:, 1, 3], ours(torch.tensor([7 / 8, 3 / 4])))


def test_the_frequencies_are_kept_with_a_model_but_never_trained(ours):
    assert list(ours.state_dict()) == ["positional_embedding"]
    assert not list(ours.parameters())
