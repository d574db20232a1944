import pytest

from sautomed.evaluation.evaluate import evaluate
from sautomed.study.report.runs import read_study
from sautomed.study.report.tables import study_tables


def test_means_carry_intervals_and_the_best_of_the_unprompted_is_bold(tables, cell):
    overview = tables["overview"]
    best, oracle = cell(overview, "3D-SAutoMed", "dsc"), cell(overview, "Slide-SAM", "dsc")
    assert best.low < best.value < best.high < oracle.value == 1
    assert (best.of, best.best, oracle.best) == (8, True, False)
    assert not cell(overview, "SAMed", "dsc").best
    assert cell(overview, "3D-SAutoMed", "hd95_mm").best  # lower is better


def test_the_mean_over_organs_is_that_of_their_means(tables, cell):
    organs = [cell(tables["dsc"], "SAMed", key).value for key in ("liver", "left_kidney", "gallbladder")]
    assert cell(tables["dsc"], "SAMed", "mean").value == pytest.approx(sum(organs) / 3)
    assert cell(tables["dsc"], "SAMed", "mean") == cell(tables["overview"], "SAMed", "dsc")


def test_a_system_that_differs_from_the_best_is_marked_and_the_mark_explained(tables, cell):
    assert cell(tables["overview"], "TransUNet", "dsc").mark == "*"
    assert cell(tables["overview"], "3D-SAutoMed", "dsc").mark == ""
    assert any(note.startswith("*") for note in tables["overview"].notes)


def test_a_distance_without_the_missed_cases_is_marked_and_never_best(tables, cell):
    assert cell(tables["hd95_mm"], "SAMed", "gallbladder").mark == "†"
    assert cell(tables["hd95_mm"], "SAMed", "liver").mark == ""
    assert cell(tables["overview"], "SAMed", "hd95_mm").mark == "†"
    assert cell(tables["dsc"], "SAMed", "gallbladder").mark == ""
    assert any(note.startswith("†") for note in tables["hd95_mm"].notes)


def test_the_legacy_convention_has_its_own_columns(study_copy, change_run):
    study = read_study(study_copy)
    for run in study.runs:
        if run.status == "done":
            evaluate(run.predictions, run.dataset_folder, run.folder / "scores", convention="transunet")
        change_run(study_copy, run.id, convention="transunet", tolerance_mm=None)
    overview = study_tables(read_study(study_copy))[0].tables[0]
    assert [column.heading for column in overview.columns] == ["prompts", "DSC", "HD95 (voxels)"]
    assert any("TransUNet's" in note for note in overview.notes)
