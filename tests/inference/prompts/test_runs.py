"""Run-length code and box of a mask."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from sautomed.inference.prompts.runs import box_of_mask, mask_of, runs_of


def test_the_example_in_the_head():
    mask = np.zeros((3, 4), bool)
    mask.ravel()[5:8] = True
    assert runs_of(mask) == (5, 3, 4)
    assert box_of_mask(mask) == (1.0, 1.0, 4.0, 2.0)


def test_masks_that_begin_inside_are_full_or_are_empty():
    assert runs_of(np.ones((2, 3), bool)) == (0, 6)
    assert runs_of(np.zeros((2, 3), bool)) == (6,)
    assert box_of_mask(np.zeros((2, 3), bool)) is None


@given(arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=9)))
def test_a_code_gives_its_mask_back(mask):
    runs = runs_of(mask)
    np.testing.assert_array_equal(mask_of(runs, mask.shape), mask)
    assert all(run > 0 for run in runs[1:])


@given(arrays(bool, (7, 9)))
def test_a_box_is_as_small_as_can_be(mask):
    box = box_of_mask(mask)
    if box is None:
        assert not mask.any()
        return
    x0, y0, x1, y1 = map(int, box)
    inside = mask[y0:y1, x0:x1]
    assert inside.sum() == mask.sum()
    assert all(edge.any() for edge in (inside[0], inside[-1], inside[:, 0], inside[:, -1]))


@given(st.lists(st.integers(0, 10**12), max_size=5).filter(lambda runs: sum(runs) != 12))
def test_a_code_of_another_size_is_refused_before_memory_is_taken(runs):
    with pytest.raises(ValueError, match="pixels"):
        mask_of(runs, (3, 4))


@pytest.mark.parametrize("runs", [(7, -1, 6), (-12, 24), (-(10**15), 10**15 + 12)])
def test_negative_runs_are_refused_even_if_they_add_up(runs):
    with pytest.raises(ValueError, match="3 x 4"):
        mask_of(runs, (3, 4))
