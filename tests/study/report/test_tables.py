import csv
import math

import pytest

from sautomed.study.report.runs import read_study
from sautomed.study.report.tables import study_tables, write_tables


@pytest.fixture(scope="module")
def tables(fake_study):
    """The leading group's tables by kind."""
    return {table.kind: table for table in study_tables(read_study(fake_study))[0].tables}


def cell(table, system: str, key: str):
    row = next(row for row in table.rows if row.name == system)
    return row.cells[[column.key for column in table.columns].index(key)]


def test_a_group_has_every_table(tables):
    metrics = ["dsc", "hd95_mm", "hd_mm", "nsd"]
    assert list(tables) == [
        "overview",
        *metrics,
        "missed",
        "spurious",
        "costs",
        *(f"against_best_{m}" for m in metrics),
    ]


def test_means_carry_intervals_and_the_best_of_the_unprompted_is_bold(tables):
    overview = tables["overview"]
    best, oracle = cell(overview, "3D-SAutoMed", "dsc"), cell(overview, "Slide-SAM", "dsc")
    assert best.low < best.value < best.high < oracle.value == 1
    assert (best.of, best.best, oracle.best) == (8, True, False)
    assert not cell(overview, "SAMed", "dsc").best
    assert cell(overview, "3D-SAutoMed", "hd95_mm").best  # lower is better


def test_the_mean_over_organs_is_that_of_their_means(tables):
    organs = [cell(tables["dsc"], "SAMed", key).value for key in ("liver", "left_kidney", "gallbladder")]
    assert cell(tables["dsc"], "SAMed", "mean").value == pytest.approx(sum(organs) / 3)
    assert cell(tables["dsc"], "SAMed", "mean") == cell(tables["overview"], "SAMed", "dsc")


def test_a_system_that_differs_from_the_best_is_marked_and_the_mark_explained(tables):
    assert cell(tables["overview"], "TransUNet", "dsc").mark == "*"
    assert cell(tables["overview"], "3D-SAutoMed", "dsc").mark == ""
    assert any(note.startswith("*") for note in tables["overview"].notes)


def test_a_distance_without_the_missed_cases_is_marked_and_never_best(tables):
    assert cell(tables["hd95_mm"], "SAMed", "gallbladder").mark == "†"
    assert cell(tables["hd95_mm"], "SAMed", "liver").mark == ""
    assert cell(tables["overview"], "SAMed", "hd95_mm").mark == "†"
    assert cell(tables["dsc"], "SAMed", "gallbladder").mark == ""
    assert any(note.startswith("†") for note in tables["hd95_mm"].notes)


def test_missed_and_invented_organs_are_counted_of_those_that_could_be(tables):
    missed, invented = (
        cell(tables["missed"], "SAMed", "gallbladder"),
        cell(tables["spurious"], "TransUNet", "gallbladder"),
    )
    assert (missed.text, missed.value, missed.of) == ("1/7", 1, 7)
    assert (invented.text, invented.value, invented.of) == ("1/1", 1, 1)
    assert cell(tables["missed"], "3D-SAutoMed", "all").text == "0/23"


def test_costs_are_shown_in_their_units_and_kept_in_full(tables):
    assert cell(tables["costs"], "SAMed", "parameters").text == "2.00"
    assert cell(tables["costs"], "SAMed", "parameters").value == 2_000_000
    assert "cuda_peak_bytes" not in [column.key for column in tables["costs"].columns]
    assert any("2 cores, no GPU" in note for note in tables["costs"].notes)


def test_every_other_unprompted_system_is_compared_with_the_best(tables):
    table = tables["against_best_dsc"]
    assert "against 3D-SAutoMed" in table.title
    assert [row.name for row in table.rows if row.cells] == ["SAMed", "TransUNet"]
    difference = cell(table, "SAMed", "difference")
    assert difference.low <= difference.value <= difference.high < 0
    assert cell(table, "SAMed", "bootstrap_p").value <= cell(table, "SAMed", "bootstrap_p_holm").value
    assert next(row.reason for row in table.rows if row.name == "Slide-SAM").startswith("told")


