"""Groups of systems whose scores may be compared in one table.

A row is a system in a setting, with all its folds and seeds. Two rows share a table only if they were scored on the
same cases of the same patients and folds, with as many seeds, the same classes and the same metric convention.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import count

from sautomed.evaluation.conventions import Convention, convention_named
from sautomed.evaluation.metrics import METRICS
from sautomed.report.scores import CaseScore
from sautomed.study.report.runs import PROMPT_WORDS, Run, Study, case_scores, metric_names

# (fold, its scored cases, number of seeds), sorted by fold
Scope = tuple[tuple[int, tuple[str, ...], int], ...]


@dataclass(frozen=True)
class ScoredRun:
    """A run that is done, with its scores."""

    run: Run
    scores: tuple[CaseScore, ...]

    @cached_property
    def cases(self) -> tuple[str, ...]:
        """Cases that could be scored, sorted."""
        return tuple(sorted({score.case for score in self.scores if score.status != "failed"}))

    @cached_property
    def labels(self) -> dict[int, str]:
        """Name of each scored class, by value."""
        return dict(sorted({score.class_id: score.class_name for score in self.scores}.items()))


@dataclass(frozen=True)
class Row:
    """A system in a setting with all its scored runs; at least one."""

    scored: tuple[ScoredRun, ...]

    @property
    def runs(self) -> tuple[Run, ...]:
        """Its runs, by fold, then seed."""
        return tuple(one.run for one in self.scored)

    @property
    def name(self) -> str:
        """`SAMed (3 cases)`."""
        return self.runs[0].row_name

    @property
    def is_oracle(self) -> bool:
        """Whether it is prompted from the truth."""
        return any(run.is_oracle for run in self.runs)

    @property
    def prompts(self) -> str:
        """Its prompts in words: `none`, `box from the truth`."""
        given = dict.fromkeys(PROMPT_WORDS[run.prompts] for run in self.runs if run.is_oracle)
        return ", ".join(given) or PROMPT_WORDS["none"]

    @property
    def note(self) -> str:
        """Notes of its runs, each once."""
        return "; ".join(dict.fromkeys(run.note for run in self.runs if run.note))

    @cached_property
    def patients(self) -> tuple[str, ...]:
        """Patients of its scored cases, sorted."""
        return tuple(sorted({one.run.patient_of(case) for one in self.scored for case in one.cases}))

    @cached_property
    def scope(self) -> Scope:
        """Folds, cases and number of seeds that it was scored on."""
        return tuple(
            (fold, cases, sum((one.run.fold, one.cases) == (fold, cases) for one in self.scored))
            for fold, cases in sorted({(one.run.fold, one.cases) for one in self.scored})
        )


@dataclass(frozen=True)
class AbsentRow:
    """A system that has no scores in a group, and why, in words."""

    name: str
    is_oracle: bool
    prompts: str
    status: str
    reason: str


@dataclass(frozen=True)
class Group:
    """Rows whose scores may be compared, and the systems without scores on the same data.

    Args:
        name: For file names: letters, digits and underscores.
        labels: Name of each class.
        tolerance_mm: Of the NSD; None if the convention has no NSD.
        metrics: Names of the metrics, in the order of the convention.
        caption: What was scored, in words.
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
        """Rows that are not prompted from the truth: only these may be called best."""
        return tuple(row for row in self.rows if not row.is_oracle)


