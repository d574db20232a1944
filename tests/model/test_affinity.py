"""Residuals move with what they lie on, fade, and change probabilities that stay probabilities."""

import torch
import torch.nn.functional as nnf
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from sautomed.model.affinity import FADING, SHARPNESS, SMALLEST, WINDOW, add_residual, carry, unit_features

SIZE = 16
seeds = st.integers(0, 1000)


def generator(seed):
    return torch.Generator().manual_seed(seed)


def features(seed, channels=128):
    return nnf.normalize(torch.randn(channels, SIZE, SIZE, generator=generator(seed)), dim=0)


def block(value=1.0, rows=(6, 9), columns=(5, 8)):
    residual = torch.zeros(1, SIZE, SIZE)
    residual[:, slice(*rows), slice(*columns)] = value
    return residual


def carried_everywhere(residual, source, target):
    """The same by attention over windows that are unfolded as a whole."""
    margin = WINDOW // 2

    def windows(m):
        return nnf.unfold(m[None], WINDOW, padding=margin).view(len(m), WINDOW**2, SIZE, SIZE)

    exists = windows(torch.ones(1, SIZE, SIZE))[0] > 0
    scores = (SHARPNESS * (windows(source) * target[:, None]).sum(0)).masked_fill(~exists, -torch.inf)
    return FADING * (scores.softmax(0) * windows(residual)).sum(1)


@given(seeds, st.integers(0, SIZE - 1), st.integers(0, SIZE - 1), st.integers(1, 5))
@hypothesis_settings(max_examples=25)
def test_it_is_attention_over_a_window_of_the_other_slice(seed, top, left, side):
    residual = block(1.0, (top, top + side), (left, left + side)).repeat(2, 1, 1)
    residual[1] *= torch.rand(SIZE, SIZE, generator=generator(seed)) - 0.5
    source, target = features(seed), features(seed + 1)
    found = carry(residual, source, target)
    torch.testing.assert_close(found, carried_everywhere(residual, source, target), atol=1e-5, rtol=0)


@given(st.integers(-3, 3), st.integers(-3, 3))
def test_a_residual_moves_with_what_it_lies_on(down, right):
    source, inner = features(0), (slice(None), slice(3, -3), slice(3, -3))  # what comes in at the edges matches nothing
    found = carry(block(), source, source.roll((down, right), (1, 2)))
    expected = FADING * block().roll((down, right), (1, 2))
    torch.testing.assert_close(found[inner], expected[inner], atol=0.05, rtol=0)


def test_what_looks_like_nothing_of_the_corrected_place_gets_little():
    source, target = features(0), features(0)
    target[:, 7, 6] = source[:, 10, 9]  # of another place within the window, which was not corrected
    assert carry(block(), source, target)[0, 7, 6] < 0.01


@given(seeds)
def test_no_residual_becomes_none_and_none_grows(seed):
    source, target = features(seed), features(seed + 1)
    assert not carry(torch.zeros(2, SIZE, SIZE), source, target).any()
    assert not carry(block(SMALLEST / 2), source, target).any()
    assert carry(block(-1.0), source, target).min() >= -FADING - 1e-5


def test_features_are_resampled_and_have_length_1():
    found = unit_features(torch.rand(5, 4, 4).half(), (SIZE, 8))
    assert found.shape == (5, SIZE, 8)
    torch.testing.assert_close(found.norm(dim=0), torch.ones(SIZE, 8))


def logits(seed, classes=3, scale=3.0):
    return scale * torch.randn(classes + 1, SIZE, SIZE, generator=generator(seed))


def with_residual(x, k, residual):
    """Return all logits, those of class k with a residual."""
    after = x.clone()
    after[k + 1] = add_residual(x, k, residual)
    return after


@given(seeds, st.floats(0.1, 5), st.floats(-0.9, 0.9))
def test_a_residual_is_added_to_the_probability_and_the_others_keep_their_shares(seed, scale, value):
    x, residual = logits(seed, scale=scale), block(value)[0]
    after, before = with_residual(x, 1, residual), x.softmax(0)
    moved = residual.abs() >= SMALLEST
    assert torch.equal(after[:, ~moved], x[:, ~moved])  # to the last bit
    p = after.softmax(0)[:, moved]
    doubt = (4 * before[2] * (1 - before[2]))[moved] ** 0.4
    torch.testing.assert_close(p[2], (before[2][moved] + value * doubt).clamp(0, 1), atol=1e-4, rtol=0)
    shares = [q[[0, 1, 3]] / q[[0, 1, 3]].sum(0) for q in (p, before[:, moved])]
    torch.testing.assert_close(shares[0], shares[1], atol=1e-2, rtol=0)


@given(seeds, st.floats(-1, 1))
def test_the_surest_logits_stay_finite(seed, value):
    residual = torch.full((SIZE, SIZE), value)
    assert add_residual(logits(seed, scale=100.0), 1, residual).isfinite().all()


def test_a_residual_counts_less_where_the_network_was_sure():
    x = torch.zeros(2, SIZE, SIZE)
    x[0, :, :8] = 20.0  # background, surely, on the left
    p = with_residual(x, 0, torch.ones(SIZE, SIZE) * 0.9).softmax(0)[1]
    assert (p[:, :8] < 0.1).all()
    assert (p[:, 8:] > 0.9).all()
