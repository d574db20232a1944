"""Which scores may stand in one table.

A row is a system in a setting, its folds and seeds put together. Two rows share a table only if they were scored on the
same cases of the same patients and folds, with as many seeds, the same classes and the same metric convention.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import count

from sautomed.evaluation.conventions import Convention, convention_named
from sautomed.study.report.runs import PROMPT_WORDS, CaseScore, Run, Study, case_scores, metric_names

# (fold, its scored cases, number of seeds), sorted by fold
Scope = tuple[tuple[int, tuple[str, ...], int], ...]


@dataclass(frozen=True)
class ScoredRun:
    """A run that is done, with its scores."""

    run: Run
    scores: tuple[CaseScore, ...]

    @cached_property
    def cases(self) -> tuple[str, ...]:
        """The cases that could be scored, sorted."""
        return tuple(sorted({score.case for score in self.scores if score.status != "failed"}))

    @cached_property
    def labels(self) -> dict[int, str]:
        """Name of each class that was scored, by value."""
        return dict(sorted({score.class_id: score.class_name for score in self.scores}.items()))


@dataclass(frozen=True)
class Row:
    """A system in a setting with all its scored runs; at least one."""

    scored: tuple[ScoredRun, ...]

    @property
    def runs(self) -> tuple[Run, ...]:
        """By fold, then seed."""
        return tuple(one.run for one in self.scored)

    @property
    def name(self) -> str:
        """`SAMed (3 cases)`."""
        return self.runs[0].row_name

    @property
    def is_oracle(self) -> bool:
        """Whether the truth prompted it."""
        return any(run.is_oracle for run in self.runs)

    @property
    def prompts(self) -> str:
        """What it was told, in words: `none`, `box from the truth`."""
        told = [PROMPT_WORDS[run.prompts] for run in self.runs]
        return ", ".join(dict.fromkeys(words for words in told if words != PROMPT_WORDS["none"])) or told[0]

    @property
    def note(self) -> str:
        """The notes of its runs, each once."""
        return "; ".join(dict.fromkeys(run.note for run in self.runs if run.note))

    @cached_property
    def patients(self) -> tuple[str, ...]:
        """Patients of its scored cases, sorted."""
        return tuple(sorted({one.run.patient_of(case) for one in self.scored for case in one.cases}))

    @cached_property
    def scope(self) -> Scope:
        """What it was scored on."""
        return tuple(
            (fold, cases, sum((one.run.fold, one.cases) == (fold, cases) for one in self.scored))
            for fold, cases in sorted({(one.run.fold, one.cases) for one in self.scored})
        )


@dataclass(frozen=True)
class AbsentRow:
    """A system that has no scores in a group, and why."""

    name: str
    prompts: str
    status: str
    reason: str


@dataclass(frozen=True)
class Group:
    """Rows whose scores may be compared, and the systems of the same data that have none.

    Args:
        name: For files: letters, digits and underscores.
        labels: Name of each class.
        metrics: Names of the metrics, in the order of the convention.
        tolerance_mm: Of the NSD; None where the convention has none.
        caption: In words, what was scored.
    """

    name: str
    dataset: str
    labels: Mapping[int, str]
    scope: Scope
    convention: Convention
    tolerance_mm: float | None
    metrics: tuple[str, ...]
    rows: tuple[Row, ...]
    absent: tuple[AbsentRow, ...] = ()
    caption: str = ""

    @property
    def patients(self) -> tuple[str, ...]:
        """Patients of all scored cases, sorted."""
        return tuple(sorted({patient for row in self.rows for patient in row.patients}))

    @property
    def unprompted(self) -> tuple[Row, ...]:
        """The rows that were told nothing: those that may be called best."""
        return tuple(row for row in self.rows if not row.is_oracle)


def comparable_groups(study: Study) -> list[Group]:
    """Sort the rows of a study into groups that may share a table; the one with most folds and rows leads its dataset.

    A system that is not in the leading group of its dataset is named there with the reason: it has no scores, or it
    lacks a fold that others have and stands in a group of its own.

    Raises:
        MissingFile, BadTable: The scores of a run that is done cannot be read.
        UsageError: A run names a metric convention that there is not.
    """
    groups: list[Group] = []
    for dataset in dict.fromkeys(run.dataset for run in study.runs):
        runs = [run for run in study.runs if run.dataset == dataset]
        found = sorted(_groups_of(dataset, _rows(runs)), key=_size, reverse=True)
        leading = found[0] if found else _empty_group(dataset, runs)
        groups.append(replace(leading, absent=_absent_rows(leading, runs), caption=_caption(leading)))
        groups += [replace(group, caption=f"{_caption(group)} ({_why_apart(group, leading)})") for group in found[1:]]
    return _named(groups)


def _rows(runs: Iterable[Run]) -> list[Row]:
    """One row per system, setting and way of scoring; runs without scores make none."""
    scored: dict[object, list[ScoredRun]] = {}
    for run in runs:
        if run.status == "done":
            one = ScoredRun(run, tuple(case_scores(run)))
            scored.setdefault((run.row, _way(one)), []).append(one)
    return [Row(tuple(sorted(of_row, key=lambda one: (one.run.fold, one.run.seed)))) for of_row in scored.values()]


def _way(one: ScoredRun) -> tuple[object, ...]:
    """How a run was scored; numbers of two ways mean different things."""
    run = one.run
    return tuple(one.labels.items()), run.convention, run.tolerance_mm, metric_names(one.scores)


def _groups_of(dataset: str, rows: Iterable[Row]) -> list[Group]:
    alike: dict[object, list[Row]] = {}
    for row in rows:
        alike.setdefault((_way(row.scored[0]), row.scope, row.patients), []).append(row)
    return [_group(dataset, tuple(of_group)) for of_group in alike.values()]


def _group(dataset: str, rows: tuple[Row, ...]) -> Group:
    first = rows[0].scored[0]
    convention, found = convention_named(first.run.convention), metric_names(first.scores)
    return Group(
        name="",
        dataset=dataset,
        labels=first.labels,
        scope=rows[0].scope,
        convention=convention,
        tolerance_mm=first.run.tolerance_mm if "nsd" in found else None,
        metrics=tuple(metric for metric in convention.metrics if metric in found),
        rows=rows,
    )


def _empty_group(dataset: str, runs: Sequence[Run]) -> Group:
    """A group for a dataset on which nothing could be scored."""
    convention, labels = convention_named(runs[0].convention), next((run.labels for run in runs if run.labels), {})
    return Group("", dataset, dict(labels), (), convention, runs[0].tolerance_mm, tuple(convention.metrics), ())


def _size(group: Group) -> tuple[int, int, int]:
    return len({fold for fold, *_ in group.scope}), len(group.rows), len(group.patients)


def _absent_rows(group: Group, runs: Sequence[Run]) -> tuple[AbsentRow, ...]:
    """The systems of a dataset that a group lacks."""
    present = {row.runs[0].row for row in group.rows}
    lacking: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        if run.row not in present:
            lacking.setdefault(run.row, []).append(run)
    return tuple(_absent_row(of_row) for of_row in lacking.values())


def _absent_row(runs: Sequence[Run]) -> AbsentRow:
    """Of the runs of one system."""
    without = [run for run in runs if run.status != "done"]
    reason = "; ".join(dict.fromkeys(run.reason.rstrip(". ") for run in without))
    statuses = {run.status for run in without}
    status = "left out" if statuses == {"left_out"} else "failed" if statuses else "apart"
    if status == "apart":
        reason = "scored on other cases, folds or seeds, or in another way; it stands in a table of its own"
    elif len(without) < len(runs):
        folds = folds_listed(sorted({run.fold for run in without}))
        reason = f"{folds}: {reason}; the rest stands in a table of its own"
    return AbsentRow(runs[0].row_name, PROMPT_WORDS[runs[0].prompts], status, reason)


def _caption(group: Group) -> str:
    """`chaos, folds 0 and 1, 20 patients`."""
    if not group.rows:
        return f"{group.dataset}, no system has scores"
    patients = len(group.patients)
    folds = folds_listed(sorted({fold for fold, *_ in group.scope}))
    parts = [group.dataset, folds, f"{patients} patient{'s' * (patients != 1)}"]
    seeds = sorted({seeds for *_, seeds in group.scope})
    if seeds != [1]:
        parts.append(f"{' or '.join(map(str, seeds))} seeds averaged for each patient")
    return ", ".join(parts)


def _why_apart(group: Group, leading: Group) -> str:
    names = ", ".join(row.name for row in group.rows)
    lacking = sorted({fold for fold, *_ in leading.scope} - {fold for fold, *_ in group.scope})
    if lacking:
        return f"apart because {names} lacks {folds_listed(lacking)}, which others have"
    return f"apart because {names} was scored on other cases, folds or seeds, or in another way"


def _named(groups: Sequence[Group]) -> list[Group]:
    """The groups with names that differ."""
    taken: set[str] = set()
    named = []
    for group in groups:
        stem = re.sub(r"[^a-z0-9]+", "_", group.dataset.lower()).strip("_") or "data"
        numbered = (stem if number == 1 else f"{stem}_{number}" for number in count(1))
        name = next(name for name in numbered if name not in taken)
        taken.add(name)
        named.append(replace(group, name=name))
    return named


def folds_listed(folds: Sequence[int]) -> str:
    """`fold 0`; `folds 0, 1 and 3`."""
    if len(folds) < 2:
        return "".join(f"fold {fold}" for fold in folds) or "no fold"
    return f"folds {', '.join(map(str, folds[:-1]))} and {folds[-1]}"
