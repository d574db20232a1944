"""Tables of each system against the best one: difference, and tests of whether it may be chance."""

from __future__ import annotations

from sautomed.evaluation.metrics import METRICS
from sautomed.report.table import Cell, Column, Table, TableKind
from sautomed.study.report.grouping import Group
from sautomed.study.report.notes import shared_notes, table_row
from sautomed.study.report.runs import Study
from sautomed.study.report.statistics import (
    SIGNIFICANT,
    AgainstBest,
    best_row,
    comparisons_with_best,
    smallest_wilcoxon_p,
)

_TEST_COLUMNS = (
    Column("better", "patients better", "counts"),
    Column("bootstrap_p", "p bootstrap", "p_values"),
    Column("bootstrap_p_holm", "after Holm", "p_values"),
    Column("wilcoxon_p", "p Wilcoxon", "p_values"),
    Column("wilcoxon_p_holm", "after Holm", "p_values"),
)
_MEANING = (
    "Difference: system minus best, of each patient's mean over organs; mean over patients with its 95 % bootstrap "
    "interval. Both p are two-sided, and corrected after Holm for all comparisons of this table; a difference is "
    "called significant if both are below 0.05 then, for with few patients the bootstrap alone is too sure."
)
_ONLY_SHARED = "Distances are compared on the organs that both systems found in a patient."


def comparison_tables(group: Group, study: Study) -> list[Table]:
    """Return a table per metric; none with fewer than two systems that are not prompted from the truth."""
    best = best_row(group)
    if best is None or len(group.unprompted) < 2:
        return []
    oracles = [
        table_row(row, (), reason="prompted from the truth, so not tested") for row in group.rows if row.is_oracle
    ]
    tables = []
    for metric in group.metrics:
        display, found = METRICS[metric], comparisons_with_best(group, metric)
        difference = Column("difference", "difference", digits=display.digits, signed=True)
        shared = [] if display.higher_is_better else [_ONLY_SHARED]
        table = Table(
            TableKind.AGAINST_BEST,
            group.name,
            f"{display.label(group.tolerance_mm)} against {best.name}, the best by mean DSC",
            group.caption,
            (difference, *_TEST_COLUMNS),
            (*(table_row(one.row, _cells(one)) for one in found), *oracles),
            (_MEANING, *shared, *_limits(found), *shared_notes(group, study)),
            metric,
        )
        tables.append(table)
    return tables


def _cells(one: AgainstBest) -> tuple[Cell, ...]:
    difference = one.difference
    return (
        Cell(difference.mean, difference.low, difference.high, difference.cases),
        Cell(one.better, of=difference.cases),
        *map(Cell, (one.bootstrap_p, one.bootstrap_holm, one.wilcoxon_p, one.wilcoxon_holm)),
    )


def _limits(found: list[AgainstBest]) -> list[str]:
    """Return notes on what the tests cannot show with so few patients."""
    patients = max(one.difference.cases for one in found)  # comparisons with fewer patients cannot reach a smaller p
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
