"""Run lengths."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from sautomed.studio.run_lengths import label_runs


@given(arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=12), elements=st.integers(0, 3)))
def test_runs_repeat_to_the_labels(labels):
    runs = label_runs(labels)
    assert np.array_equal(np.repeat(runs[::2], runs[1::2]).reshape(labels.shape), labels)
    assert all(a != b for a, b in zip(runs[::2], runs[2::2], strict=False))
