import math
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import stats

from sautomed.evaluation.conventions import convention_named
from sautomed.report.scores import CaseScore
from sautomed.study.report.grouping import Group, Row, ScoredRun
from sautomed.study.report.runs import Run
from sautomed.study.report.statistics import (
    best_row,
    comparisons_with_best,
    group_means,
    holm,
    paired_bootstrap,
    patient_table,
    smallest_wilcoxon_p,
    wilcoxon_p,
)

P = st.floats(0, 1)
DIFFERENCES = st.lists(st.floats(-1, 1).map(lambda x: round(x, 3)), min_size=2, max_size=12)


def row(label: str, *seeds: dict[str, float], prompts="none", metric="dsc", patients=()) -> Row:
    """A system with one organ: per seed, the score of each case."""
    scored = []
    for seed, of_seed in enumerate(seeds):
        run = Run(
            f"{label}{seed}", label, "m", "d", 0, "done", Path("x"), seed=seed, prompts=prompts, patients=dict(patients)
        )
        scores = [CaseScore(case, 1, "liver", {"dsc": v, metric: v}, "scored") for case, v in of_seed.items()]
        scored.append(ScoredRun(run, tuple(scores)))
    return Row(tuple(scored))


def row_of_organs(label: str, **metrics: list[tuple[float, float]]) -> Row:
    """A system with two organs: per metric, the values of both in each case."""
    scores = [
        CaseScore(f"case_{i}", k + 1, ["liver", "spleen"][k], {name: v[i][k] for name, v in metrics.items()}, "scored")
        for i in range(len(metrics["dsc"]))
        for k in (0, 1)
    ]
    return Row((ScoredRun(Run(label, label, "m", "d", 0, "done", Path("x")), tuple(scores)),))


def group(*rows: Row, metrics=("dsc",), labels=("liver",)) -> Group:
    return Group("d", "d", dict(enumerate(labels, 1)), rows[0].scope, convention_named("ours"), None, metrics, rows)


def cases(values) -> dict[str, float]:
    return {f"case_{i:02d}": float(value) for i, value in enumerate(values)}


def slow_holm(p_values: list[float]) -> list[float]:
    """Each p is the largest, over all that are no larger, of p times the number of p that are at least as large."""
    return [max(min(1.0, q * sum(other >= q for other in p_values)) for q in p_values if q <= p) for p in p_values]


@given(st.lists(P, max_size=8))
@settings(max_examples=60, deadline=None)
def test_holm_is_the_slow_reference(p_values):
    assert holm(p_values) == pytest.approx(slow_holm(p_values))


@given(st.lists(P, min_size=1, max_size=8))
@settings(max_examples=60, deadline=None)
def test_holm_keeps_order_lowers_nothing_and_stays_below_one(p_values):
    corrected = holm(p_values)
    assert all(p <= c <= 1 for p, c in zip(p_values, corrected, strict=True))
    ordered = [c for _, c in sorted(zip(p_values, corrected, strict=True))]
    assert ordered == sorted(ordered)


def test_holm_leaves_out_what_was_not_tested():
    corrected = holm([0.01, math.nan, 0.04])
    assert corrected[0] == pytest.approx(0.02)
    assert math.isnan(corrected[1])
    assert corrected[2] == pytest.approx(0.04)
    assert holm([]) == []


def test_equal_systems_differ_by_nothing_and_surely_by_chance():
    interval, p = paired_bootstrap(np.zeros(8))
    assert (interval.mean, interval.low, interval.high, p) == (0, 0, 0, 1)
    assert wilcoxon_p(np.zeros(8)) == 1


@given(DIFFERENCES)
@settings(max_examples=30, deadline=None)
def test_turning_the_sign_turns_the_interval_and_keeps_p(differences):
    there, p_there = paired_bootstrap(np.array(differences))
    back, p_back = paired_bootstrap(-np.array(differences))
    assert p_there == p_back
    assert (there.mean, there.low, there.high) == pytest.approx((-back.mean, -back.high, -back.low))
    assert 0 < p_there <= 1


def test_a_difference_that_all_patients_share_is_sure():
    interval, p = paired_bootstrap(np.linspace(0.1, 0.2, 10))
    assert 0.1 < interval.low < 0.15 < interval.high < 0.2
    assert p < 0.001


def test_p_of_the_bootstrap_is_two_sided_and_counts_the_sample_itself():
    assert paired_bootstrap(np.array([0.1, 0.3]))[1] == pytest.approx(2 / 2001)


def test_a_mean_that_is_zero_but_for_rounding_is_zero():
    assert paired_bootstrap(np.array([0.1, 0.2, -0.3]))[1] == paired_bootstrap(np.array([1.0, 2.0, -3.0]))[1]


def test_differences_that_are_zero_but_for_rounding_are_zero():
    seeds = [cases([value] * 6) for value in (0.1, 0.2, 0.3)]
    assert sum([0.1, 0.2, 0.3]) != sum([0.3, 0.2, 0.1])
    (one,) = comparisons_with_best(group(row("A", *seeds), row("B", *reversed(seeds))), "dsc")
    assert (one.difference.mean, one.better, one.bootstrap_p, one.wilcoxon_p) == (0, 0, 1, 1)


