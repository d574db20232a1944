"""The tables of a study's report: scores, missed and spurious organs, costs, and each system against the best one.

Every group of comparable rows has tables of its own. A system that was told something by the truth is marked in each,
and never called best.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sautomed.evaluation.conventions import DISPLAYS
from sautomed.evaluation.scores import RESAMPLES, Interval
from sautomed.scans.files import write_text
from sautomed.scans.palette import display_name
from sautomed.study.report.cells import NOTHING, Cell, Column, Table, TableRow, number_cell
from sautomed.study.report.contest import against_best_tables
from sautomed.study.report.grouping import Group, Row, comparable_groups
from sautomed.study.report.notes import absent_rows, standing_notes, table_row
from sautomed.study.report.runs import Costs, Study
from sautomed.study.report.statistics import Means, comparisons_with_best, group_means
from sautomed.study.report.writers import to_csv, to_latex, to_markdown

__all__ = ["GroupTables", "study_tables", "to_csv", "to_latex", "to_markdown", "write_tables"]

DIFFERS, LACKING = "*", "†"
WRITERS: dict[str, Callable[[Table], str]] = {".csv": to_csv, ".md": to_markdown, ".tex": to_latex}
ALL_TABLES = "all.md"

_PROMPTS = Column("prompts", "prompts", is_text=True)
_INTERVALS = (
    f"Means over patients with 95 % bootstrap intervals ({RESAMPLES} draws of whole patients); the mean over organs is "
    "that of their means."
)
_BEST = "Bold: the best of those that were told nothing."
_DIFFERS = (
    f"{DIFFERS} differs from the system with the best mean DSC: paired bootstrap and Wilcoxon's test both give p below "
    "0.05 after Holm's correction."
)
_LACKING = (
    f"{LACKING} without the cases where the organ was missed, which have no distance: too good, so never in bold."
)


@dataclass(frozen=True)
class CostColumn:
    """One figure of `Costs`: its field, how it is headed, and the unit it is shown in."""

    field: str
    heading: str
    unit: float
    digits: int


_COSTS = (
    CostColumn("parameters", "parameters (M)", 1e6, 2),
    CostColumn("trained", "trained (M)", 1e6, 2),
    CostColumn("flops_per_volume", "FLOPs per volume (T)", 1e12, 2),
    CostColumn("seconds_per_volume", "s per volume", 1, 1),
    CostColumn("peak_bytes", "peak memory (GB)", 1e9, 2),
    CostColumn("cuda_peak_bytes", "peak GPU memory (GB)", 1e9, 2),
    CostColumn("train_minutes", "training (min)", 1, 1),
    CostColumn("cpu_minutes", "processor time (min)", 1, 1),
    CostColumn("steps", "steps", 1, 0),
)


@dataclass(frozen=True)
class GroupTables:
    """A group of comparable rows and its tables: overview first, then by metric, organs, costs and tests."""

    group: Group
    tables: tuple[Table, ...]


def study_tables(study: Study) -> list[GroupTables]:
    """All tables of a study.

    Raises:
        MissingFile, BadTable, UsageError: As `comparable_groups`.
    """
    return [GroupTables(group, _tables(group, study)) for group in comparable_groups(study)]


def write_tables(study: Study, folder: Path) -> list[Path]:
    """Write each table as NAME.csv, NAME.md and NAME.tex, and all of them as one all.md.

    Args:
        folder: STUDY/report/tables; it belongs to the report, so tables of an earlier report go.
    Returns:
        The files, in the order of the tables.
    Raises:
        MissingFile, BadTable, UsageError: As `comparable_groups`.
        UnwritableTarget: Nothing can be written there.
    """
    groups = study_tables(study)
    written = []
    for table in (table for of_group in groups for table in of_group.tables):
        for ending, as_text in WRITERS.items():
            path = folder / f"{table.name}{ending}"
            write_text(path, as_text(table))
            written.append(path)
    chapters = [[f"## {one.group.caption}\n", *map(to_markdown, one.tables)] for one in groups]
    write_text(
        folder / ALL_TABLES, "\n".join([f"# {study.title}\n", *(text for chapter in chapters for text in chapter)])
    )
    written.append(folder / ALL_TABLES)
    for path in folder.iterdir():
        if path.suffix in WRITERS and path not in written:
            path.unlink()
    return written


def _tables(group: Group, study: Study) -> tuple[Table, ...]:
    if not group.rows:
        return (_score_table("overview", group.caption, group, study, [_PROMPTS], []),)
    means = {metric: group_means(group, metric) for metric in group.metrics}
    overall = {metric: _overall_cells(group, metric, means[metric]) for metric in group.metrics}
    scores = [_metric_table(group, study, metric, means[metric], overall[metric]) for metric in group.metrics]
    counts = [_count_table(group, study, status) for status in ("missed", "spurious")]
    tests = against_best_tables(group, study)
    return (_overview(group, study, overall), *scores, *counts, _cost_table(group, study), *tests)


def _overview(group: Group, study: Study, overall: Mapping[str, Sequence[Cell]]) -> Table:
    """The mean of each metric, with what each system was told."""
    columns = (_PROMPTS, *(Column(metric, DISPLAYS[metric].label(group.tolerance_mm)) for metric in group.metrics))
    rows = [
        table_row(row, (Cell(row.prompts), *cells), tells_prompts=True)
        for row, *cells in zip(group.rows, *overall.values(), strict=True)
    ]
    title = f"Mean over {len(group.labels)} organs: {group.caption}"
    return _score_table("overview", title, group, study, columns, rows)


def _metric_table(group: Group, study: Study, metric: str, means: Sequence[Means], overall: Sequence[Cell]) -> Table:
    """One metric by organ, and the mean."""
    columns = [*(Column(_key(name), display_name(name)) for name in group.labels.values()), Column("mean", "mean")]
    by_organ = [_organ_cells(group, metric, k, means) for k in group.labels]
    rows = [table_row(row, tuple(cells)) for row, *cells in zip(group.rows, *by_organ, overall, strict=True)]
    title = f"{DISPLAYS[metric].label(group.tolerance_mm)} by organ: {group.caption}"
    return _score_table(metric, title, group, study, columns, rows)


def _score_table(
    kind: str, title: str, group: Group, study: Study, columns: Sequence[Column], rows: Sequence[TableRow]
) -> Table:
    marks = {cell.mark for row in rows for cell in row.cells}
    explained = [note for mark, note in ((DIFFERS, _DIFFERS), (LACKING, _LACKING)) if mark in marks]
    bold = [_BEST] if any(cell.best for row in rows for cell in row.cells) else []
    notes = (*([_INTERVALS] if rows else []), *bold, *explained, *standing_notes(group, study))
    return Table(f"{group.name}_{kind}", kind, title, tuple(columns), (*rows, *absent_rows(group)), notes)


def _organ_cells(group: Group, metric: str, class_id: int, means: Sequence[Means]) -> list[Cell]:
    cells = [
        _mean_cell(of_row.classes[class_id], metric, LACKING if _lacks(row, class_id, metric) else "")
        for row, of_row in zip(group.rows, means, strict=True)
    ]
    return _with_best(group, metric, cells)


def _overall_cells(group: Group, metric: str, means: Sequence[Means]) -> list[Cell]:
    """The mean over organs; for the DSC with a mark where a system differs from the best."""
    compared = comparisons_with_best(group, metric) if metric == "dsc" else []
    differing = {one.row.name for one in compared if one.is_significant}
    cells = []
    for row, of_row in zip(group.rows, means, strict=True):
        lacking = any(_lacks(row, k, metric) for k in group.labels)
        mark = LACKING if lacking else DIFFERS if row.name in differing else ""
        cells.append(_mean_cell(of_row.overall, metric, mark))
    return _with_best(group, metric, cells)


def _mean_cell(interval: Interval, metric: str, mark: str) -> Cell:
    digits = DISPLAYS[metric].digits
    if not math.isfinite(interval.mean):
        return Cell(NOTHING)
    text = f"{interval.mean:.{digits}f}"
    if math.isfinite(interval.low):
        text += f" ({interval.low:.{digits}f}–{interval.high:.{digits}f})"
    return Cell(text, interval.mean, interval.low, interval.high, interval.cases, mark=mark)


def _lacks(row: Row, class_id: int, metric: str) -> bool:
    """Whether cases that have the organ are in no mean, because it was not found."""
    return any(
        score.class_id == class_id and score.status == "missed" and not math.isfinite(score.values[metric])
        for one in row.scored
        for score in one.scores
    )


def _with_best(group: Group, metric: str, cells: Sequence[Cell]) -> list[Cell]:
    """The cells of a column with the best ones marked, unless there is nothing to be better than."""
    sign = 1 if DISPLAYS[metric].higher_is_better else -1
    rivals = [
        i
        for i, (row, cell) in enumerate(zip(group.rows, cells, strict=True))
        if not row.is_oracle and math.isfinite(cell.value) and cell.mark != LACKING
    ]
    if len(rivals) < 2:
        return list(cells)
    highest = max(sign * cells[i].value for i in rivals)
    return [replace(cell, best=i in rivals and sign * cell.value == highest) for i, cell in enumerate(cells)]


def _count_table(group: Group, study: Study, status: str) -> Table:
    """How often an organ was missed, of the cases that have it, or found where there is none, of those that lack it."""
    others = "scored" if status == "missed" else "absent"
    columns = [Column(_key(name), display_name(name)) for name in group.labels.values()]
    rows = []
    for row in group.rows:
        counted = Counter((score.class_id, score.status) for one in row.scored for score in one.scores)
        pairs = [(counted[k, status], counted[k, status] + counted[k, others]) for k in group.labels]
        pairs.append((sum(found for found, _ in pairs), sum(of for _, of in pairs)))
        rows.append(table_row(row, tuple(Cell(f"{found}/{of}", found, of=of) for found, of in pairs)))
    title = {"missed": "Missed organs", "spurious": "Invented organs"}[status]
    meaning = {
        "missed": "Cases where nothing of the organ was found, of those whose reference has it.",
        "spurious": "Cases where the organ was found, of those whose reference has none.",
    }[status]
    return Table(
        f"{group.name}_{status}",
        status,
        f"{title}: {group.caption}",
        (*columns, Column("all", "all")),
        (*rows, *absent_rows(group)),
        (f"{meaning} Counted over folds and seeds.", *standing_notes(group, study)),
    )


def _cost_table(group: Group, study: Study) -> Table:
    """What each system costs, mean over its runs; a figure that no system has is left out."""
    costs = {row.name: [run.costs for run in row.runs if run.costs is not None] for row in group.rows}
    shown = [column for column in _COSTS if any(_mean_cost(found, column) is not None for found in costs.values())]
    rows = [table_row(row, tuple(_cost_cell(costs[row.name], column) for column in shown)) for row in group.rows]
    machines = dict.fromkeys(run.machine for row in group.rows for run in row.runs if run.machine)
    notes = ["Means over runs, that is folds and seeds."]
    if machines:
        several = "several machines, whose times do not compare" if len(machines) > 1 else "one machine"
        notes.append(f"Measured on {several}: {'; '.join(machines)}.")
    return Table(
        f"{group.name}_costs",
        "costs",
        f"Costs: {group.caption}",
        tuple(Column(column.field, column.heading) for column in shown),
        (*rows, *absent_rows(group)),
        (*notes, *standing_notes(group, study)),
    )


def _mean_cost(costs: Sequence[Costs], column: CostColumn) -> float | None:
    values = [getattr(one, column.field) for one in costs]
    known = [float(value) for value in values if value is not None]
    return math.fsum(known) / len(known) if known else None


def _cost_cell(costs: Sequence[Costs], column: CostColumn) -> Cell:
    mean = _mean_cost(costs, column)
    if mean is None:
        return Cell(NOTHING)
    shown = number_cell(mean / column.unit, column.digits)
    return Cell(shown.text, mean)


def _key(name: str) -> str:
    return name.replace(" ", "_")
