"""Run lengths."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from sautomed.studio.run_lengths import label_runs, mask_from_runs


@given(arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=12), elements=st.integers(0, 3)))
def test_runs_repeat_to_the_labels(labels):
    runs = label_runs(labels)
    assert np.array_equal(np.repeat(runs[::2], runs[1::2]).reshape(labels.shape), labels)
    assert all(a != b for a, b in zip(runs[::2], runs[2::2], strict=False))


@given(arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, max_side=12)))
def test_a_mask_comes_back_from_its_runs(mask):
    runs = label_runs(mask.astype(np.uint8))
    lengths = runs[1::2] if runs[0] == 0 else [0, *runs[1::2]]
    assert np.array_equal(mask_from_runs(lengths, mask.shape), mask)


@pytest.mark.parametrize("lengths", [[], [5], [7], [10**15], [3, -1, 4], [-6, 12], [2**31 - 1] * 3])
def test_runs_of_another_size_are_refused_before_memory_is_taken(lengths):
    with pytest.raises(ValueError, match="2 x 3 pixels"):
        mask_from_runs(lengths, (2, 3))
