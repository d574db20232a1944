"""The page of a study: everything that was compared, in one HTML file that needs no other."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from sautomed.datasets import Dataset
from sautomed.errors import SautomedError
from sautomed.report.table import Table, TableKind, TableRow
from sautomed.report.templates import page_template
from sautomed.scans.files import write_text
from sautomed.scans.palette import colour_of, display_name
from sautomed.study.report.boxplots import BOX_FROM, boxplots_picture
from sautomed.study.report.cases import (
    ChosenCase,
    ReportedSystem,
    choose_cases,
    open_dataset,
    read_case,
    systems_of,
)
from sautomed.study.report.curves import curves_picture
from sautomed.study.report.error_tables import causes_picture, error_tables, places_picture
from sautomed.study.report.facts import Fact, headline, study_facts
from sautomed.study.report.grouping import Group
from sautomed.study.report.plotting import system_colour
from sautomed.study.report.runs import read_study
from sautomed.study.report.slice_errors import measure_errors
from sautomed.study.report.slices import slices_picture
from sautomed.study.report.surfaces import surfaces_picture
from sautomed.study.report.tables import GroupTables, study_tables, write_tables

PAGE, TABLES = "report.html", "tables"
OnCase = Callable[[int, int, str], None]
# Metrics whose tables are shown at once, for kinds with a table per metric; the others are shown on a click.
_OPEN_METRICS = {
    TableKind.METRIC: ("dsc", "hd95_mm", "hd95_voxels"),
    TableKind.AGAINST_BEST: ("dsc",),
}


@dataclass(frozen=True)
class ShownTable:
    """A table on the page; a folded one is shown on a click."""

    table: Table
    folded: bool


@dataclass(frozen=True)
class CaseView:
    """One case in figures, as data URLs."""

    title: str
    detail: str
    slices: str
    surfaces: str


@dataclass(frozen=True)
class GroupView:
    """One group of comparable systems; figures are data URLs, empty if there is none.

    Args:
        organs: Colour and name of each.
        colours: Colour by system name, the same as in the figures.
        left_out: Why there are no cases and errors, otherwise empty.
    """

    caption: str
    headline: str
    organs: list[tuple[str, str]]
    colours: Mapping[str, str]
    scores: list[ShownTable]
    tests: list[ShownTable]
    counts: list[ShownTable]
    costs: list[ShownTable]
    boxplots: str
    box_note: str
    curves: str
    cases: list[CaseView] = field(default_factory=list)
    causes: str = ""
    places: str = ""
    errors: list[ShownTable] = field(default_factory=list)
    slice_places: list[ShownTable] = field(default_factory=list)
    left_out: str = ""


@dataclass(frozen=True)
class PageView:
    """All values of the template."""

    title: str
    facts: Sequence[Fact]
    groups: list[GroupView]


def write_study_report(folder: Path, on_case: OnCase | None = None) -> Path:
    """Write STUDY/report/report.html, and its tables as CSV, Markdown and LaTeX.

    What can no longer be shown, such as figures of a dataset that has moved, is left out, and the page says so.

    Args:
        folder: The study's.
        on_case: Called with (done, total, id) for each case whose scan or label maps are read, which takes longest.
    Returns:
        Path of the page.
    Raises:
        MissingFile, BadTable: The folder is not a study's, none of its runs has ended, or a file of a run was not
            written by `study`.
        UsageError: A run names an unknown metric convention.
        UnwritableTarget: The report cannot be written.
    """
    study = read_study(folder)
    progress = _Progress(on_case)
    groups = study_tables(study)
    for of_group in groups:
        progress.expect(of_group.group)
    views, errors = [], []
    for of_group in groups:
        view, tables = _group_view(of_group, progress)
        views.append(view)
        errors += tables
    target = Path(folder) / "report"
    write_tables(study.title, groups, target / TABLES, errors)
    page = PageView(study.title, study_facts(study, [of_group.group for of_group in groups]), views)
    write_text(target / PAGE, page_template("study/report/study.html").render(page=page))
    return target / PAGE


@dataclass
class _Progress:
    """Counts the cases that are read over all groups: those in figures, and every case for its errors."""

    on_case: OnCase | None
    done: int = 0
    total: int = 0

    def expect(self, group: Group) -> None:
        self.total += len(choose_cases(systems_of(group))) + len(_cases_of(group))

    def __call__(self, case: str) -> None:
        self.done += 1
        if self.on_case is not None:
            self.on_case(self.done, self.total, case)


def _group_view(of_group: GroupTables, progress: _Progress) -> tuple[GroupView, list[Table]]:
    """Return the view of a group, and the tables of errors, which are not among `of_group`."""
    group = of_group.group
    systems = systems_of(group)
    tables = _PageTables(group, of_group.tables)
    has_dsc = "dsc" in group.metrics and bool(systems)
    view = GroupView(
        caption=group.caption,
        headline=headline(group, of_group.tables),
        organs=[(colour_of(value), display_name(name)) for value, name in group.labels.items()],
        colours={system.name: system_colour(system.place) for system in systems},
        scores=tables.take(TableKind.OVERVIEW, TableKind.METRIC),
        tests=tables.take(TableKind.AGAINST_BEST),
        counts=tables.take(TableKind.MISSED, TableKind.SPURIOUS),
        costs=tables.take(TableKind.COSTS),
        boxplots=boxplots_picture(systems, group.labels) if has_dsc else "",
        box_note=_box_note(group),
        curves=curves_picture(systems),
    )
    if not has_dsc:
        return view, []
    try:
        dataset = open_dataset(systems)
        cases = [_case_view(dataset, chosen, systems, progress) for chosen in choose_cases(systems)]
        errors = measure_errors(dataset, _cases_of(group), systems, group.labels, progress)
    except SautomedError as error:
        return replace(view, left_out=f"Pictures and the analysis of errors are left out: {error}"), []
    tables.add(error_tables(group, systems, errors))
    view = replace(
        view,
        cases=cases,
        causes=causes_picture(systems, errors, group.labels),
        places=places_picture(systems, errors),
        errors=tables.take(TableKind.ERRORS, TableKind.ERRORS_BY_ORGAN),
        slice_places=tables.take(TableKind.SLICE_PLACES),
    )
    return view, tables.added


def _cases_of(group: Group) -> list[str]:
    return sorted({case for row in group.rows for one in row.scored for case in one.cases})


def _case_view(
    dataset: Dataset, chosen: ChosenCase, systems: Sequence[ReportedSystem], progress: _Progress
) -> CaseView:
    shown = read_case(dataset, chosen.case, systems)
    notes = {system.name: _case_note(system, chosen.case) for system in systems}
    drawn = slices_picture(shown, notes), surfaces_picture(shown, notes)
    progress(chosen.case)
    without = "" if all(system.is_oracle for system in systems) else " without prompts from the truth"
    return CaseView(
        title=f"{chosen.role.capitalize()} case: {chosen.case}",
        detail=f"mean DSC {chosen.dsc:.3f} over the systems{without}",
        slices=drawn[0],
        surfaces=drawn[1],
    )


def _case_note(system: ReportedSystem, case: str) -> str:
    """Return DSC and prompts: `DSC 0.893, box from the truth`."""
    dsc = system.mean_dsc().get(case, math.nan)
    parts = [f"DSC {dsc:.3f}"] if math.isfinite(dsc) else []
    return ", ".join([*parts, *([system.row.prompts] if system.is_oracle else [])])


def _box_note(group: Group) -> str:
    if len(group.patients) >= BOX_FROM:
        return "; boxes span the quartiles, with a line at the median"
    return ", a line the mean; there are too few for boxes"


class _PageTables:
    """The tables of one group as the page shows them: without notes and reasons of tables above."""

    def __init__(self, group: Group, tables: Sequence[Table]) -> None:
        self.added: list[Table] = []
        self._tables = [table for table in tables if _has_content(table)]
        self._prompts = {row.name: row.prompts for row in group.rows if row.is_oracle}
        self._absent = {absent.name for absent in group.absent}
        self._shown_notes: set[str] = set()

    def add(self, tables: Sequence[Table]) -> None:
        self.added += tables
        self._tables += tables

    def take(self, *kinds: TableKind) -> list[ShownTable]:
        """Return the tables of some kinds, in the order in which the page shows them."""
        return [self._shown(table) for table in self._tables if table.kind in kinds]

    def _shown(self, table: Table) -> ShownTable:
        notes = tuple(note for note in table.notes if note not in self._shown_notes)
        self._shown_notes.update(notes)
        title = "" if table.kind is TableKind.COSTS else table.title  # costs have a heading of their own
        rows = table.rows
        if table.kind is not TableKind.OVERVIEW:
            rows = tuple(self._without_note(row) for row in rows if row.name not in self._absent)
        return ShownTable(replace(table, title=title, rows=rows, notes=notes), _is_folded(table))

    def _without_note(self, row: TableRow) -> TableRow:
        return replace(row, note=self._prompts.get(row.name, ""))


def _has_content(table: Table) -> bool:
    """Whether a table shows anything: counts are of no case where every case has every organ."""
    if table.kind in (TableKind.MISSED, TableKind.SPURIOUS):
        return any(cell.of for row in table.rows for cell in row.cells)
    return table.kind is not TableKind.COSTS or bool(table.columns)


def _is_folded(table: Table) -> bool:
    if table.kind in _OPEN_METRICS:
        return table.metric not in _OPEN_METRICS[table.kind]
    return table.kind is TableKind.ERRORS_BY_ORGAN
