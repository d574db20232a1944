"""Means leave out missing values; intervals draw whole cases."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sautomed.errors import UsageError
from sautomed.evaluation.scores import Score, bootstrap_means, summarise, write_scores, write_summary


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


def test_missing_values_are_left_out_of_mean_and_count():
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


def test_a_summary_counts_every_status():
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
    write_summary(summary, tmp_path / "summary.json", tolerance_mm=2.0, seed=3)
    missing = "," * len(summary.metrics)
    assert (tmp_path / "scores.csv").read_text().splitlines()[1] == f"a,1,organ 1,{missing}2,40,50,absent"
    content = json.loads((tmp_path / "summary.json").read_text(), parse_constant=pytest.fail)
    assert content["metric_per_case"][0]["metrics"]["1"]["Dice"] is None
    assert content["foreground_mean"]["Dice"] is None
    assert content["tolerance_mm"] == 2.0
    assert content["bootstrap"] == {"resamples": 2000, "seed": 3}


def test_no_class_at_all_is_a_summary_without_rows(tmp_path):
    """No label anywhere, or every case failed and no dataset.json names the classes."""
    summary = summarise([], failed={"a": "why"}, files={"a": (tmp_path / "p", tmp_path / "r")})
    assert (summary.names, summary.overall["dsc"].cases) == ({}, 0)
    assert math.isnan(summary.overall["dsc"].mean)
    write_scores(summary, tmp_path / "scores.csv")
    write_summary(summary, tmp_path / "summary.json", tolerance_mm=2.0, seed=0)
    assert len((tmp_path / "scores.csv").read_text().splitlines()) == 1
    assert json.loads((tmp_path / "summary.json").read_text())["failed"] == {"a": "why"}


# --- conventions ------------------------------------------------------------------------------------------------------


def legacy_row(case, class_id, dsc, hd, status="scored"):
    return Score(
        case, class_id, f"organ {class_id}", status, {"dsc": dsc, "hd95_voxels": hd}, 2.0, 60, 20, 40, 880, 0.5
    )


def test_columns_and_entries_follow_the_convention(tmp_path):
    summary = summarise([legacy_row("a", 1, 0.9, 3.25)], files={"a": (tmp_path, tmp_path)}, convention="transunet")
    assert (summary.convention, summary.metrics) == ("transunet", ("dsc", "hd95_voxels"))
    write_scores(summary, tmp_path / "scores.csv")
    write_summary(summary, tmp_path / "summary.json", tolerance_mm=2.0, seed=0)
    lines = (tmp_path / "scores.csv").read_text().splitlines()
    assert lines[0] == "case,class_id,class,dsc,hd95_voxels,tolerance_mm,volume_pred_ml,volume_ref_ml,status"
    assert lines[1] == "a,1,organ 1,0.9,3.25,2,40,50,scored"
    content = json.loads((tmp_path / "summary.json").read_text())
    assert content["convention"] == "transunet"
    assert content["mean"]["1"]["HD95_voxels"] == 3.25
    assert set(content["intervals_95"]["foreground"]) == {"Dice", "HD95_voxels"}
    assert not {"HD95", "NSD"} & set(content["foreground_mean"])


def test_the_default_convention_is_ours(tmp_path):
    summary = summarise([row("a", 1, 0.9)])
    assert summary.convention == "ours"
    write_summary(summary, tmp_path / "summary.json", tolerance_mm=2.0, seed=0)
    assert json.loads((tmp_path / "summary.json").read_text())["convention"] == "ours"


def test_an_unknown_convention_is_refused():
    with pytest.raises(UsageError, match="no metric convention 'medpy'"):
        summarise([], convention="medpy")


def test_legacy_means_count_empty_masks_as_they_were_counted():
    """Those programs average over cases, one table of classes per case."""
    table = {"a": [(0.9, 2.0), (0, 0)], "b": [(0.7, 4.0), (1, 0)], "c": [(0, 0), (0.5, 9.0)]}
    rows = [legacy_row(case, k, *pair) for case, pairs in table.items() for k, pair in enumerate(pairs, start=1)]
    expected = np.mean([np.array(pairs) for pairs in table.values()], axis=0)  # (classes, dsc and hd95)
    summary = summarise(rows, convention="transunet")
    for i, metric in enumerate(("dsc", "hd95_voxels")):
        assert [summary.classes[k][metric].mean for k in (1, 2)] == pytest.approx(list(expected[:, i]), rel=1e-14)
        assert summary.overall[metric].mean == pytest.approx(expected[:, i].mean(), rel=1e-14)
        assert summary.overall[metric].cases == 3