def test_every_table_prints_the_convention_and_marks_the_oracle(fake_study):
    for of_group in study_tables(read_study(fake_study)):
        for table in of_group.tables:
            assert any("Metric convention: ours" in note and "2 mm" in note for note in table.notes)
            oracles = [row for row in table.rows if row.name == "Slide-SAM"]
            assert all(row.is_oracle and not any(c.best for c in row.cells) for row in oracles)
            told = [c.text for row in oracles for c in row.cells] + [row.note for row in oracles]
            assert not oracles or "box from the truth" in told


def test_systems_without_scores_stand_in_the_table_with_the_reason(tables):
    for kind in ("overview", "dsc", "missed", "costs"):
        reasons = {row.name: row.reason for row in tables[kind].rows if not row.cells}
        assert reasons["Swin-Unet"].startswith("failed: 8.1 GB")
        assert reasons["SAM"].startswith("left out: an untrained trunk")
        assert "fold 1" in reasons["MA-SAM"]


def test_a_lone_system_has_no_bold_and_no_contest(fake_study):
    lone = study_tables(read_study(fake_study))[1].tables
    assert not any(c.best for table in lone for row in table.rows for c in row.cells)
    assert not any(table.kind.startswith("against_best") for table in lone)


def test_few_patients_are_said_to_be_few(study_copy, change_run):
    for run in read_study(study_copy).runs:
        if run.fold == 1:
            change_run(study_copy, run.id, status="left_out", error={"id": "", "text": "one fold is enough"})
    (of_group,) = study_tables(read_study(study_copy))
    notes = {table.kind: table.notes for table in of_group.tables}
    assert any("With 4 patients" in note and "0.125" in note for note in notes["against_best_dsc"])
    assert not any(note.startswith("*") for note in notes["overview"])


def test_planned_runs_that_have_not_ended_are_said(study_copy):
    run = read_study(study_copy).runs[0]
    (run.folder / "run.json").unlink()
    tables = study_tables(read_study(study_copy))[0].tables
    assert any("1 planned run has not ended" in note for note in tables[0].notes)


def test_the_legacy_convention_has_its_own_columns(study_copy, change_run):
    from sautomed.evaluation.evaluate import evaluate

    study = read_study(study_copy)
    for run in study.runs:
        if run.status == "done":
            evaluate(run.predictions, run.dataset_folder, run.folder / "scores", convention="transunet")
        change_run(study_copy, run.id, convention="transunet", tolerance_mm=None)
    overview = study_tables(read_study(study_copy))[0].tables[0]
    assert [column.heading for column in overview.columns] == ["prompts", "DSC", "HD95 (voxels)"]
    assert any("TransUNet's" in note for note in overview.notes)


def test_nothing_scored_at_all_is_a_table_of_reasons(study_copy, change_run):
    for run in read_study(study_copy).runs:
        change_run(study_copy, run.id, status="failed", error={"id": "", "text": "the disk was full"})
    (of_group,) = study_tables(read_study(study_copy))
    (table,) = of_group.tables
    assert {row.reason for row in table.rows} == {"failed: the disk was full"}
    assert write_tables(read_study(study_copy), study_copy / "report" / "tables")


def test_tables_are_written_three_ways_and_those_of_an_earlier_report_go(fake_study, tmp_path):
    (tmp_path / "blobs_9_dsc.csv").write_text("old")
    study = read_study(fake_study)
    written = write_tables(study, tmp_path)
    assert sorted(written) == sorted(tmp_path.iterdir())
    names = {table.name for of_group in study_tables(study) for table in of_group.tables}
    assert {path.stem for path in written} == names | {"all"}
    assert {path.suffix for path in written} == {".csv", ".md", ".tex"}


def test_the_csv_holds_the_numbers_in_full(fake_study, tmp_path, tables):
    write_tables(read_study(fake_study), tmp_path)
    with (tmp_path / "blobs_overview.csv").open(newline="") as file:
        lines = {line["system"]: line for line in csv.DictReader(file)}
    shown = cell(tables["overview"], "SAMed", "dsc")
    assert math.isclose(float(lines["SAMed"]["dsc"]), shown.value, rel_tol=1e-15)
    assert math.isclose(float(lines["SAMed"]["dsc_low"]), shown.low, rel_tol=1e-15)
    assert lines["SAM"]["reason"].startswith("left out")
