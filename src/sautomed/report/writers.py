"""Tables as CSV for machines, as Markdown that reads well as plain text too, and as LaTeX for a paper."""

from __future__ import annotations

import math
from collections.abc import Sequence

from sautomed.report.table import NOTHING, Cell, Column, Table, TableRow, cell_text
from sautomed.scans.files import csv_text

_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "[": "{[}",  # else \\ and \midrule read what begins the next row as their option
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "–": "--",
    "−": r"\ensuremath{-}",
    "×": r"\ensuremath{\times}",
    "†": r"\textsuperscript{\dag}",
    "*": r"\textsuperscript{*}",
}


def to_csv(table: Table) -> str:
    """Return CSV with a line per system in full precision: KEY, and KEY_low, KEY_high, KEY_of where any cell has them.

    Missing values are empty; the last columns hold a system's note and why it has no scores. The table's notes are left
    out.
    """
    columns = zip(*(row.cells for row in table.rows if row.cells), strict=True)
    parts = [_parts_in(cells) for cells in columns] or [[] for _ in table.columns]
    keys = [
        key
        for column, found in zip(table.columns, parts, strict=True)
        for key in (column.key, *(f"{column.key}_{part}" for part in found))
    ]
    lines = [[row.name, *_csv_fields(row, table, parts), row.note, row.reason] for row in table.rows]
    return csv_text([["system", *keys, "note", "reason"], *lines])


def to_markdown(table: Table) -> str:
    """Return a heading, the table in aligned columns, and the notes; best values in bold."""
    lines = [["system", *(column.heading for column in table.columns)]]
    lines += [[_name_with_note(row), *_markdown_cells(row, table)] for row in table.rows]
    lines = [[_one_line(field).replace("|", r"\|") for field in line] for line in lines]
    widths = [max(3, *(len(line[i]) for line in lines)) for i in range(len(table.columns) + 1)]
    left = [True, *(column.is_text for column in table.columns)]
    rule = ["-" * width if is_left else "-" * (width - 1) + ":" for width, is_left in zip(widths, left, strict=True)]
    aligned = [_aligned(line, widths, left) for line in (lines[0], rule, *lines[1:])]
    notes = ["- " + _one_line(note).replace("*", r"\*") for note in [*_reasons(table), *table.notes]]
    return "\n".join([f"### {_one_line(table.full_title)}", "", *aligned, "", *notes, ""])


def to_latex(table: Table) -> str:
    """Return a tabular with booktabs' rules, and the title and notes as comments; put it into a table or resizebox.

    Needs \\usepackage{booktabs}.
    """
    comments = [f"% {_one_line(line)}" for line in (table.full_title, *table.notes)]
    alignment = "l" + "".join("l" if column.is_text else "r" for column in table.columns)
    heading = " & ".join(["System", *(escape_latex(column.heading) for column in table.columns)])
    rows = [f"{_latex_row(row, table)} \\\\" for row in table.rows]
    body = [rf"\begin{{tabular}}{{{alignment}}}", r"\toprule", rf"{heading} \\", r"\midrule", *rows, r"\bottomrule"]
    return "\n".join([*comments, *body, r"\end{tabular}", ""])


def escape_latex(text: str) -> str:
    """Return text in which no character has a meaning to LaTeX."""
    return "".join(_LATEX.get(letter, letter) for letter in _one_line(text))


def _parts(cell: Cell) -> dict[str, float | None]:
    """Return the numbers of a cell besides its value, by the ending of their keys."""
    return {"low": cell.low, "high": cell.high, "of": cell.of}


def _parts_in(cells: Sequence[Cell]) -> list[str]:
    """Return the parts that any cell of a column has."""
    return [part for part in _parts(cells[0]) if any(_full(_parts(cell)[part]) for cell in cells)]


def _csv_fields(row: TableRow, table: Table, parts: Sequence[Sequence[str]]) -> list[str]:
    if not row.cells:
        return [""] * (len(table.columns) + sum(map(len, parts)))
    fields: list[str] = []
    for column, cell, found in zip(table.columns, row.cells, parts, strict=True):
        fields.append(cell.text if column.is_text else _full(cell.value))
        fields += [_full(_parts(cell)[part]) for part in found]
    return fields


def _full(value: float | None) -> str:
    """Return all digits; whole numbers have no point."""
    if value is None or not math.isfinite(value):
        return ""
    return str(int(value)) if float(value).is_integer() else repr(float(value))


def _name_with_note(row: TableRow) -> str:
    return f"{row.name} ({row.note})" if row.note else row.name


def _markdown_cells(row: TableRow, table: Table) -> list[str]:
    """Return the cells of a row; dashes without scores, since a long reason would widen a column."""
    if not row.cells:
        return [NOTHING] * len(table.columns)
    return [_markdown_cell(cell, column) for cell, column in zip(row.cells, table.columns, strict=True)]


def _markdown_cell(cell: Cell, column: Column) -> str:
    text = cell_text(cell, column)
    return (f"**{text}**" if cell.best else text) + cell.mark.replace("*", r"\*")


def _reasons(table: Table) -> list[str]:
    return [f"{row.name}: {row.reason}" for row in table.rows if row.reason]


def _aligned(line: Sequence[str], widths: Sequence[int], left: Sequence[bool]) -> str:
    fields = (
        field.ljust(width) if is_left else field.rjust(width)
        for field, width, is_left in zip(line, widths, left, strict=True)
    )
    return f"| {' | '.join(fields)} |"


def _latex_row(row: TableRow, table: Table) -> str:
    name = escape_latex(_name_with_note(row))
    if not row.cells:
        reason = escape_latex(row.reason)
        return rf"{name} & \multicolumn{{{len(table.columns)}}}{{p{{0.6\linewidth}}}}{{\emph{{{reason}}}}}"
    return " & ".join([name, *(_latex_cell(*pair) for pair in zip(row.cells, table.columns, strict=True))])


def _latex_cell(cell: Cell, column: Column) -> str:
    text = escape_latex(cell_text(cell, column))
    return (rf"\textbf{{{text}}}" if cell.best else text) + escape_latex(cell.mark)


def _one_line(text: str) -> str:
    """Remove line ends and control characters, which a program's message may hold and LaTeX refuses."""
    return "".join(letter for letter in " ".join(text.split()) if letter.isprintable())
