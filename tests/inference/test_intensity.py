"""Scanner units to [0, 1]."""

import numpy as np
import pytest

from sautomed.config import DataSettings
from sautomed.inference.intensity import intensity_range, modality_of, scale_intensity


@pytest.mark.parametrize(("channel", "modality"), [("CT", "ct"), ("ct", "ct"), ("T2-SPIR", "other"), ("MRI", "other")])
def test_the_channel_name_tells_ct(channel, modality):
    assert modality_of(channel, "auto") == modality
    assert modality_of(channel, "ct") == "ct"


def test_ct_goes_by_its_window_whatever_the_voxels():
    settings = DataSettings(modality="ct")
    scaled = scale_intensity(np.array([-1000.0, -125.0, 75.0, 275.0, 3000.0]), intensity_range(np.zeros(3), settings))
    assert scaled.tolist() == [0, 0, 0.5, 1, 1]


def test_mr_does_not_count_padding():
    inside = np.linspace(100, 200, 1001)
    padded = np.concatenate([np.zeros(100_000), inside])
    settings = DataSettings(modality="other")
    assert intensity_range(padded, settings) == pytest.approx((100.5, 199.5), abs=0.1)


def test_mr_is_indifferent_to_its_unit():
    settings = DataSettings(modality="other")
    array = np.random.default_rng(0).gamma(2.0, 50.0, 10_000)
    one = scale_intensity(array, intensity_range(array, settings))
    thousand = scale_intensity(1000 * array, intensity_range(1000 * array, settings))
    assert np.allclose(one, thousand, atol=1e-5)


def test_an_image_of_almost_one_value_is_not_divided_by_zero():
    array = np.zeros(10_000, np.float32)
    array[0] = 7
    bounds = intensity_range(array, DataSettings(modality="other"))
    assert np.isfinite(scale_intensity(array, bounds)).all()
