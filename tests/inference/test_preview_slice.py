"""The window in which a slice is drawn."""

import numpy as np
import pytest

from sautomed.inference.preview_slice import CT_WINDOW_HU, display_window


def test_ct_is_shown_in_the_abdominal_window_and_mr_by_percentiles():
    air_and_tissue = np.linspace(-1000, 300, 101, dtype=np.float32)
    assert display_window(air_and_tissue) == CT_WINDOW_HU
    low, high = display_window(np.linspace(0, 1000, 10_001, dtype=np.float32))
    assert low == pytest.approx(5, abs=1)
    assert high == pytest.approx(995, abs=1)
    assert display_window(np.full((2, 2), 7.0, dtype=np.float32)) == (7, 8)
