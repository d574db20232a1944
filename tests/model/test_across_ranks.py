"""Rows of one rank are rows of the whole batch. Sums over real ranks are in tests/training/test_rank_group.py."""

import pytest
import torch

from sautomed.model import across_ranks
from sautomed.model.across_ranks import in_whole_batch, on_any_rank, own_rows, summed


def numbers(rows, seed=0):
    return torch.rand(rows, 3, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("ranks", [1, 2, 5])
def test_the_ranks_draw_together_what_one_draws(monkeypatch, ranks):
    drawn = []
    for rank in range(ranks):
        monkeypatch.setattr(across_ranks, "_place", lambda rank=rank: (rank, ranks))
        drawn.append(own_rows(numbers, 4))
    assert torch.equal(torch.cat(drawn), numbers(4 * ranks))


def test_own_values_are_at_their_place_in_the_whole_batch(monkeypatch):
    monkeypatch.setattr(across_ranks, "_place", lambda: (1, 3))
    assert in_whole_batch(torch.tensor([[5.0], [6.0]]), elsewhere=1.0)[:, 0].tolist() == [1, 1, 5, 6, 1, 1]


def test_alone_everything_stays_as_it_is():
    values = numbers(4).requires_grad_()
    assert summed(values) is values
    assert own_rows(numbers, 4).equal(numbers(4))
    assert in_whole_batch(values, elsewhere=0.0).equal(values)
    assert on_any_rank(torch.tensor([False, True]))
    assert not on_any_rank(torch.tensor([False]))
