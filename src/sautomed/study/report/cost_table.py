"""The table of costs: size, speed, memory and training time of each system."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from sautomed.report.table import Cell, Column, Table, TableKind
from sautomed.study.report.grouping import Group
from sautomed.study.report.notes import absent_rows, shared_notes, table_row
from sautomed.study.report.runs import Costs, Study

_COSTS: tuple[tuple[Column, Callable[[Costs], float | None]], ...] = (
    (Column("parameters", "parameters (M)", digits=2, unit=1e6), lambda costs: costs.parameters),
    (Column("trained", "trained (M)", digits=2, unit=1e6), lambda costs: costs.trained),
    (Column("flops_per_volume", "FLOPs per volume (T)", digits=2, unit=1e12), lambda costs: costs.flops_per_volume),
    (Column("seconds_per_volume", "s per volume", digits=1), lambda costs: costs.seconds_per_volume),
    (Column("peak_bytes", "peak memory (GB)", digits=2, unit=1e9), lambda costs: costs.peak_bytes),
    (Column("cuda_peak_bytes", "peak GPU memory (GB)", digits=2, unit=1e9), lambda costs: costs.cuda_peak_bytes),
    (Column("train_minutes", "training (min)", digits=1), lambda costs: costs.train_minutes),
    (Column("cpu_minutes", "processor time (min)", digits=1), lambda costs: costs.cpu_minutes),
    (Column("steps", "steps"), lambda costs: costs.steps),
)


def cost_table(group: Group, study: Study) -> Table:
    """Return the costs of each system, mean over its runs; a cost that no system has is left out."""
    costs = [[run.costs for run in row.runs if run.costs is not None] for row in group.rows]
    by_column = {column: [_mean(of_row, cost) for of_row in costs] for column, cost in _COSTS}
    shown = {column: means for column, means in by_column.items() if any(map(math.isfinite, means))}
    cells = zip(*shown.values(), strict=True) if shown else [()] * len(group.rows)
    rows = [table_row(row, tuple(map(Cell, means))) for row, means in zip(group.rows, cells, strict=True)]
    notes = ("Means over runs, that is folds and seeds.", *_machine_note(group), *shared_notes(group, study))
    return Table(
        TableKind.COSTS,
        group.name,
        "Costs",
        group.caption,
        tuple(shown),
        (*rows, *absent_rows(group)),
        notes,
    )


def _mean(costs: Sequence[Costs], cost: Callable[[Costs], float | None]) -> float:
    known = [value for one in costs if (value := cost(one)) is not None]
    return math.fsum(known) / len(known) if known else math.nan


def _machine_note(group: Group) -> list[str]:
    machines = dict.fromkeys(run.machine for row in group.rows for run in row.runs if run.machine)
    if not machines:
        return []
    several = "several machines, whose times do not compare" if len(machines) > 1 else "one machine"
    return [f"Measured on {several}: {'; '.join(machines)}."]
