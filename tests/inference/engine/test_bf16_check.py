"""When a model is as good in bf16."""

import pytest

from sautomed.inference.engine.bf16_check import TOLERANCE, Bf16Check


@pytest.mark.parametrize(
    ("mean", "passed"), [(0.9, True), (0.9 - 0.99 * TOLERANCE, True), (0.9 + 0.99 * TOLERANCE, True), (0.897, False)]
)
def test_it_is_if_the_means_differ_by_no_more_than_the_tolerance(mean, passed):
    check = Bf16Check.of({"liver": mean}, mean, 0.9)
    assert check.difference == pytest.approx(mean - 0.9)
    assert check.passed == passed


@pytest.mark.parametrize("means", [(None, 0.9), (0.9, None), (None, None)])
def test_without_a_score_it_is_not_known_to_be(means):
    check = Bf16Check.of({"liver": None}, *means)
    assert (check.difference, check.passed) == (None, False)
