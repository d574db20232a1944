"""Intensities of a scan as a few percentiles."""

from dataclasses import astuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sautomed.inference.percentiles import IntensityPercentiles, describe_range, percentiles_of

ARRAYS = st.lists(st.integers(-2000, 4000), min_size=1, max_size=200).map(lambda values: np.array(values, np.float32))


def test_ct_is_measured_as_a_whole_and_other_scans_without_their_zeros():
    array = np.concatenate([np.zeros(1000), np.arange(1, 1002)]).astype(np.float32)
    assert percentiles_of(array, "ct").p50 == pytest.approx(0.5, abs=0.5)
    assert percentiles_of(array, "other").p50 == 501
    assert percentiles_of(np.zeros(5, np.float32), "other") == IntensityPercentiles(*[0.0] * 9)


@given(ARRAYS, st.integers(-1000, 1000), st.sampled_from([0.5, 2, 8]))
def test_they_change_as_the_voxels_do(array, offset, factor):
    found = percentiles_of(array, "ct")
    for changed, expected in (
        (array + offset, found.plus(offset)),
        (factor * array, found.times(factor)),
        (offset - array, found.subtracted_from(offset)),
    ):
        assert astuple(percentiles_of(changed, "ct")) == pytest.approx(astuple(expected), rel=1e-4, abs=0.1)


def test_the_range_of_several_scans_is_one_line():
    first = percentiles_of(np.arange(1001), "ct")
    assert describe_range([first, first.plus(100)]) == "5 to 105 (0.5 %), 500 to 600 (50 %), 995 to 1095 (99.5 %)"
    assert describe_range([first]) == "5 (0.5 %), 500 (50 %), 995 (99.5 %)"
