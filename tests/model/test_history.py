"""Historical slice information sharing: the filter of Eq. 3 of Liang et al. 2024."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from sautomed.model.history import HistoryTokens


def test_eq3_starts_with_k_tokens_for_each_walker():
    assert HistoryTokens(16, tokens=5).start(3).shape == (3, 5, 16)


@given(st.floats(1e-3, 1e4))
def test_eq3_the_filter_bounds_the_tokens_whatever_comes_in(scale):
    """LayerNorm with unit gain: a token's length is sqrt(C) at most."""
    torch.manual_seed(0)
    filtered = HistoryTokens(16, tokens=5).filter(scale * torch.randn(2, 5, 16))
    assert filtered.norm(dim=-1).max() <= 4.0 + 1e-3


def test_eq3_the_filter_treats_tokens_alike_but_for_their_own_part():
    history = HistoryTokens(16, tokens=5)
    tokens = torch.randn(2, 5, 16)
    order = torch.tensor([3, 0, 4, 1, 2])
    before = history.filter(tokens)[:, order]
    history.own.data = history.own.data[order]
    assert torch.allclose(before, history.filter(tokens[:, order]), atol=1e-6)


def test_eq3_tokens_stay_apart_though_the_decoder_returns_one_thing_for_all():
    torch.manual_seed(0)
    history, tokens = HistoryTokens(64, tokens=5), torch.randn(1, 1, 64)
    filtered = torch.nn.functional.normalize(history.filter(tokens.expand(1, 5, 64)), dim=-1)
    cosines = (filtered @ filtered.mT)[0]
    assert cosines[~torch.eye(5, dtype=torch.bool)].max() < 0.8


def test_eq3_gradient_reaches_the_first_tokens_and_the_filter():
    history = HistoryTokens(16, tokens=5)
    (history.start(2) * torch.randn(2, 5, 16)).sum().backward()
    assert all(p.grad.abs().sum() > 0 for p in history.parameters())
