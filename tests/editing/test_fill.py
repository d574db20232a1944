"""Shapes between two shapes."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sautomed.editing.fill import masks_between

masks = arrays(bool, (9, 11)).filter(np.any)
spacings = st.tuples(st.floats(0.3, 3), st.floats(0.3, 3))


@given(masks, masks, st.integers(1, 6), spacings)
def test_each_has_what_both_have_and_nothing_that_neither_has(first, last, count, spacing_mm):
    found = masks_between(first, last, count, spacing_mm)
    assert len(found) == count
    for mask in found:
        assert not (first & last & ~mask).any()
        assert not (mask & ~(first | last)).any()


@given(masks, masks, st.integers(1, 6), spacings)
def test_from_the_other_side_they_come_in_the_other_order(first, last, count, spacing_mm):
    there, back = masks_between(first, last, count, spacing_mm), masks_between(last, first, count, spacing_mm)
    assert all(np.array_equal(a, b) for a, b in zip(there, reversed(back), strict=True))


def test_a_slice_that_is_wholly_an_organ_has_an_outline_too():
    whole, part = np.ones((9, 11), bool), np.zeros((9, 11), bool)
    part[4:6, 4:6] = True
    (found,) = masks_between(whole, part, 1, (1.0, 1.0))
    assert part.sum() < found.sum() < whole.sum()


def test_half_way_is_half_way_in_mm():
    small, large = np.zeros((9, 30), bool), np.zeros((9, 30), bool)
    small[:, :6], large[:, :18] = True, True
    (found,) = masks_between(small, large, 1, (50.0, 1.0))  # the ends of the rows are far away
    assert np.flatnonzero(found[4]).size == 12
