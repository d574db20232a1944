"""Tables of scores: the overview over all metrics, and one table by organ for each metric."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from sautomed.evaluation.metrics import METRICS
from sautomed.evaluation.scores import RESAMPLES, Interval
from sautomed.report.table import Cell, Column, Table, TableKind, TableRow
from sautomed.scans.palette import display_name
from sautomed.study.report.grouping import Group, Row
from sautomed.study.report.notes import absent_rows, shared_notes, table_row
from sautomed.study.report.runs import Study
from sautomed.study.report.statistics import Means, comparisons_with_best, group_means

DIFFERS, LACKING = "*", "†"

_PROMPTS = Column("prompts", "prompts", "words")
_INTERVALS = (
    f"Means over patients with 95 % bootstrap intervals ({RESAMPLES} draws of whole patients); the mean over organs is "
    "that of their means."
)
_BEST = "Bold: the best system that is not prompted from the truth."
_DIFFERS = (
    f"{DIFFERS} differs from the system with the best mean DSC: paired bootstrap and Wilcoxon's test both give p below "
    "0.05 after Holm's correction."
)
_LACKING = (
    f"{LACKING} without the cases where the organ was missed, which have no distance: too good, so never in bold."
)


def score_tables(group: Group, study: Study) -> list[Table]:
    """Return the overview and a table per metric; of a group without scores, an overview of the reasons."""
    if not group.rows:
        return [_score_table(TableKind.OVERVIEW, group.caption, group, study, [_PROMPTS], [])]
    means = {metric: group_means(group, metric) for metric in group.metrics}
    overall = {metric: _overall_cells(group, metric, means[metric]) for metric in group.metrics}
    overview = _overview(group, study, list(overall.values()))
    return [overview, *(_metric_table(group, study, metric, means[metric], overall[metric]) for metric in means)]


def organ_columns(group: Group, like: Column) -> list[Column]:
    """Return a column per organ with the format of `like`."""
    return [replace(like, key=name.replace(" ", "_"), heading=display_name(name)) for name in group.labels.values()]


def _overview(group: Group, study: Study, overall: Sequence[Sequence[Cell]]) -> Table:
    """The mean of each metric, and the prompts of each system."""
    columns = [_PROMPTS, *(_column(group, metric) for metric in group.metrics)]
    rows = [
        table_row(row, (Cell(text=row.prompts), *cells), prompts_in_note=False)
        for row, *cells in zip(group.rows, *overall, strict=True)
    ]
    return _score_table(TableKind.OVERVIEW, f"Mean over {len(group.labels)} organs", group, study, columns, rows)


def _metric_table(group: Group, study: Study, metric: str, means: Sequence[Means], overall: Sequence[Cell]) -> Table:
    """One metric by organ, and the mean over organs."""
    column = _column(group, metric)
    columns = [*organ_columns(group, column), replace(column, key="mean", heading="mean")]
    by_organ = [_organ_cells(group, metric, class_id, means) for class_id in group.labels]
    rows = [table_row(row, tuple(cells)) for row, *cells in zip(group.rows, *by_organ, overall, strict=True)]
    return _score_table(TableKind.METRIC, f"{column.heading} by organ", group, study, columns, rows, metric)


def _column(group: Group, metric: str) -> Column:
    display = METRICS[metric]
    return Column(metric, display.label(group.tolerance_mm), digits=display.digits)


def _score_table(
    kind: TableKind,
    title: str,
    group: Group,
    study: Study,
    columns: Sequence[Column],
    rows: Sequence[TableRow],
    metric: str = "",
) -> Table:
    marks = {cell.mark for row in rows for cell in row.cells}
    explained = [note for mark, note in ((DIFFERS, _DIFFERS), (LACKING, _LACKING)) if mark in marks]
    bold = [_BEST] if any(cell.best for row in rows for cell in row.cells) else []
    return Table(
        kind,
        group.name,
        title,
        group.caption if rows else "",
        tuple(columns),
        (*rows, *absent_rows(group)),
        (*([_INTERVALS] if rows else []), *bold, *explained, *shared_notes(group, study)),
        metric,
    )


def _organ_cells(group: Group, metric: str, class_id: int, means: Sequence[Means]) -> list[Cell]:
    cells = [
        _mean_cell(of_row.classes[class_id], LACKING if _lacks(row, class_id, metric) else "")
        for row, of_row in zip(group.rows, means, strict=True)
    ]
    return _with_best(group, metric, cells)


def _overall_cells(group: Group, metric: str, means: Sequence[Means]) -> list[Cell]:
    """The mean over organs; the DSC has a mark where a system differs from the best."""
    compared = comparisons_with_best(group, metric) if metric == "dsc" else []
    differing = {one.row.name for one in compared if one.is_significant}
    cells = []
    for row, of_row in zip(group.rows, means, strict=True):
        lacking = any(_lacks(row, class_id, metric) for class_id in group.labels)
        mark = LACKING if lacking else DIFFERS if row.name in differing else ""
        cells.append(_mean_cell(of_row.overall, mark))
    return _with_best(group, metric, cells)


def _mean_cell(interval: Interval, mark: str) -> Cell:
    if not math.isfinite(interval.mean):
        return Cell()
    return Cell(interval.mean, interval.low, interval.high, interval.cases, mark=mark)


def _lacks(row: Row, class_id: int, metric: str) -> bool:
    """Whether cases with the organ are in no mean, because it was missed."""
    return any(
        score.class_id == class_id and score.status == "missed" and not math.isfinite(score.values[metric])
        for one in row.scored
        for score in one.scores
    )


def _with_best(group: Group, metric: str, cells: Sequence[Cell]) -> list[Cell]:
    """Mark the best cells of a column, if there are two or more to choose from."""
    sign = 1 if METRICS[metric].higher_is_better else -1
    rivals = [
        i
        for i, (row, cell) in enumerate(zip(group.rows, cells, strict=True))
        if not row.is_oracle and math.isfinite(cell.value) and cell.mark != LACKING
    ]
    if len(rivals) < 2:
        return list(cells)
    highest = max(sign * cells[i].value for i in rivals)
    return [replace(cell, best=i in rivals and sign * cell.value == highest) for i, cell in enumerate(cells)]