def test_fewer_than_two_patients_are_not_tested():
    assert math.isnan(paired_bootstrap(np.array([0.3]))[1])
    assert math.isnan(paired_bootstrap(np.empty(0))[1])
    assert math.isnan(wilcoxon_p(np.array([0.3])))


@given(DIFFERENCES)
@settings(max_examples=30, deadline=None)
@example([0.1, 0.2, 0.3, 0.4, 0.5, 0.0])  # 0.0625, for a normal law 0.043
@example([0.1, 0.1, -0.1, 0.2])
def test_wilcoxon_is_that_of_all_signs_in_spite_of_ties_and_zeros(differences):
    known = np.array([difference for difference in differences if difference])
    ranks = stats.rankdata(np.abs(known))
    signs = np.array(list(product((0, 1), repeat=len(known)))).reshape(2 ** len(known), len(known))
    sums, reached = signs @ ranks, ranks[known > 0].sum()
    slow = min(1.0, 2 * min(np.mean(sums >= reached), np.mean(sums <= reached)))
    assert wilcoxon_p(np.array(differences)) == pytest.approx(slow)


@pytest.mark.parametrize("patients", [2, 4, 5, 6, 8])
def test_wilcoxon_goes_no_lower_than_two_in_two_to_the_n(patients):
    assert wilcoxon_p(np.linspace(0.1, 0.2, patients)) == pytest.approx(smallest_wilcoxon_p(patients))
    assert (smallest_wilcoxon_p(patients) < 0.05) == (patients >= 6)


def test_seeds_are_averaged_for_each_patient_first():
    table = patient_table(row("A", cases([0.2, 0.4]), cases([0.4, 0.8])), "dsc", ["case_00", "case_01"], [1])
    assert table[:, 0] == pytest.approx([0.3, 0.6])


def test_scans_of_one_patient_count_once():
    found = group(row("A", cases([0.2, 0.4, 0.9]), patients={"case_00": "p", "case_01": "p"}))
    assert found.patients == ("case_02", "p")
    assert group_means(found, "dsc")[0].overall.mean == pytest.approx((0.9 + 0.3) / 2)
    assert group_means(found, "dsc")[0].overall.cases == 2


def test_a_value_that_is_lacking_leaves_a_gap():
    table = patient_table(row("A", cases([math.nan, 0.4])), "dsc", ["case_00", "case_01"], [1])
    assert math.isnan(table[0, 0])


def test_the_best_is_never_an_oracle():
    oracle, good, poor = (
        row("O", cases([1, 1]), prompts="box"), row("G", cases([0.8, 0.9])), row("P", cases([0.1, 0.2]))
    )  # fmt: skip
    found = group(poor, oracle, good)
    assert best_row(found) is good
    assert [one.row.name for one in comparisons_with_best(found, "dsc")] == ["P"]
    assert best_row(group(oracle)) is None
    assert comparisons_with_best(group(oracle), "dsc") == []


def test_a_system_that_is_worse_in_every_patient_differs_from_the_best():
    steps = np.linspace(0, 0.09, 10)
    found = group(row("G", cases(0.8 + steps)), row("P", cases(0.5 + steps**2)), row("Q", cases(0.79 - steps)))
    worse, _ = comparisons_with_best(found, "dsc")
    assert worse.difference.mean < 0
    assert worse.better == 0
    assert worse.is_significant
    assert worse.wilcoxon_holm == pytest.approx(2 * smallest_wilcoxon_p(10))
    assert worse.bootstrap_holm == pytest.approx(2 * worse.bootstrap_p)


def test_each_organ_has_its_own_mean():
    found = group(row_of_organs("A", dsc=[(0.9, 0.2), (0.7, 0.4)]), labels=("liver", "spleen"))
    (means,) = group_means(found, "dsc")
    assert [means.classes[k].mean for k in (1, 2)] == pytest.approx([0.8, 0.3])
    assert means.overall.mean == pytest.approx(0.55)


def test_distances_are_compared_on_organs_that_both_found():
    dsc, lost = [(0.9, 0.9)] * 2, [(0.8, 0.0)] * 2
    far = row_of_organs("A", dsc=dsc, hd95_mm=[(2.0, 30.0), (3.0, 40.0)])
    half = row_of_organs("B", dsc=lost, hd95_mm=[(5.0, math.nan), (5.0, math.nan)])
    (one,) = comparisons_with_best(group(far, half, metrics=("dsc", "hd95_mm"), labels=("liver", "spleen")), "hd95_mm")
    assert one.difference.mean == pytest.approx(2.5)


def test_four_patients_are_too_few_whatever_the_bootstrap_says():
    found = group(row("G", cases([0.8, 0.81, 0.83, 0.86])), row("P", cases([0.1, 0.2, 0.3, 0.31])))
    (worse,) = comparisons_with_best(found, "dsc")
    assert worse.bootstrap_holm < 0.01
    assert not worse.is_significant


def test_distances_are_compared_where_both_systems_have_one():
    found = group(
        row("G", cases([3.0, 2.0, 5.0]), metric="hd95_mm"),
        row("P", cases([1.0, math.nan, 4.0]), metric="hd95_mm"),
        metrics=("dsc", "hd95_mm"),
    )
    (one,) = comparisons_with_best(found, "hd95_mm")
    assert one.row.name == "P"
    assert (one.difference.mean, one.difference.cases, one.better) == (pytest.approx(-1.5), 2, 2)
