"""The page of a study: everything that was compared, in one HTML file that needs no other."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from sautomed.datasets import Dataset
from sautomed.errors import SautomedError
from sautomed.report.templates import page_template
from sautomed.scans.files import write_text
from sautomed.scans.palette import colour_of, display_name
from sautomed.study.report.boxplots import BOX_FROM, boxplots_picture
from sautomed.study.report.cases import Chosen, System, choose_cases, open_dataset, read_case, systems_of
from sautomed.study.report.cells import Cell, Column, Table, TableRow
from sautomed.study.report.curves import curves_picture
from sautomed.study.report.error_tables import causes_picture, error_tables, places_picture
from sautomed.study.report.facts import Fact, headline, study_facts
from sautomed.study.report.grouping import Group
from sautomed.study.report.plotting import system_colour
from sautomed.study.report.runs import read_study
from sautomed.study.report.slice_errors import measure_errors
from sautomed.study.report.slices import slices_picture
from sautomed.study.report.surfaces import surfaces_picture
from sautomed.study.report.tables import ALL_TABLES, WRITERS, GroupTables, study_tables, to_markdown, write_tables

PAGE, TABLES = "report.html", "tables"
OnCase = Callable[[int, int, str], None]
_OPEN = {"overview", "dsc", "hd95_mm", "hd95_voxels", "missed", "spurious", "costs", "against_best_dsc", "errors",
         "slice_places"}  # fmt: skip
_SCORES_LAST = {"missed", "spurious", "costs", "errors", "errors_by_organ", "slice_places"}


@dataclass(frozen=True)
class CellView:
    """A cell; its interval stands below its number."""

    text: str
    interval: str
    best: bool
    mark: str


@dataclass(frozen=True)
class RowView:
    """A row, with the colour that its system has in the pictures."""

    name: str
    note: str
    reason: str
    is_oracle: bool
    colour: str
    cells: list[CellView]


@dataclass(frozen=True)
class TableView:
    """A table; `folded` ones are shown on a click."""

    title: str
    columns: Sequence[Column]
    rows: list[RowView]
    notes: list[str]
    folded: bool


@dataclass(frozen=True)
class CaseView:
    """One case in pictures, as data URLs."""

    title: str
    detail: str
    slices: str
    surfaces: str


@dataclass(frozen=True)
class GroupView:
    """Everything about one group of comparable systems; pictures are data URLs, empty where there is none."""

    caption: str
    headline: str
    organs: list[tuple[str, str]]
    scores: list[TableView]
    tests: list[TableView]
    counts: list[TableView]
    costs: list[TableView]
    boxplots: str
    box_note: str
    curves: str
    cases: list[CaseView] = field(default_factory=list)
    causes: str = ""
    places: str = ""
    errors: list[TableView] = field(default_factory=list)
    slice_places: list[TableView] = field(default_factory=list)
    left_out: str = ""


@dataclass(frozen=True)
class PageView:
    """The page."""

    title: str
    facts: Sequence[Fact]
    groups: list[GroupView]


def write_study_report(folder: Path, on_case: OnCase | None = None) -> Path:
    """Write STUDY/report/report.html, and the tables beside it as CSV, Markdown and LaTeX.

    What can no longer be shown, such as pictures of a dataset that has moved, is left out with a sentence.

    Args:
        folder: The study's.
        on_case: Called with (done, total, id) as scans and label maps are gone through, which takes longest.
    Returns:
        The page.
    Raises:
        MissingFile, BadTable: It is no study, nothing of it has ended, or a run's files are not what `study` writes.
        UsageError: A run names a metric convention that there is not.
        UnwritableTarget: The report cannot be written.
    """
    study = read_study(folder)
    progress = _Progress(on_case)
    groups, extra = [], []
    found = study_tables(study)
    for of_group in found:
        progress.expect(of_group.group)
    for of_group in found:
        view, tables = _group_view(of_group, progress)
        groups.append(view)
        extra += tables
    target = Path(folder) / "report"
    write_tables(study, target / TABLES)
    _write_more_tables(extra, target / TABLES)
    page = PageView(study.title, study_facts(study, [of_group.group for of_group in found]), groups)
    write_text(target / PAGE, page_template("study/report/study.html").render(page=page))
    return target / PAGE


@dataclass
class _Progress:
    """Counts what is looked at over all groups: the cases in pictures, and every case for its errors."""

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
    group, tables = of_group.group, of_group.tables
    systems = systems_of(group)
    views = _Views(group, systems)
    has_dsc = "dsc" in group.metrics and bool(systems)
    view = GroupView(
        caption=group.caption,
        headline=headline(group, tables),
        organs=[(colour_of(value), display_name(name)) for value, name in group.labels.items()],
        scores=views.of(t for t in tables if t.kind not in _SCORES_LAST and not t.kind.startswith("against_")),
        tests=views.of(t for t in tables if t.kind.startswith("against_")),
        counts=views.of(t for t in tables if t.kind in ("missed", "spurious") and _counts_anything(t)),
        costs=views.of(t for t in tables if t.kind == "costs" and t.columns),
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
    more = error_tables(group, systems, errors)
    pictures = causes_picture(systems, errors, group.labels), places_picture(systems, errors)
    by_cause, by_place = views.of(more[:2]), views.of(more[2:])
    return replace(view, cases=cases, causes=pictures[0], places=pictures[1], errors=by_cause,
                   slice_places=by_place), more  # fmt: skip


def _cases_of(group: Group) -> list[str]:
    return sorted({case for row in group.rows for one in row.scored for case in one.cases})


def _case_view(dataset: Dataset, chosen: Chosen, systems: Sequence[System], progress: _Progress) -> CaseView:
    shown = read_case(dataset, chosen.case, systems)
    told_all = all(system.is_oracle for system in systems)
    notes = {}
    for system in systems:
        dsc = system.mean_dsc().get(chosen.case, math.nan)
        told = f", {system.row.prompts}" if system.is_oracle else ""
        notes[system.name] = f"DSC {dsc:.3f}{told}" if math.isfinite(dsc) else told.lstrip(", ")
    drawn = slices_picture(shown, notes), surfaces_picture(shown, notes)
    progress(chosen.case)
    return CaseView(
        title=f"{chosen.role.capitalize()} case: {chosen.case}",
        detail=f"mean DSC {chosen.dsc:.3f} over the systems{'' if told_all else ' that were told nothing'}",
        slices=drawn[0],
        surfaces=drawn[1],
    )


def _counts_anything(table: Table) -> bool:
    """Whether any organ could be counted; where every case has every organ, none can be invented."""
    return any(cell.of for row in table.rows for cell in row.cells)


def _box_note(group: Group) -> str:
    if len(group.patients) >= BOX_FROM:
        return "; boxes span the quartiles, with a line at the median"
    return ", a line the mean; there are too few for boxes"


def _write_more_tables(tables: Sequence[Table], folder: Path) -> None:
    """The tables of this page beside those of the scores, and below them in the one file that holds all."""
    for table in tables:
        for ending, as_text in WRITERS.items():
            write_text(folder / f"{table.name}{ending}", as_text(table))
    everything = (folder / ALL_TABLES).read_text(encoding="utf-8")
    write_text(folder / ALL_TABLES, "\n".join([everything, *map(to_markdown, tables)]))


class _Views:
    """Tables of one group for the page. What stood in an earlier table, a note or a reason, is not said again."""

    def __init__(self, group: Group, systems: Sequence[System]) -> None:
        self.colours = {system.name: system_colour(system.place) for system in systems}
        self.prompts = {row.name: row.prompts for row in group.rows if row.is_oracle}
        self.absent = {absent.name for absent in group.absent}
        self.said: set[str] = set()

    def of(self, tables: Iterable[Table]) -> list[TableView]:
        return [self._view(table) for table in tables]

    def _view(self, table: Table) -> TableView:
        notes = [note for note in table.notes if note not in self.said]
        self.said.update(notes)
        first = table.kind == "overview"
        rows = [self._row(row, first) for row in table.rows if first or row.name not in self.absent]
        # After the colon stands what was scored, which is the heading of the group.
        title = "" if table.kind == "costs" else table.title.split(": ")[0]
        return TableView(title, table.columns, rows, notes, table.kind not in _OPEN)

    def _row(self, row: TableRow, first: bool) -> RowView:
        note = row.note if first else self.prompts.get(row.name, "")
        cells = [_cell_view(cell) for cell in row.cells]
        return RowView(row.name, note, row.reason, row.is_oracle, self.colours.get(row.name, ""), cells)


def _cell_view(cell: Cell) -> CellView:
    number, bracket, rest = cell.text.partition(" (")
    if math.isfinite(cell.low) and bracket:
        return CellView(number, rest.rstrip(")"), cell.best, cell.mark)
    return CellView(cell.text, "", cell.best, cell.mark)
