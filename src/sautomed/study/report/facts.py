"""Facts about a study in words: the head of its page, and one sentence per group about the best system."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sautomed.evaluation.metrics import METRICS
from sautomed.report.table import Table, TableKind, cell_text
from sautomed.study.report.grouping import Group
from sautomed.study.report.runs import PROMPT_WORDS, Run, Study

Fact = tuple[str, list[str]]  # name and lines


def study_facts(study: Study, groups: Sequence[Group]) -> list[Fact]:
    """Return date, machine, budget, data, metrics, prompts of the systems, and how many runs there are."""
    done = [run for run in study.runs if run.status == "done"]
    facts: list[Fact] = [
        ("date", [_span(sorted({run.date for run in study.runs if run.date}))]),
        ("machine", list(dict.fromkeys(run.machine for run in study.runs if run.machine))),
        ("budget", [_budget(done)]),
        ("data", [group.caption for group in groups]),
        ("metrics", list(dict.fromkeys(_metrics(group) for group in groups if group.rows))),
        ("prompts", _prompts(study.runs)),
        ("runs", [_runs_line(study)]),
    ]
    return [(name, [line for line in lines if line]) for name, lines in facts if any(lines)]


def headline(group: Group, tables: Sequence[Table]) -> str:
    """Return a sentence about the best system; empty without scores."""
    overview = next((table for table in tables if table.kind is TableKind.OVERVIEW), None)
    if overview is None or not group.rows or "dsc" not in group.metrics:
        return ""
    index, column = next((i, column) for i, column in enumerate(overview.columns) if column.key == "dsc")
    best = [row for row in overview.rows if row.cells and row.cells[index].best]
    if not best:
        return ""
    names = " and ".join(row.name for row in best)
    score = cell_text(best[0].cells[index], column)
    return f"Best mean DSC of the systems without prompts from the truth: {names}, {score}."


def _span(dates: Sequence[str]) -> str:
    return dates[0] if len(set(dates)) == 1 else f"{dates[0]} to {dates[-1]}" if dates else ""


def _budget(runs: Iterable[Run]) -> str:
    minutes = sorted(run.costs.train_minutes for run in runs if run.costs and run.costs.train_minutes)
    if not minutes:
        return ""
    low, high = (f"{of_run:.0f}" if of_run >= 100 else f"{of_run:.3g}" for of_run in (minutes[0], minutes[-1]))
    return f"{low if low == high else f'{low} to {high}'} minutes of training per run"


def _metrics(group: Group) -> str:
    names = ", ".join(METRICS[metric].label(group.tolerance_mm) for metric in group.metrics)
    return f"{names}; convention {group.convention.title}"


def _prompts(runs: Iterable[Run]) -> list[str]:
    by_prompts: dict[str, dict[str, None]] = {}
    for run in runs:
        by_prompts.setdefault(PROMPT_WORDS[run.prompts], {})[run.row_name] = None
    return [f"{words}: {', '.join(names)}" for words, names in by_prompts.items()]


def _runs_line(study: Study) -> str:
    counted = {status: sum(run.status == status for run in study.runs) for status in ("done", "failed", "left_out")}
    counted["not ended"] = len(study.pending)
    return ", ".join(f"{count} {status.replace('_', ' ')}" for status, count in counted.items() if count)
