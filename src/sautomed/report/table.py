"""Tables of typed values, and how a cell becomes text.

A cell holds numbers; its column says how they are shown. Pages and `writers` format them when they write.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, Protocol

NOTHING = "–"  # shown where there is no value


class TableKind(StrEnum):
    """What a table shows; also part of the name of its files."""

    OVERVIEW = "overview"
    METRIC = "metric"
    MISSED = "missed"
    SPURIOUS = "spurious"
    COSTS = "costs"
    AGAINST_BEST = "against_best"
    ERRORS = "errors"
    ERRORS_BY_ORGAN = "errors_by_organ"
    SLICE_PLACES = "slice_places"


@dataclass(frozen=True)
class Column:
    """A column, and how its cells are shown.

    Args:
        key: Its name in CSV files.
        heading: Its name in all others.
        holds: Words, numbers, counts (2/7), or p values.
        digits: After the point, for numbers and their intervals.
        unit: Numbers are shown divided by it, such as 1e6 for millions.
        signed: Whether a number above zero has a plus sign.
    """

    key: str
    heading: str
    holds: Literal["words", "numbers", "counts", "p_values"] = "numbers"
    digits: int = 0
    unit: float = 1
    signed: bool = False

    @property
    def is_text(self) -> bool:
        """Whether the column is aligned to the left."""
        return self.holds == "words"


@dataclass(frozen=True)
class Cell:
    """One cell.

    Args:
        value: The number in full precision; nan if there is none.
        low, high: Bounds of its 95 % interval; nan if there is none.
        of: Number of patients of a mean, or of cases that a count was taken from; None if neither applies.
        text: The words of a cell in a column of words.
        best: Whether it is the best of its column.
        mark: A sign that a note of the table explains.
    """

    value: float = math.nan
    low: float = math.nan
    high: float = math.nan
    of: int | None = None
    text: str = ""
    best: bool = False
    mark: str = ""


@dataclass(frozen=True)
class TableRow:
    """One system.

    Args:
        name: The system with its setting.
        cells: One per column; empty if the system has no scores.
        reason: Why it has no scores, otherwise empty.
        is_oracle: Whether it was prompted from the truth.
        note: Shown beside the name.
    """

    name: str
    cells: tuple[Cell, ...]
    reason: str = ""
    is_oracle: bool = False
    note: str = ""


@dataclass(frozen=True)
class Table:
    """A table of systems.

    Args:
        kind: What it shows.
        group: The group of systems that it compares, for file names.
        title: What it shows, in words.
        data: Which data, in words; may be empty.
        columns: All but the first, which holds the systems.
        notes: Sentences printed below: metric convention, meaning of marks, limits of the numbers.
        metric: Of which metric, for kinds with one table per metric.
    """

    kind: TableKind
    group: str
    title: str
    data: str
    columns: tuple[Column, ...]
    rows: tuple[TableRow, ...]
    notes: tuple[str, ...]
    metric: str = ""

    @property
    def name(self) -> str:
        """Name of its files, without the ending."""
        kind = "" if self.kind is TableKind.METRIC else self.kind.value
        return "_".join(part for part in (self.group, kind, self.metric) if part)

    @property
    def full_title(self) -> str:
        """Title and data: `DSC by organ: chaos, fold 0, 3 patients`."""
        return f"{self.title}: {self.data}" if self.data else self.title


class Bounds(Protocol):
    """Anything with an interval."""

    @property
    def low(self) -> float:
        """Lower bound, nan if there is none."""

    @property
    def high(self) -> float:
        """Upper bound, nan if there is none."""


def fixed(value: float, digits: int, *, signed: bool = False) -> str:
    """Return a number with as many digits after the point, or a dash if it is not finite."""
    return f"{value:{'+' if signed else ''}.{digits}f}" if math.isfinite(value) else NOTHING


def bounds(interval: Bounds, digits: int, between: str = " to ", *, unit: float = 1, signed: bool = False) -> str:
    """Return `0.80 to 0.88`, or an empty string if there is no interval."""
    if not math.isfinite(interval.low):
        return ""
    return between.join(fixed(end / unit, digits, signed=signed) for end in (interval.low, interval.high))


def number_text(cell: Cell, column: Column) -> str:
    """Return what a cell shows, without its interval and mark."""
    if column.holds == "words":
        return cell.text
    if column.holds == "counts":
        return f"{cell.value:.0f}/{cell.of}"
    if column.holds == "p_values":
        # The digits of a very small p mean nothing.
        return "< 0.001" if cell.value < 0.001 else fixed(cell.value, 3)
    return fixed(cell.value / column.unit, column.digits, signed=column.signed)


def interval_text(cell: Cell, column: Column) -> str:
    """Return the interval of a cell, or an empty string. With signs the bounds are joined by a word, not by a dash."""
    between = " to " if column.signed else "–"
    return bounds(cell, column.digits, between, unit=column.unit, signed=column.signed)


def cell_text(cell: Cell, column: Column) -> str:
    """Return number and interval in one line: `0.84 (0.80–0.88)`."""
    interval = interval_text(cell, column)
    return f"{number_text(cell, column)} ({interval})" if interval else number_text(cell, column)
