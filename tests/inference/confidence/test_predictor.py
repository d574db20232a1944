"""The regression that predicts a DSC."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sautomed.inference.confidence.features import FEATURES, logit_of
from sautomed.inference.confidence.predictor import FEWEST_CASES, DscPredictor, fit_predictor

ONE = {"soft_dice": logit_of("soft_dice")}


def rows(*soft_dice):
    return [{"soft_dice": value} for value in soft_dice]


def test_what_goes_with_the_signal_is_predicted_from_it():
    dice = np.linspace(0.3, 0.95, 40)
    predictor = fit_predictor(rows(*dice), dice, cases=20, features=ONE)
    for value in (0.4, 0.6, 0.9):
        assert predictor.predict({"soft_dice": value}) == pytest.approx(value, abs=0.03)


def test_a_signal_that_is_missing_counts_as_average():
    predictor = fit_predictor(rows(0.5, 0.9), [0.4, 0.9], cases=2, features=ONE)
    average = 1 / (1 + math.exp(-predictor.intercept))
    assert predictor.predict({}) == predictor.predict({"soft_dice": math.nan}) == pytest.approx(average)


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=8))
def test_whatever_the_rows_a_dsc_is_predicted_and_more_sureness_never_lowers_a_rising_one(pairs):
    soft, dsc = zip(*pairs, strict=True)
    predictor = fit_predictor(rows(*soft), dsc, cases=1, features=ONE)
    found = [predictor.predict({"soft_dice": value}) for value in (0.0, 0.3, 0.6, 1.0)]
    assert all(0 <= value <= 1 for value in found)
    assert found in (sorted(found), sorted(found, reverse=True))
    assert DscPredictor.model_validate_json(predictor.model_dump_json()) == predictor


def test_a_feature_that_no_row_has_counts_for_nothing():
    predictor = fit_predictor([{}, {}], [0.5, 0.7], cases=2, features=ONE)
    assert predictor.features["soft_dice"].coefficient == 0


def test_without_a_row_there_is_no_predictor():
    assert fit_predictor([], [], cases=3) is None


def test_few_cases_are_named_uncalibrated():
    few, enough = (fit_predictor(rows(0.5), [0.5], cases=n) for n in (FEWEST_CASES - 1, FEWEST_CASES))
    assert (few.is_calibrated, enough.is_calibrated) == (False, True)
    assert few.basis == "9 cases: uncalibrated, as these are fewer than 10"
    assert enough.basis == "10 cases"


def test_all_shipped_features_are_used():
    assert set(fit_predictor(rows(0.5), [0.5], cases=1).features) == set(FEATURES)
