import math
from pathlib import Path

import pytest

from sautomed.evaluation.conventions import convention_named
from sautomed.report.scores import CaseScore
from sautomed.report.table import TableKind
from sautomed.study.report.comparison_tables import comparison_tables
from sautomed.study.report.grouping import Group, Row, ScoredRun
from sautomed.study.report.runs import Run, Study, read_study
from sautomed.study.report.tables import study_tables

STUDY = Study("t", (), Path("x"))


def row(label: str, dsc: float, distances: list[float]) -> Row:
    """A system with one organ: its distance in each case, nan where it was missed."""
    run = Run(label, label, "m", "d", 0, "done", Path("x"))
    scores = [
        CaseScore(f"case_{i}", 1, "liver", {"dsc": dsc + i / 1000, "hd95_mm": mm}, "scored")
        for i, mm in enumerate(distances)
    ]
    return Row((ScoredRun(run, tuple(scores)),))


def limits(*rows: Row) -> list[str]:
    """Notes of the table of distances on too few patients."""
    names = ("dsc", "hd95_mm")
    group = Group("d", "d", {1: "liver"}, rows[0].scope, convention_named("ours"), None, names, rows)
    notes = {table.metric: table.notes for table in comparison_tables(group, STUDY)}["hd95_mm"]
    return [note for note in notes if note.startswith("With")]


def found_in(cases: int) -> list[float]:
    return [5.0 + i / 10 for i in range(cases)] + [math.nan] * (10 - cases)


BEST = row("A", 0.9, [1.0] * 10)


@pytest.mark.parametrize("cases", [0, 1, 4])
def test_a_system_that_missed_most_organs_does_not_limit_the_tests_of_others(cases):
    assert limits(BEST, row("B", 0.8, found_in(10)), row("C", 0.1, found_in(cases))) == []


def test_too_few_shared_patients_are_noted():
    assert limits(BEST, row("B", 0.8, found_in(1))) == ["With fewer than two patients nothing can be tested."]
    (four,) = limits(BEST, row("B", 0.8, found_in(4)))
    assert four.startswith("With 4 patients the smallest p of Wilcoxon's test is 2/2^4 = 0.125: it cannot reach 0.05")


def test_the_correction_counts_the_tests_that_were_made():
    assert limits(BEST, row("B", 0.8, found_in(6)), row("C", 0.1, found_in(0))) == []
    (two,) = limits(BEST, row("B", 0.8, found_in(6)), row("C", 0.1, found_in(6)))
    assert "0.0625 after Holm for the first of 2 comparisons" in two


def test_every_other_unprompted_system_is_compared_with_the_best(tables, cell):
    table = tables["against_best_dsc"]
    assert "against 3D-SAutoMed" in table.title
    assert [row.name for row in table.rows if row.cells] == ["SAMed", "TransUNet"]
    difference = cell(table, "SAMed", "difference")
    assert difference.low <= difference.value <= difference.high < 0
    assert cell(table, "SAMed", "bootstrap_p").value <= cell(table, "SAMed", "bootstrap_p_holm").value
    assert next(row.reason for row in table.rows if row.name == "Slide-SAM").startswith("prompted")


def test_too_few_patients_are_noted(study_copy, change_run):
    for run in read_study(study_copy).runs:
        if run.fold == 1:
            change_run(study_copy, run.id, status="left_out", error={"id": "", "text": "one fold is enough"})
    (of_group,) = study_tables(read_study(study_copy))
    overview, against_best = (
        next(table.notes for table in of_group.tables if (table.kind, table.metric) == wanted)
        for wanted in ((TableKind.OVERVIEW, ""), (TableKind.AGAINST_BEST, "dsc"))
    )
    assert any("With 4 patients" in note and "0.125" in note for note in against_best)
    assert not any(note.startswith("*") for note in overview)
