"""Intensities as 16 bits."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sautomed.studio.grey import grey_scale

FINITE = st.floats(-1e6, 1e6, width=32)


@given(arrays(np.float32, (2, 3, 4), elements=FINITE))
def test_what_is_stored_is_the_intensity_within_half_a_step(array):
    scale = grey_scale(array)
    back = scale.stored(array) * scale.slope + scale.intercept
    assert np.abs(back - array).max() <= scale.slope / 2 * (1 + 1e-6) + 1e-9 * np.abs(array).max()


def test_hounsfield_units_are_exact():
    array = np.arange(-1024, 3072, dtype=np.float32).reshape(1, 64, 64)
    scale = grey_scale(array)
    assert (scale.slope, scale.intercept) == (1, 0)
    assert np.array_equal(scale.stored(array), array)
    assert scale.stored(array).dtype == np.dtype("<i2")


@pytest.mark.parametrize("value", [0.5, -1e30, 1e30])
def test_a_scan_of_one_intensity_has_a_scale(value):
    array = np.full((1, 2, 2), value, np.float32)
    assert np.isfinite(grey_scale(array).stored(array)).all()
