"""Rows and notes that all tables of a group share: systems without scores, the convention, and who is prompted."""

from __future__ import annotations

from sautomed.report.table import Cell, TableRow
from sautomed.study.report.grouping import Group, Row
from sautomed.study.report.runs import Study


def table_row(row: Row, cells: tuple[Cell, ...], *, prompts_in_note: bool = True, reason: str = "") -> TableRow:
    """Make a row with its note, which names the prompts from the truth unless a column of the table does."""
    prompts = row.prompts if row.is_oracle and prompts_in_note else ""
    note = "; ".join(part for part in (prompts, row.note) if part)
    return TableRow(row.name, cells, reason, row.is_oracle, note)


def absent_rows(group: Group) -> tuple[TableRow, ...]:
    """Make rows without cells for the systems that have no scores in a group."""
    return tuple(
        TableRow(
            absent.name,
            (),
            f"{absent.status}: {absent.reason}",
            absent.is_oracle,
            absent.prompts if absent.is_oracle else "",
        )
        for absent in group.absent
    )


def shared_notes(group: Group, study: Study) -> list[str]:
    """Return the notes of all tables of a group: metric convention, oracles, and how many runs have not ended."""
    tolerance = f", NSD at {group.tolerance_mm:g} mm" if group.tolerance_mm is not None else ""
    notes = [f"Metric convention: {group.convention.title}{tolerance}. {group.convention.notes}"]
    oracles = [f"{row.name} ({row.prompts})" for row in group.rows if row.is_oracle]
    if oracles:
        notes.append(f"Prompted from the truth, so never called best nor tested: {', '.join(oracles)}.")
    if study.pending:
        one = len(study.pending) == 1
        notes.append(f"{len(study.pending)} planned run{' has' if one else 's have'} not ended.")
    return notes
