"""The prediction of a DSC."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sautomed.inference.confidence.predictor import FEWEST_CASES, DscPredictor, fit_predictor


def rows(*soft_dice):
    return [{"soft_dice": value} for value in soft_dice]


def logit(share):
    return math.log(share / (1 - share))


def test_what_the_expected_dice_is_wrong_by_is_corrected_elsewhere():
    """The expected Dice is too large by one on the scale of logits."""
    predictor = fit_predictor(rows(0.6, 0.9), [1 / (1 + math.exp(1 - logit(value))) for value in (0.6, 0.9)], cases=2)
    assert (predictor.slope, predictor.offset) == pytest.approx((1, -1))
    assert logit(predictor.predict({"soft_dice": 0.8})) == pytest.approx(logit(0.8) - 1)


def test_enough_cases_teach_a_slope_too():
    expected = (0.6, 0.8, 0.9)
    true = [1 / (1 + math.exp(1 - 0.5 * logit(value))) for value in expected]
    predictor = fit_predictor(rows(*expected), true, cases=FEWEST_CASES)
    assert (predictor.slope, predictor.offset) == pytest.approx((0.5, -1))
    assert logit(predictor.predict({"soft_dice": 0.7})) == pytest.approx(0.5 * logit(0.7) - 1)
    assert fit_predictor(rows(*expected), true, cases=FEWEST_CASES - 1).slope == 1


def test_organs_of_one_quality_do_not_make_a_bad_one_look_good():
    predictor = fit_predictor(rows(0.86, 0.88, 0.90), [0.88, 0.87, 0.88], cases=FEWEST_CASES)
    assert predictor.predict({"soft_dice": 0.3}) < 0.8


@given(
    st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=8), st.sampled_from([1, FEWEST_CASES])
)
def test_whatever_the_rows_a_surer_organ_has_a_larger_dsc(pairs, cases):
    soft, dsc = zip(*pairs, strict=True)
    predictor = fit_predictor(rows(*soft), dsc, cases=cases)
    found = [predictor.predict({"soft_dice": value}) for value in (0.0, 0.3, 0.6, 1.0)]
    assert all(0 <= value <= 1 for value in found)
    assert found == sorted(found)
    assert DscPredictor.model_validate_json(predictor.model_dump_json()) == predictor


def test_without_an_expected_dice_nothing_is_predicted():
    predictor = fit_predictor([{}, *rows(0.5)], [0.9, 0.5], cases=2)
    assert predictor.offset == 0
    assert predictor.predict({}) is None
    assert predictor.predict({"soft_dice": math.nan}) is None


def test_without_a_row_there_is_no_predictor():
    assert fit_predictor([], [], cases=3) is None
    assert fit_predictor([{}], [0.5], cases=3) is None


def test_few_cases_are_named_uncalibrated():
    few, enough = (fit_predictor(rows(0.5), [0.5], cases=n) for n in (FEWEST_CASES - 1, FEWEST_CASES))
    assert (few.is_calibrated, enough.is_calibrated) == (False, True)
    assert few.basis == "9 cases: uncalibrated, as these are fewer than 10"
    assert enough.basis == "10 cases"
