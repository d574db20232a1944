"""Scores read from the files of `evaluate`."""

import json
import math

import pytest

from sautomed.errors import BadTable
from sautomed.evaluation import CONVENTIONS, METRICS
from sautomed.report.scores import CaseScores, read_case_scores, read_cases, read_evaluation


def test_each_case_holds_its_classes_and_nan_where_there_is_no_value(scored):
    cases = {one.case: one for one in read_cases(scored / "scores.csv")}
    assert list(cases) == ["a", "b", "c"]
    missed = cases["b"].scores[1]
    assert (missed.status, missed.name, missed.values["dsc"]) == ("missed", "gallbladder", 0)
    assert math.isnan(missed.values["hd95_mm"])
    assert missed.volume_pred_ml == 0 < missed.volume_ref_ml
    assert cases["a"].mean_dsc == pytest.approx(5 / 6)
    assert cases["b"].mean_dsc == pytest.approx(5 / 12)


def test_a_summary_without_a_convention_was_scored_our_way(scored, tmp_path):
    found = json.loads((scored / "summary.json").read_text())
    assert found.pop("convention") == "ours"
    (tmp_path / "summary.json").write_text(json.dumps(found))
    assert read_evaluation(tmp_path / "summary.json").convention.name == "ours"


@pytest.mark.parametrize("name", ["medpy", ["ours"], None])
def test_a_summary_of_an_unknown_convention_is_refused(scored, tmp_path, name):
    found = json.loads((scored / "summary.json").read_text()) | {"convention": name}
    (tmp_path / "summary.json").write_text(json.dumps(found))
    with pytest.raises(BadTable, match="is not known here"):
        read_evaluation(tmp_path / "summary.json")


def test_the_bar_of_an_organ_is_in_per_cent(scored):
    mean, start, length = read_evaluation(scored / "summary.json").organs[0].dsc_bar
    assert start <= mean <= start + length <= 100
    assert mean == pytest.approx(100 * 5 / 6)


def test_columns_are_those_of_the_convention_without_the_dsc(scored):
    columns = read_evaluation(scored / "summary.json").other_columns
    shown = [column.heading for column in columns]
    assert shown[:3] == ["HD95 (mm)", "HD (mm)", "NSD at 2 mm"]
    assert shown == [METRICS[name].label(2.0) for name in CONVENTIONS["ours"].metrics[1:]]


def test_a_case_without_any_dsc_has_no_mean():
    assert math.isnan(CaseScores("a", ()).mean_dsc)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("case,class_id,class,status\na,1,liver,scored\n", "has no column dsc"),
        ("case,class,dsc,status\na,liver,0.5,scored\n", "class_id"),
        ("case,class_id,class,dsc,status\na,1,liver,good,scored\n", "good"),
        ("case,class_id,class,dsc,status\na,one,liver,0.5,scored\n", "one"),
    ],
)
def test_a_table_of_another_form_is_refused_with_its_fault(tmp_path, text, fault):
    (tmp_path / "scores.csv").write_text(text)
    with pytest.raises(BadTable, match=fault):
        read_case_scores(tmp_path / "scores.csv", "Evaluate again.", needed=["dsc"])
