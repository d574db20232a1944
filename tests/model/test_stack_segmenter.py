"""Volumes in overlapping stacks: every slice gets the mean softmax of the stacks that hold it."""

from collections import Counter
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sautomed.config import SegmentSettings
from sautomed.model.stack_segmenter import StackSegmenter, stack_starts
from sautomed.model.values import SliceReader

SIDE = 4


class Mixer(StackSegmenter):
    """A stack's logits depend on every slice of it and on a slice's place in it. Notes how often it is asked."""

    def __init__(self, slices=5, stride=1, overhang=2):
        super().__init__(2, slices, stride, overhang)
        generator = torch.Generator().manual_seed(slices)
        self.weights = torch.randn(slices, slices, 3, generator=generator)
        self.nothing = torch.nn.Parameter(torch.zeros(()))
        self.asked = 0

    def forward(self, images):
        self.asked += 1
        return 4 * torch.einsum("bnhw,mnk->bmkhw", images[:, :, 1], self.weights)


class View(SliceReader):
    """Random slices, and which were read."""

    def __init__(self, depth):
        self.depth, self.read = depth, []
        self.slices = torch.rand(depth, SIDE, SIDE, generator=torch.Generator().manual_seed(depth))

    def images(self, rows):
        self.read.append(list(rows))
        return self.slices[list(rows)][:, None].expand(-1, 3, -1, -1)


def as_in_ma_sams_code(model, view):
    """A volume with its first and last slice twice more at either end; a stack around each slice; sums and counts.

    Source: MA-SAM's `test_single_volume`. It counts one stack too many everywhere, which changes no class.
    """
    padded = torch.cat([view.slices[:1]] * 2 + [view.slices] + [view.slices[-1:]] * 2)
    total, count = torch.zeros(len(padded), 3, SIDE, SIDE), torch.zeros(len(padded), 1, 1, 1)
    for middle in range(view.depth):
        stack = padded[middle : middle + 5]
        total[middle : middle + 5] += model(stack[None, :, None].expand(-1, -1, 3, -1, -1))[0].softmax(1)
        count[middle : middle + 5] += 1
    return (total / count)[2:-2]


@torch.no_grad()
@pytest.mark.parametrize("depth", [1, 2, 3, 4, 5, 6, 13])
def test_softmax_is_averaged_as_in_ma_sams_code(depth):
    model, view = Mixer(), View(depth)
    expected = as_in_ma_sams_code(model, view)
    found = {predicted.index: predicted.logits for predicted in model.predict(view, SegmentSettings())}
    assert list(found) == list(range(depth))
    for t, logits in found.items():
        torch.testing.assert_close(logits.softmax(0), expected[t], rtol=1e-4, atol=1e-5)
        assert torch.equal(logits.argmax(0), expected[t].argmax(0))


def plain_means(model, view):
    """Every stack of `stack_starts`, all kept until the end."""
    held = {t: [] for t in range(view.depth)}
    for start in stack_starts(view.depth, model.slices, model.stride, model.overhang):
        rows = [min(max(t, 0), view.depth - 1) for t in range(start, start + model.slices)]
        for t, row in zip(range(start, start + model.slices), model(view.images(rows)[None])[0], strict=True):
            if 0 <= t < view.depth:
                held[t].append(row.softmax(0))
    return {t: torch.stack(found).mean(0) for t, found in held.items()}


@torch.no_grad()
@settings(max_examples=30, deadline=None)
@given(depth=st.integers(1, 24), slices=st.integers(1, 9), data=st.data())
def test_slices_come_once_and_in_order_with_the_mean_of_their_stacks(depth, slices, data):
    stride, overhang = data.draw(st.integers(1, slices)), data.draw(st.integers(0, slices // 2))
    model, view = Mixer(slices, stride, overhang), View(depth)
    found = [(predicted.index, predicted.logits) for predicted in model.predict(view, SegmentSettings())]
    assert [t for t, _ in found] == list(range(depth))
    expected = plain_means(model, view)
    for t, logits in found:
        torch.testing.assert_close(logits.softmax(0), expected[t], rtol=1e-4, atol=1e-5)


def test_a_probability_of_zero_is_a_number_that_can_be_interpolated():
    model = Mixer()
    model.weights *= 1000  # so far apart that float32 knows the weaker classes' probability as 0
    logits = [part.logits for part in model.predict(View(7), SegmentSettings())]
    assert all(torch.isfinite(found).all() for found in logits)
    assert min(found.min() for found in logits) < -80


@torch.no_grad()
def test_a_slice_comes_as_soon_as_no_later_stack_holds_it():
    model, view = Mixer(), View(12)
    slices = model.predict(view, SegmentSettings())
    assert next(slices).index == 0
    assert model.asked == 3  # the stacks that begin at -2, -1 and 0
    assert next(slices).index == 1
    assert model.asked == 4


# --- where stacks begin ---

CASES = st.integers(1, 60), st.integers(1, 33)


@settings(max_examples=200, deadline=None)
@given(depth=CASES[0], slices=CASES[1], data=st.data())
def test_stacks_cover_every_slice_and_no_more_than_they_may(depth, slices, data):
    stride, overhang = data.draw(st.integers(1, slices)), data.draw(st.integers(0, slices // 2))
    starts = stack_starts(depth, slices, stride, overhang)
    covered = Counter(t for start in starts for t in range(start, start + slices))
    assert all(covered[t] for t in range(depth))
    assert starts == sorted(set(starts))
    assert all(later - sooner <= stride for sooner, later in pairwise(starts))
    # as few as the stride asks for, and no slice in more stacks than fit over it
    assert len(starts) <= max(1, -(-(depth - slices + 2 * overhang) // stride) + 1)
    assert max(covered.values()) <= -(-slices // stride) + 1
    if len(starts) > 1:
        assert (starts[0], starts[-1] + slices) == (-overhang, depth + overhang)


@settings(max_examples=50, deadline=None)
@given(depth=st.integers(1, 60), half=st.integers(0, 4))
def test_at_a_stride_of_one_there_is_a_stack_around_every_slice(depth, half):
    starts = stack_starts(depth, 2 * half + 1, 1, half)
    assert [start + half for start in starts] == list(range(depth))


@settings(max_examples=50, deadline=None)
@given(depth=st.integers(1, 30), more=st.integers(0, 30))
def test_a_short_volume_lies_in_the_middle_of_one_stack(depth, more):
    (start,) = stack_starts(depth, depth + more, 1, 0)
    assert abs(-start - (start + more)) <= 1 or more == 0
    assert start <= 0 <= start + more
