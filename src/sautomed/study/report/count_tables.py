"""Tables of missed and invented organs."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from sautomed.evaluation.scores import Status
from sautomed.report.table import Cell, Column, Table, TableKind
from sautomed.study.report.grouping import Group
from sautomed.study.report.notes import absent_rows, shared_notes, table_row
from sautomed.study.report.runs import Study
from sautomed.study.report.score_tables import organ_columns


@dataclass(frozen=True)
class _Count:
    """Cases of one status, among those of this or another status."""

    kind: TableKind
    status: Status
    otherwise: Status
    title: str
    meaning: str


_COUNTS = (
    _Count(
        TableKind.MISSED,
        "missed",
        "scored",
        "Missed organs",
        "Cases where nothing of the organ was found, of those whose reference has it.",
    ),
    _Count(
        TableKind.SPURIOUS,
        "spurious",
        "absent",
        "Invented organs",
        "Cases where the organ was found, of those whose reference has none.",
    ),
)


def count_tables(group: Group, study: Study) -> list[Table]:
    """Return how often an organ was missed, of cases that have it, and how often found, of cases without it."""
    return [_count_table(count, group, study) for count in _COUNTS]


def _count_table(count: _Count, group: Group, study: Study) -> Table:
    all_organs = Column("all", "all", "counts")
    rows = []
    for row in group.rows:
        counted = Counter((score.class_id, score.status) for one in row.scored for score in one.scores)
        pairs = [
            (counted[class_id, count.status], counted[class_id, count.status] + counted[class_id, count.otherwise])
            for class_id in group.labels
        ]
        pairs.append((sum(found for found, _ in pairs), sum(of for _, of in pairs)))
        rows.append(table_row(row, tuple(Cell(found, of=of) for found, of in pairs)))
    return Table(
        count.kind,
        group.name,
        count.title,
        group.caption,
        (*organ_columns(group, all_organs), all_organs),
        (*rows, *absent_rows(group)),
        (f"{count.meaning} Counted over folds and seeds.", *shared_notes(group, study)),
    )
