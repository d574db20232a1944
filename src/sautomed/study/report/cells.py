"""A table as it is shown, whatever it is written as: columns, rows of cells, and what must be said beside it."""

from __future__ import annotations

import math
from dataclasses import dataclass

NOTHING = "–"


@dataclass(frozen=True)
class Cell:
    """One place of a table.

    Args:
        text: As it is read, without the mark.
        value: The number behind it in full precision; nan where there is none.
        low, high: Bounds of its 95 % interval; nan where there is none.
        of: How many patients a mean is over, or how many cases a count was taken from; None if that says nothing.
        best: Whether it is the best of its column.
        mark: A sign that a note of the table explains.
    """

    text: str
    value: float = math.nan
    low: float = math.nan
    high: float = math.nan
    of: int | None = None
    best: bool = False
    mark: str = ""


@dataclass(frozen=True)
class Column:
    """A column: its key in CSV files, its heading, and whether its cells are words."""

    key: str
    heading: str
    is_text: bool = False


@dataclass(frozen=True)
class TableRow:
    """A system.

    Args:
        name: The system in its setting.
        cells: One per column; none where the system has no scores.
        reason: Why it has none, otherwise empty.
        is_oracle: Whether the truth prompted it.
        note: Shown beside the name.
    """

    name: str
    cells: tuple[Cell, ...]
    reason: str = ""
    is_oracle: bool = False
    note: str = ""


@dataclass(frozen=True)
class Table:
    """A table.

    Args:
        name: For files.
        kind: overview, dsc (and other metrics), missed, spurious, costs, or against_best_dsc (and other metrics).
        title: What it shows of which data.
        columns: Without the first, which holds the systems.
        notes: Sentences to be printed below: convention, what marks mean, what limits the numbers.
    """

    name: str
    kind: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[TableRow, ...]
    notes: tuple[str, ...]


def number_cell(value: float, digits: int, *, of: int | None = None) -> Cell:
    """A number without an interval."""
    return Cell(f"{value:.{digits}f}" if math.isfinite(value) else NOTHING, value, of=of)


def p_cell(p: float) -> Cell:
    """A p value; very small ones are bounded, since their digits mean nothing."""
    if math.isnan(p):
        return Cell(NOTHING)
    return Cell("< 0.001" if p < 0.001 else f"{p:.3f}", p)
