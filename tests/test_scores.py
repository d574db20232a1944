"""Means leave out what has no value, intervals draw whole cases."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sautomed.scores import Score, bootstrap_means, summarise, write_scores, write_summary


def row(case, class_id, dsc, status="scored", hd=1.0):
    values = {"dsc": dsc, "hd95_mm": hd, "hd_mm": hd, "nsd": dsc}
    return Score(case, class_id, f"organ {class_id}", status, values, 2.0, 60, 20, 40, 880, 0.5)


tables = arrays(np.float64, st.tuples(st.integers(2, 9), st.integers(1, 4)), elements=st.floats(0, 1))


@given(tables)
@settings(deadline=None, max_examples=40)
def test_intervals_hold_the_mean_and_stay_within_the_values(table):
    per_class, together = bootstrap_means(table, resamples=200)
    for k, interval in enumerate(per_class):
        assert interval.mean == pytest.approx(table[:, k].mean())
        assert table[:, k].min() - 1e-12 <= interval.low <= interval.high <= table[:, k].max() + 1e-12
    assert together.mean == pytest.approx(table.mean(axis=0).mean())
    assert together.cases == len(table)


def test_the_interval_is_that_of_drawing_cases_with_replacement():
    table = np.random.default_rng(1).normal(size=(30, 2))
    per_class, together = bootstrap_means(table, seed=3, resamples=4000)
    rng = np.random.default_rng(9)
    drawn = np.array([table[rng.integers(0, 30, 30)].mean(axis=0) for _ in range(4000)])
    expected = np.percentile(drawn, [2.5, 97.5], axis=0)
    for k in range(2):
        assert [per_class[k].low, per_class[k].high] == pytest.approx(expected[:, k], abs=0.03)
    assert [together.low, together.high] == pytest.approx(np.percentile(drawn.mean(axis=1), [2.5, 97.5]), abs=0.03)


def test_the_same_seed_gives_the_same_interval():
    table = np.random.default_rng(1).normal(size=(10, 2))
    assert bootstrap_means(table, seed=1) == bootstrap_means(table, seed=1)
    assert bootstrap_means(table, seed=1) != bootstrap_means(table, seed=2)


def test_values_that_are_lacking_are_left_out_of_mean_and_count():
    per_class, together = bootstrap_means(np.array([[1.0, np.nan], [0.5, np.nan], [np.nan, np.nan]]))
    assert (per_class[0].mean, per_class[0].cases) == (0.75, 2)
    assert math.isnan(per_class[1].mean)
    assert per_class[1].cases == 0
    assert together.mean == 0.75


def test_one_case_has_a_mean_but_no_interval():
    per_class, _ = bootstrap_means(np.array([[0.8]]))
    assert per_class[0].mean == 0.8
    assert math.isnan(per_class[0].low)
    assert math.isnan(per_class[0].high)


def test_a_summary_counts_what_no_mean_shows():
    nan = math.nan
    rows = [
        row("a", 1, 0.9, hd=2.0),
        row("b", 1, 0.0, "missed", hd=nan),
        row("a", 2, nan, "absent", hd=nan),
        row("b", 2, 0.5),
    ]
    summary = summarise(rows)
    assert summary.classes[1]["dsc"].mean == pytest.approx(0.45)
    assert summary.classes[1]["hd_mm"].mean == 2.0
    assert summary.classes[2]["dsc"].mean == 0.5
    assert summary.overall["dsc"].mean == pytest.approx((0.45 + 0.5) / 2)
    assert summary.counts == {1: {"scored": 1, "missed": 1}, 2: {"absent": 1, "scored": 1}}


def test_files_hold_no_nan(tmp_path):
    summary = summarise([row("a", 1, math.nan, "absent", hd=math.nan)], files={"a": (tmp_path / "p", tmp_path / "r")})
    write_scores(summary, tmp_path / "scores.csv")
    write_summary(summary, tmp_path / "summary.json", tolerance_mm=2.0)
    assert (tmp_path / "scores.csv").read_text().splitlines()[1] == "a,1,organ 1,,,,,2,40,50,absent"
    content = json.loads((tmp_path / "summary.json").read_text(), parse_constant=pytest.fail)
    assert content["metric_per_case"][0]["metrics"]["1"]["Dice"] is None
    assert content["foreground_mean"]["Dice"] is None
    assert content["tolerance_mm"] == 2.0


def test_no_class_at_all_is_a_summary_without_rows(tmp_path):
    """No label anywhere, or every case failed and no dataset.json names what should be there."""
    summary = summarise([], failed={"a": "why"}, files={"a": (tmp_path / "p", tmp_path / "r")})
    assert (summary.names, summary.overall["dsc"].cases) == ({}, 0)
    assert math.isnan(summary.overall["dsc"].mean)
    write_scores(summary, tmp_path / "scores.csv")
    write_summary(summary, tmp_path / "summary.json")
    assert len((tmp_path / "scores.csv").read_text().splitlines()) == 1
    assert json.loads((tmp_path / "summary.json").read_text())["failed"] == {"a": "why"}
