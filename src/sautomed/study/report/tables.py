"""All tables of a study, and their files.

Every group of comparable rows has its own tables. A system that is prompted from the truth is marked in each, and never
called best.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sautomed.report.table import Table
from sautomed.report.writers import to_csv, to_latex, to_markdown
from sautomed.scans.files import write_text
from sautomed.study.report.comparison_tables import comparison_tables
from sautomed.study.report.cost_table import cost_table
from sautomed.study.report.count_tables import count_tables
from sautomed.study.report.grouping import Group, comparable_groups
from sautomed.study.report.runs import Study
from sautomed.study.report.score_tables import score_tables

WRITERS: dict[str, Callable[[Table], str]] = {".csv": to_csv, ".md": to_markdown, ".tex": to_latex}
ALL_TABLES = "all.md"


@dataclass(frozen=True)
class GroupTables:
    """A group of comparable rows and its tables: overview, metrics, missed and invented organs, costs, comparisons."""

    group: Group
    tables: tuple[Table, ...]


def study_tables(study: Study) -> list[GroupTables]:
    """Return all tables of a study that its scores and costs suffice for.

    Raises:
        MissingFile, BadTable, UsageError: As `comparable_groups`.
    """
    return [GroupTables(group, _tables(group, study)) for group in comparable_groups(study)]


def write_tables(title: str, groups: Sequence[GroupTables], folder: Path, more: Iterable[Table] = ()) -> list[Path]:
    """Write each table as NAME.csv, NAME.md and NAME.tex, and all of them as all.md.

    Args:
        title: Of the study.
        folder: STUDY/report/tables; tables of an earlier report in it are deleted.
        more: Tables of errors, which need the label maps; at the end of all.md.
    Returns:
        The files, in the order of the tables.
    Raises:
        UnwritableTarget: A file cannot be written.
    """
    more = list(more)
    written = []
    for table in [*(table for of_group in groups for table in of_group.tables), *more]:
        for ending, as_text in WRITERS.items():
            path = folder / f"{table.name}{ending}"
            write_text(path, as_text(table))
            written.append(path)
    parts = [f"# {title}\n"]
    for of_group in groups:
        parts += [f"## {of_group.group.caption}\n", *map(to_markdown, of_group.tables)]
    written.append(folder / ALL_TABLES)
    write_text(folder / ALL_TABLES, "\n".join([*parts, *map(to_markdown, more)]))
    for path in folder.iterdir():
        if path.suffix in WRITERS and path not in written:
            path.unlink()
    return written


def _tables(group: Group, study: Study) -> tuple[Table, ...]:
    scores = score_tables(group, study)
    if not group.rows:
        return tuple(scores)
    return (*scores, *count_tables(group, study), cost_table(group, study), *comparison_tables(group, study))
