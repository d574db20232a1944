"""Whether a study may go on although its file has changed: nothing of one name may have been made in two ways.

A file may grow, lose rows, and change their order, labels and notes at any time. Knows study.json, touches no run.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sautomed.errors import BadTable, TargetExists
from sautomed.scans.paths import true_place
from sautomed.study.plan import DataEntry, PlannedRun, StudyFile

COMMON = {
    "minutes": "minutes of each training",
    "clock": "clock that counts them",
    "convention": "metric convention",
    "tolerance_mm": "tolerance in mm",
}
_SHOWN = ("id", "order", "label", "setting", "note", "dataset", "fold", "seed", "training", "segment", "left_out")
_LISTED = 3  # settings that a message names of one run, and runs of a study


@dataclass(frozen=True)
class Known:
    """A run that an earlier file planned, with what its scores depend on beside `COMMON`; its id says fold and seed.

    Attributes:
        segment: As `PlannedRun.segment`; None where study.json does not say it.
        place: Where its data lie: folder, layout and phantom of the `DataEntry`.
    """

    id: str
    dataset: str
    fold: int
    training: str
    segment: Mapping[str, Any] | None
    place: Mapping[str, Any]


def describe(study: StudyFile, runs: Sequence[PlannedRun], before: Iterable[Known]) -> dict[str, Any]:
    """What study.json holds: the newest file, its runs, and in `earlier` what only earlier files had."""
    planned = [{name: getattr(run, name) for name in _SHOWN} for run in runs]
    ids = {run.id for run in runs}
    return {
        "title": study.title,
        "study": study.model_dump(mode="json", by_alias=True),
        "runs": planned,
        "earlier": [asdict(known) for known in before if known.id not in ids],
    }


def known_runs(described: Mapping[str, Any], where: Path) -> list[Known]:
    """Every run that the study ever had, from its study.json; raises BadTable where that is damaged."""
    try:
        places = {entry["name"]: _named(entry) for entry in described["study"]["data"]}
        planned = [{"segment": None, **run, "place": places[run["dataset"]]} for run in described["runs"]]
        return [
            Known(**{name: run[name] for name in Known.__dataclass_fields__})
            for run in (*planned, *described.get("earlier", ()))
        ]
    except (KeyError, TypeError, AttributeError) as error:
        raise BadTable(
            f"is no description of a study: {error!r}.", where=where, cure="Give another folder with -o."
        ) from error


def refuse_mixture(
    root: Path,
    before: Mapping[str, Any],
    study: StudyFile,
    runs: Sequence[PlannedRun],
    *,
    begun: Sequence[Known],
    done: Collection[str],
    settings_of: Callable[[Known], Mapping[str, Any] | None],
) -> None:
    """Refuse a file under which runs would differ from those of their name that are there.

    Args:
        before: study.json.
        begun: Runs that are done, or whose training has begun.
        done: Ids of those that are done.
        settings_of: What such a run was trained with, if that can be told.
    Raises:
        TargetExists: Says what differs.
    """
    if not begun:
        return
    faults = [*_common_faults(before["study"], study), *_data_faults(study.data, begun)]
    now = {run.id: run for run in runs}
    again = [(known, now[known.id]) for known in begun if known.id in done and known.id in now]
    others = [(known, run) for known, run in again if _differs(known, run)]
    faults += [f"{run.id} is done, with {_changed(known, settings_of(known), run)}" for known, run in others[:_LISTED]]
    if len(others) > _LISTED:
        faults.append(f"{len(others) - _LISTED} more runs are done with other settings")
    if faults:
        raise TargetExists(
            f"holds runs that were made otherwise, and scores of the two must not mix: {'; '.join(faults)}.",
            where=root,
            cure="Give the study as it was there (a changed row under a new label), or another folder with -o.",
        )


def _common_faults(before: Mapping[str, Any], study: StudyFile) -> list[str]:
    pairs = ((words, before.get(name), getattr(study, name)) for name, words in COMMON.items())
    return [f"{words}: {_said(old)}, now {_said(new)}" for words, old, new in pairs if old != new]


def other_data(known: Iterable[Known], study: StudyFile) -> list[str]:
    """Names of data sets that stand for others than in the runs that are known."""
    places = {run.dataset: run.place for run in known}
    return [entry.name for entry in study.data if entry.name in places and not _same(places[entry.name], _place(entry))]


def _data_faults(data: Iterable[DataEntry], begun: Iterable[Known]) -> list[str]:
    places = {known.dataset: known.place for known in begun}
    pairs = ((entry.name, places[entry.name], _place(entry)) for entry in data if entry.name in places)
    return [f"the data set {name}: {_where(old)}, now {_where(new)}" for name, old, new in pairs if not _same(old, new)]


def _place(entry: DataEntry) -> dict[str, Any]:
    return _named(entry.model_dump(mode="json"))


def _named(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {name: entry[name] for name in ("folder", "layout", "phantom")}


def _same(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """A folder may be reached by several names, such as a link that stands where it was before."""
    folders = {place["folder"] and true_place(Path(place["folder"])) for place in (old, new)}
    return len(folders) == 1 and all(old[name] == new[name] for name in ("layout", "phantom"))


def _where(place: Mapping[str, Any]) -> str:
    if place["folder"] is None:
        return "phantoms (" + ", ".join(f"{name} {value}" for name, value in (place["phantom"] or {}).items()) + ")"
    return f"{place['folder']} (layout {place['layout']})"


def _said(value: object) -> str:
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _differs(known: Known, run: PlannedRun) -> bool:
    return known.training != run.training or known.segment not in (None, run.segment)


def _changed(known: Known, before: Mapping[str, Any] | None, run: PlannedRun) -> str:
    """The settings that differ, by name; what a preset leaves on auto was decided when the run began."""
    if before is None or run.settings is None:
        return "other settings"
    old = _flat({**before, "segment": known.segment or {}})  # runs of one training may walk in two ways
    new = _flat(run.settings.model_dump(mode="json"))
    names = [n for n in new if n in old and n != "preset" and new[n] != "auto" and old[n] != new[n]]
    told = [f"{name} {_said(old[name])} (now {_said(new[name])})" for name in names[:_LISTED]]
    return ", ".join(told) or "other settings or training cases"


def _flat(tree: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        flat |= _flat(value, f"{above}{name}.") if isinstance(value, Mapping) else {above + name: value}
    return flat
