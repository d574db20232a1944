"""Laws that every metric of the table obeys in every convention that has it."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sautomed.evaluation import CONVENTIONS, METRICS, compare, compare_labels

EACH = [
    pytest.param(score, metric, id=f"{convention}-{name}")
    for name, metric in METRICS.items()
    for convention, score in metric.scores.items()
]
SPACING = (3.0, 0.8, 0.8)
masks = arrays(bool, (4, 5, 6))
spacings = st.tuples(*[st.sampled_from([0.5, 0.8, 1.0, 1.7, 3.0, 7.7])] * 3)


def cube():
    mask = np.zeros((8, 9, 10), bool)
    mask[2:6, 3:7, 4:8] = True
    return mask


def test_every_metric_belongs_to_known_conventions_and_has_a_key_of_its_own():
    for metric in METRICS.values():
        assert metric.scores
        assert set(metric.scores) <= set(CONVENTIONS)
    keys = [metric.summary_key for metric in METRICS.values()]
    assert len(set(keys)) == len(keys)


def test_labels_name_unit_and_tolerance():
    assert METRICS["dsc"].label(2.0) == "DSC"
    assert METRICS["hd95_voxels"].label() == "HD95 (voxels)"
    assert (METRICS["nsd"].label(1.5), METRICS["nsd"].label()) == ("NSD at 1.5 mm", "NSD")


@pytest.mark.parametrize(("score", "metric"), EACH)
@given(prediction=masks, reference=masks, spacing=spacings)
@settings(deadline=None, max_examples=15)
def test_a_score_is_a_number_in_its_range_or_nan(score, metric, prediction, reference, spacing):
    value = score(compare(prediction, reference, spacing), 2.0)
    assert isinstance(value, float)
    assert math.isnan(value) or 0 <= value <= (1 if metric.higher_is_better else math.inf)


@pytest.mark.parametrize(("score", "metric"), EACH)
def test_equal_masks_have_the_perfect_score(score, metric):
    assert score(compare(cube(), cube(), SPACING), 2.0) == float(metric.higher_is_better)


@pytest.mark.parametrize(("score", "metric"), EACH)
def test_different_masks_have_a_worse_score(score, metric):
    value = score(compare(np.roll(cube(), 2, axis=0) & cube(), cube(), SPACING), 2.0)
    assert value < 1 if metric.higher_is_better else value > 0


@pytest.mark.parametrize(("score", "metric"), EACH)
@given(prediction=masks, reference=masks, shift=st.tuples(*[st.integers(1, 4)] * 3))
@settings(deadline=None, max_examples=10)
def test_a_score_does_not_depend_on_where_the_masks_are(score, metric, prediction, reference, shift):
    # A margin of background on all sides, so that shifting cuts nothing off.
    pair = [np.pad(mask, 5) for mask in (prediction, reference)]
    shifted = [np.roll(mask, shift, axis=(0, 1, 2)) for mask in pair]
    assert score(compare(*shifted, SPACING), 2.0) == pytest.approx(score(compare(*pair, SPACING), 2.0), nan_ok=True)


@pytest.mark.parametrize(("score", "metric"), EACH)
@pytest.mark.parametrize("seed", range(4))
def test_cropping_to_the_box_of_each_class_changes_no_score(score, metric, seed):
    prediction, reference = np.random.default_rng(seed).integers(0, 4, (2, 4, 5, 6)).astype(np.uint8)
    for k, cropped in compare_labels(prediction, reference, (1, 2, 3, 9), SPACING):  # 9 is in neither
        whole = compare(prediction == k, reference == k, SPACING)
        assert score(cropped, 2.0) == pytest.approx(score(whole, 2.0), nan_ok=True)
