import json
import math

import pytest

from sautomed.errors import BadTable, MissingFile
from sautomed.study.report.runs import case_scores, metric_names, read_study


def test_runs_come_in_the_order_of_the_study_with_their_costs_and_reasons(fake_study):
    study = read_study(fake_study)
    assert study.title == "Blobs in miniature"
    assert [run.label for run in study.runs[:4]] == ["3D-SAutoMed", "3D-SAutoMed", "SAMed", "SAMed"]
    done, left_out = study.runs[0], study.runs[-1]
    assert (done.status, done.fold, done.reason, done.costs.steps) == ("done", 0, "", 1200)
    assert done.labels == {1: "liver", 2: "left_kidney", 3: "gallbladder"}
    assert (left_out.status, left_out.costs, left_out.is_oracle) == ("left_out", None, True)
    assert left_out.reason == "an untrained trunk cannot segment zero-shot"


def test_the_files_of_a_run_are_where_its_properties_say(fake_study):
    run = read_study(fake_study).runs[0]
    assert run.prediction_of("case_0").is_file()
    assert run.prompts_of("case_0").is_file()
    assert run.scores_csv.is_file()
    assert run.summary_json.is_file()
    assert run.training_log.is_file()


def test_a_run_that_was_not_trained_has_no_log(fake_study):
    assert read_study(fake_study).runs[-1].training_log is None


def test_case_scores_hold_every_class_of_every_case_and_nan_where_nothing_was_measured(fake_study):
    samed = next(run for run in read_study(fake_study).runs if run.row == ("SAMed", ""))
    scores = {(score.case, score.class_name): score for score in case_scores(samed)}
    assert len(scores) == 4 * 3
    missed, absent = scores["case_0", "gallbladder"], scores["case_1", "gallbladder"]
    assert (missed.status, missed.values["dsc"]) == ("missed", 0)
    assert math.isnan(missed.values["hd95_mm"])
    assert absent.status == "absent"
    assert math.isnan(absent.values["dsc"])
    assert metric_names(list(scores.values()))[:2] == ("dsc", "hd95_mm")


def test_planned_runs_that_have_not_ended_are_pending(study_copy):
    run_id = read_study(study_copy).runs[0].id
    (study_copy / "runs" / run_id / "run.json").unlink()
    assert read_study(study_copy).pending == (run_id,)


def test_a_run_without_scores_says_which_file_is_lacking(fake_study):
    with pytest.raises(MissingFile, match="scores"):
        case_scores(read_study(fake_study).runs[-1])


def test_a_folder_that_is_no_study_is_refused(tmp_path):
    with pytest.raises(MissingFile, match=r"study\.json"):
        read_study(tmp_path)


def test_a_study_without_an_ended_run_is_refused(tmp_path):
    (tmp_path / "study.json").write_text('{"title": "new"}')
    with pytest.raises(MissingFile, match="no run that has ended"):
        read_study(tmp_path)


@pytest.mark.parametrize(
    ("entry", "value"), [("status", "perhaps"), ("fold", "first"), ("prompts", None), ("cases", 3)]
)
def test_a_run_json_of_another_form_is_refused_with_the_entry_named(study_copy, change_run, entry, value):
    change_run(study_copy, read_study(study_copy).runs[0].id, **{entry: value})
    with pytest.raises(BadTable, match=entry):
        read_study(study_copy)


def test_a_run_json_that_is_no_object_is_refused(study_copy):
    path = study_copy / "runs" / read_study(study_copy).runs[0].id / "run.json"
    path.write_text(json.dumps([1]))
    with pytest.raises(BadTable, match="object"):
        read_study(study_copy)


def test_text_among_the_scores_is_refused(study_copy):
    run = read_study(study_copy).runs[0]
    run.scores_csv.write_text(run.scores_csv.read_text().replace("liver,0", "liver,good", 1))
    with pytest.raises(BadTable, match=r"scores\.csv"):
        case_scores(run)
