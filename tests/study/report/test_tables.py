import csv
import math
from dataclasses import replace

from sautomed.evaluation import CONVENTIONS
from sautomed.report.table import TableKind
from sautomed.study.report.runs import read_study
from sautomed.study.report.tables import study_tables, write_tables


def test_a_group_has_every_table(tables):
    metrics = CONVENTIONS["ours"].metrics
    assert list(tables) == [
        "overview",
        *metrics,
        "missed",
        "spurious",
        "costs",
        *(f"against_best_{m}" for m in metrics),
    ]


def test_every_table_prints_the_convention_and_marks_the_oracle(fake_study):
    for of_group in study_tables(read_study(fake_study)):
        for table in of_group.tables:
            assert any("Metric convention: ours" in note and "2 mm" in note for note in table.notes)
            oracles = [row for row in table.rows if row.name == "Slide-SAM"]
            assert all(row.is_oracle and not any(c.best for c in row.cells) for row in oracles)
            shown = [c.text for row in oracles for c in row.cells] + [row.note for row in oracles]
            assert not oracles or "box from the truth" in shown


def test_systems_without_scores_are_in_the_table_with_the_reason(tables):
    for kind in ("overview", "dsc", "missed", "costs"):
        reasons = {row.name: row.reason for row in tables[kind].rows if not row.cells}
        assert reasons["Swin-Unet"].startswith("failed: 8.1 GB")
        assert reasons["SAM"].startswith("left out: an untrained trunk")
        assert "fold 1" in reasons["MA-SAM"]


def test_a_lone_system_has_no_bold_and_no_comparison(fake_study):
    lone = study_tables(read_study(fake_study))[1].tables
    assert not any(c.best for table in lone for row in table.rows for c in row.cells)
    assert not any(table.kind is TableKind.AGAINST_BEST for table in lone)


def test_planned_runs_that_have_not_ended_are_noted(study_copy):
    run = read_study(study_copy).runs[0]
    (run.folder / "run.json").unlink()
    tables = study_tables(read_study(study_copy))[0].tables
    assert any("1 planned run has not ended" in note for note in tables[0].notes)


def test_nothing_scored_at_all_is_a_table_of_reasons(study_copy, change_run):
    for run in read_study(study_copy).runs:
        change_run(study_copy, run.id, status="failed", error={"id": "", "text": "the disk was full"})
    (of_group,) = study_tables(read_study(study_copy))
    (table,) = of_group.tables
    assert {row.reason for row in table.rows} == {"failed: the disk was full"}
    assert write_tables("all failed", [of_group], study_copy / "report" / "tables")


def test_tables_are_written_three_ways_and_those_of_an_earlier_report_go(fake_study, tmp_path):
    (tmp_path / "blobs_9_dsc.csv").write_text("old")
    groups = study_tables(read_study(fake_study))
    written = write_tables("blobs", groups, tmp_path)
    assert sorted(written) == sorted(tmp_path.iterdir())
    names = {table.name for of_group in groups for table in of_group.tables}
    assert {path.stem for path in written} == names | {"all"}
    assert {path.suffix for path in written} == {".csv", ".md", ".tex"}


def test_more_tables_are_written_too_and_end_the_file_of_all(tables, tmp_path):
    more = replace(tables["dsc"], group="more", title="One more")
    write_tables("blobs", [], tmp_path, [more])
    assert {path.name for path in tmp_path.iterdir()} == {"more_dsc.csv", "more_dsc.md", "more_dsc.tex", "all.md"}
    assert (tmp_path / "all.md").read_text().startswith("# blobs\n\n### One more: ")


def test_the_csv_holds_the_numbers_in_full(fake_study, tmp_path, tables, cell):
    write_tables("blobs", study_tables(read_study(fake_study)), tmp_path)
    with (tmp_path / "blobs_overview.csv").open(newline="") as file:
        lines = {line["system"]: line for line in csv.DictReader(file)}
    shown = cell(tables["overview"], "SAMed", "dsc")
    assert math.isclose(float(lines["SAMed"]["dsc"]), shown.value, rel_tol=1e-15)
    assert math.isclose(float(lines["SAMed"]["dsc_low"]), shown.low, rel_tol=1e-15)
    assert lines["SAM"]["reason"].startswith("left out")