def comparable_groups(study: Study) -> list[Group]:
    """Sort the rows of a study into groups; of each dataset the one with the most folds and rows comes first.

    A system that is not in the first group of its dataset is listed there with the reason: it has no scores, or it
    lacks a fold that others have and is in a group of its own.

    Raises:
        MissingFile, BadTable: The scores of a run that is done cannot be read.
        UsageError: A run names an unknown metric convention.
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
    """Make one row per system, setting and way of scoring; runs without scores make none."""
    scored: dict[object, list[ScoredRun]] = {}
    for run in runs:
        if run.status == "done":
            one = ScoredRun(run, tuple(case_scores(run)))
            scored.setdefault((run.row, _scoring(one)), []).append(one)
    return [Row(tuple(sorted(of_row, key=lambda one: (one.run.fold, one.run.seed)))) for of_row in scored.values()]


def _scoring(one: ScoredRun) -> tuple[object, ...]:
    """Return how a run was scored; scores may only be compared if it is the same."""
    run = one.run
    return tuple(one.labels.items()), run.convention, run.tolerance_mm, metric_names(one.scores)


def _groups_of(dataset: str, rows: Iterable[Row]) -> list[Group]:
    alike: dict[object, list[Row]] = {}
    for row in rows:
        alike.setdefault((_scoring(row.scored[0]), row.scope, row.patients), []).append(row)
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
        tolerance_mm=first.run.tolerance_mm if any(METRICS[name].has_tolerance for name in found) else None,
        metrics=tuple(metric for metric in convention.metrics if metric in found),
        rows=rows,
    )


def _empty_group(dataset: str, runs: Sequence[Run]) -> Group:
    """Make a group for a dataset without any scores."""
    convention, labels = convention_named(runs[0].convention), next((run.labels for run in runs if run.labels), {})
    return Group("", dataset, dict(labels), (), convention, runs[0].tolerance_mm, tuple(convention.metrics), ())


def _size(group: Group) -> tuple[int, int, int]:
    return len({fold for fold, *_ in group.scope}), len(group.rows), len(group.patients)


def _absent_rows(group: Group, runs: Sequence[Run]) -> tuple[AbsentRow, ...]:
    """Return the systems of a dataset that are not in a group."""
    present = {row.runs[0].row for row in group.rows}
    lacking: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        if run.row not in present:
            lacking.setdefault(run.row, []).append(run)
    return tuple(_absent_row(of_row) for of_row in lacking.values())


def _absent_row(runs: Sequence[Run]) -> AbsentRow:
    without = [run for run in runs if run.status != "done"]
    reason = "; ".join(dict.fromkeys(run.reason.rstrip(". ") for run in without))
    statuses = {run.status for run in without}
    status = "left out" if statuses == {"left_out"} else "failed" if statuses else "apart"
    if status == "apart":
        reason = "scored on other cases, folds or seeds, or in another way; it has its own table"
    elif len(without) < len(runs):
        folds = folds_text(sorted({run.fold for run in without}))
        reason = f"{folds}: {reason}; the rest has its own table"
    return AbsentRow(runs[0].row_name, runs[0].is_oracle, PROMPT_WORDS[runs[0].prompts], status, reason)


def _caption(group: Group) -> str:
    """Return what was scored: `chaos, folds 0 and 1, 20 patients`."""
    if not group.rows:
        return f"{group.dataset}, no system has scores"
    patients = len(group.patients)
    folds = folds_text(sorted({fold for fold, *_ in group.scope}))
    parts = [group.dataset, folds, f"{patients} patient{'s' * (patients != 1)}"]
    seeds = sorted({seeds for *_, seeds in group.scope})
    if seeds != [1]:
        parts.append(f"{' or '.join(map(str, seeds))} seeds averaged for each patient")
    return ", ".join(parts)


def _why_apart(group: Group, leading: Group) -> str:
    names = ", ".join(row.name for row in group.rows)
    lacking = sorted({fold for fold, *_ in leading.scope} - {fold for fold, *_ in group.scope})
    if lacking:
        return f"apart because {names} lacks {folds_text(lacking)}, which others have"
    return f"apart because {names} was scored on other cases, folds or seeds, or in another way"


def _named(groups: Sequence[Group]) -> list[Group]:
    """Give each group a name of its own."""
    taken: set[str] = set()
    named = []
    for group in groups:
        stem = re.sub(r"[^a-z0-9]+", "_", group.dataset.lower()).strip("_") or "data"
        numbered = (stem if number == 1 else f"{stem}_{number}" for number in count(1))
        name = next(name for name in numbered if name not in taken)
        taken.add(name)
        named.append(replace(group, name=name))
    return named


def folds_text(folds: Sequence[int]) -> str:
    """Return folds in words: `fold 0`; `folds 0, 1 and 3`."""
    if len(folds) < 2:
        return "".join(f"fold {fold}" for fold in folds) or "no fold"
    return f"folds {', '.join(map(str, folds[:-1]))} and {folds[-1]}"
