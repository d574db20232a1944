"""What every table of a group says: who stands in it, who does not and why, and how the scores were counted."""

from __future__ import annotations

from sautomed.study.report.cells import Cell, TableRow
from sautomed.study.report.grouping import Group, Row
from sautomed.study.report.runs import PROMPT_WORDS, Study


def table_row(row: Row, cells: tuple[Cell, ...], *, tells_prompts: bool = False, reason: str = "") -> TableRow:
    """A row with its note, which says what the truth told the system unless a column of the table does."""
    told = [row.prompts] if row.is_oracle and not tells_prompts else []
    note = "; ".join([*told, *([row.note] if row.note else [])])
    return TableRow(row.name, cells, reason, row.is_oracle, note)


def absent_rows(group: Group) -> tuple[TableRow, ...]:
    """The systems of the dataset that have no scores here."""
    return tuple(
        TableRow(
            absent.name,
            (),
            f"{absent.status}: {absent.reason}",
            absent.prompts != PROMPT_WORDS["none"],
            absent.prompts if absent.prompts != PROMPT_WORDS["none"] else "",
        )
        for absent in group.absent
    )


def standing_notes(group: Group, study: Study) -> list[str]:
    """The convention with what it does with masks without voxels, the oracles, and what has not ended."""
    tolerance = f", NSD at {group.tolerance_mm:g} mm" if group.tolerance_mm is not None else ""
    notes = [f"Metric convention: {group.convention.title}{tolerance}. {group.convention.notes}"]
    oracles = [f"{row.name} ({row.prompts})" for row in group.rows if row.is_oracle]
    if oracles:
        notes.append(f"Told where the organs are, so never called best nor tested: {', '.join(oracles)}.")
    if study.pending:
        one = len(study.pending) == 1
        notes.append(f"{len(study.pending)} planned run{' has' if one else 's have'} not ended.")
    return notes
