"""The tables of the tests: how far each system is from the best one, and whether that may be chance."""

from __future__ import annotations

import math

from sautomed.evaluation.conventions import DISPLAYS
from sautomed.study.report.cells import Cell, Column, Table, TableRow, number_cell, p_cell
from sautomed.study.report.grouping import Group
from sautomed.study.report.notes import standing_notes, table_row
from sautomed.study.report.runs import Study
from sautomed.study.report.statistics import (
    SIGNIFICANT,
    AgainstBest,
    best_row,
    comparisons_with_best,
    smallest_wilcoxon_p,
)

_COLUMNS = (
    Column("difference", "difference"),
    Column("better", "patients better"),
    Column("bootstrap_p", "p bootstrap"),
    Column("bootstrap_p_holm", "after Holm"),
    Column("wilcoxon_p", "p Wilcoxon"),
    Column("wilcoxon_p_holm", "after Holm"),
)
_MEANING = (
    "Difference: system minus best, of each patient's mean over organs; mean over patients with its 95 % bootstrap "
    "interval. Both p are two-sided, and corrected after Holm for all comparisons of this table; a difference is "
    "called significant if both are below 0.05 then, for with few patients the bootstrap alone is too sure."
)
_ONLY_SHARED = "Distances are compared on the organs that both systems found in a patient."


def against_best_tables(group: Group, study: Study) -> list[Table]:
    """One table per metric; none where fewer than two systems were told nothing."""
    best = best_row(group)
    if best is None or len(group.unprompted) < 2:
        return []
    oracles = [
        table_row(row, (), reason="told where the organs are, so not tested") for row in group.rows if row.is_oracle
    ]
    tables = []
    for metric in group.metrics:
        found = comparisons_with_best(group, metric)
        kind, heading = f"against_best_{metric}", DISPLAYS[metric].label(group.tolerance_mm)
        rows: list[TableRow] = [table_row(one.row, _cells(one, metric)) for one in found]
        shared = [] if DISPLAYS[metric].higher_is_better else [_ONLY_SHARED]
        notes = (_MEANING, *shared, *_limits(found), *standing_notes(group, study))
        title = f"{heading} against {best.name}, the best by mean DSC: {group.caption}"
        tables.append(Table(f"{group.name}_{kind}", kind, title, _COLUMNS, (*rows, *oracles), notes))
    return tables


def _cells(one: AgainstBest, metric: str) -> tuple[Cell, ...]:
    difference, digits = one.difference, DISPLAYS[metric].digits
    text = number_cell(difference.mean, digits).text
    if math.isfinite(difference.mean):
        text = f"{difference.mean:+.{digits}f}"
    if math.isfinite(difference.low):
        text += f" ({difference.low:+.{digits}f} to {difference.high:+.{digits}f})"
    return (
        Cell(text, difference.mean, difference.low, difference.high, difference.cases),
        Cell(f"{one.better}/{difference.cases}", one.better, of=difference.cases),
        *map(p_cell, (one.bootstrap_p, one.bootstrap_holm, one.wilcoxon_p, one.wilcoxon_holm)),
    )


def _limits(found: list[AgainstBest]) -> list[str]:
    """What so few patients cannot show."""
    patients = max(one.difference.cases for one in found)  # the others can reach no smaller p
    if patients < 2:
        return ["With fewer than two patients nothing can be tested."]
    tested = sum(one.difference.cases > 1 for one in found)
    smallest = smallest_wilcoxon_p(patients)
    reached = f"With {patients} patients the smallest p of Wilcoxon's test is 2/2^{patients} = {smallest:.3g}"
    silent = "so no difference is called significant, whatever the bootstrap says"
    if smallest > SIGNIFICANT:
        return [f"{reached}: it cannot reach {SIGNIFICANT}, {silent}."]
    corrected = smallest * tested
    if corrected > SIGNIFICANT:
        return [f"{reached}, and {corrected:.3g} after Holm for the first of {tested} comparisons, {silent}."]
    return []
