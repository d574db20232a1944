import math
from pathlib import Path

import pytest

from sautomed.evaluation.conventions import convention_named
from sautomed.study.report.contest import against_best_tables
from sautomed.study.report.grouping import Group, Row, ScoredRun
from sautomed.study.report.runs import CaseScore, Run, Study

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
    """What the table of distances says about too few patients."""
    names = ("dsc", "hd95_mm")
    group = Group("d", "d", {1: "liver"}, rows[0].scope, convention_named("ours"), None, names, rows)
    notes = {table.kind: table.notes for table in against_best_tables(group, STUDY)}["against_best_hd95_mm"]
    return [note for note in notes if note.startswith("With")]


def found_in(cases: int) -> list[float]:
    return [5.0 + i / 10 for i in range(cases)] + [math.nan] * (10 - cases)


BEST = row("A", 0.9, [1.0] * 10)


@pytest.mark.parametrize("cases", [0, 1, 4])
def test_a_system_that_missed_most_does_not_take_the_test_from_the_others(cases):
    assert limits(BEST, row("B", 0.8, found_in(10)), row("C", 0.1, found_in(cases))) == []


def test_too_few_shared_patients_are_said():
    assert limits(BEST, row("B", 0.8, found_in(1))) == ["With fewer than two patients nothing can be tested."]
    (four,) = limits(BEST, row("B", 0.8, found_in(4)))
    assert four.startswith("With 4 patients the smallest p of Wilcoxon's test is 2/2^4 = 0.125: it cannot reach 0.05")


def test_the_correction_counts_the_tests_that_were_made():
    assert limits(BEST, row("B", 0.8, found_in(6)), row("C", 0.1, found_in(0))) == []
    (two,) = limits(BEST, row("B", 0.8, found_in(6)), row("C", 0.1, found_in(6)))
    assert "0.0625 after Holm for the first of 2 comparisons" in two
