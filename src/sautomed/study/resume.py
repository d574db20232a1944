"""Whether a study may be resumed after its file has changed: two runs of one name must not be made in two ways.

Rows may be added, removed and reordered, and get other labels and notes, at any time. Works on the content of
study.json; reads no run.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sautomed.errors import BadTable, TargetExists
from sautomed.errors.text import listed
from sautomed.scans.paths import resolved_path
from sautomed.study.plan import PlannedRun
from sautomed.study.study_file import DataEntry, StudyFile

COMMON = {  # settings of the file that apply to all of its runs, as messages name them
    "minutes": "minutes of each training",
    "clock": "clock that counts them",
    "convention": "metric convention",
    "tolerance_mm": "tolerance in mm",
}
_RECORDED = ("id", "order", "label", "setting", "note", "dataset", "fold", "seed", "training", "segment", "left_out")
_MOST = 3  # settings of one run that a message names, and runs of a study


@dataclass(frozen=True)
class KnownRun:
    """A run of this or an earlier study file, with what its scores depend on beside `COMMON`.

    Attributes:
        id: Contains fold and seed.
        segment: As `PlannedRun.segment`; None if study.json, of an earlier version, lacks it.
        place: Source of its data: folder, layout and phantom of the `DataEntry`.
    """

    id: str
    dataset: str
    fold: int
    training: str
    segment: Mapping[str, Any] | None
    place: Mapping[str, Any]


def describe(study: StudyFile, runs: Sequence[PlannedRun], known: Iterable[KnownRun]) -> dict[str, Any]:
    """Return the content of study.json: the newest file, its runs, and under `earlier` the runs it no longer has."""
    ids = {run.id for run in runs}
    return {
        "title": study.title,
        "study": study.model_dump(mode="json", by_alias=True),
        "runs": [{name: getattr(run, name) for name in _RECORDED} for run in runs],
        "earlier": [asdict(run) for run in known if run.id not in ids],
    }


def known_runs(described: Mapping[str, Any], where: Path) -> list[KnownRun]:
    """Return every run that the study ever had, from its study.json; raises BadTable if that is damaged."""
    try:
        places = {entry["name"]: _place_of(entry) for entry in described["study"]["data"]}
        planned = [{"segment": None, **run, "place": places[run["dataset"]]} for run in described["runs"]]
        return [
            KnownRun(**{name: run[name] for name in KnownRun.__dataclass_fields__})
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
    begun: Sequence[KnownRun],
    done: Collection[str],
    settings_of: Callable[[KnownRun], Mapping[str, Any] | None],
) -> None:
    """Refuse a study file whose runs would differ from runs of the same name that exist.

    Args:
        root: Folder of the study.
        before: study.json.
        begun: Runs that are done, or whose training has begun.
        done: Ids of those that are done.
        settings_of: Returns the settings that a run was trained with, or None if they are not known.
    Raises:
        TargetExists: Names the differences.
    """
    if not begun:
        return
    faults = [*_common_faults(before["study"], study), *_data_faults(study.data, begun)]
    planned = {run.id: run for run in runs}
    again = [(known, planned[known.id]) for known in begun if known.id in done and known.id in planned]
    changed = [(known, run) for known, run in again if _differs(known, run)]
    faults += [f"{run.id} is done, with {_changes(known, settings_of(known), run)}" for known, run in changed[:_MOST]]
    if len(changed) > _MOST:
        faults.append(f"{len(changed) - _MOST} more runs are done with other settings")
    if faults:
        raise TargetExists(
            f"holds runs that were made in another way, and their scores must not mix: {'; '.join(faults)}.",
            where=root,
            cure="Give the study file as it was (a changed row under a new label), or another folder with -o.",
        )


def changed_data(known: Iterable[KnownRun], study: StudyFile) -> list[str]:
    """Return names of data sets whose source is another than that of the known runs."""
    places = {run.dataset: run.place for run in known}
    return [entry.name for entry in study.data if entry.name in places and not _same(places[entry.name], _place(entry))]


def _common_faults(before: Mapping[str, Any], study: StudyFile) -> list[str]:
    pairs = ((words, before.get(name), getattr(study, name)) for name, words in COMMON.items())
    return [f"{words}: {_shown(old)}, now {_shown(new)}" for words, old, new in pairs if old != new]


def _data_faults(data: Iterable[DataEntry], begun: Iterable[KnownRun]) -> list[str]:
    places = {known.dataset: known.place for known in begun}
    pairs = ((entry.name, places[entry.name], _place(entry)) for entry in data if entry.name in places)
    return [
        f"the data set {name}: {_shown_place(old)}, now {_shown_place(new)}"
        for name, old, new in pairs
        if not _same(old, new)
    ]


def _place(entry: DataEntry) -> dict[str, Any]:
    return _place_of(entry.model_dump(mode="json"))


def _place_of(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {name: entry[name] for name in ("folder", "layout", "phantom")}


def _same(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether two sources are one; a folder may have several paths, such as a link at its former place."""
    folders = {place["folder"] and resolved_path(Path(place["folder"])) for place in (old, new)}
    return len(folders) == 1 and all(old[name] == new[name] for name in ("layout", "phantom"))


def _shown_place(place: Mapping[str, Any]) -> str:
    if place["folder"] is None:
        return "phantoms (" + ", ".join(f"{name} {value}" for name, value in (place["phantom"] or {}).items()) + ")"
    return f"{place['folder']} (layout {place['layout']})"


def _shown(value: object) -> str:
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _differs(known: KnownRun, run: PlannedRun) -> bool:
    return known.training != run.training or known.segment not in (None, run.segment)


def _changes(known: KnownRun, before: Mapping[str, Any] | None, run: PlannedRun) -> str:
    """Return the settings that differ, by name; those on auto, which were decided when the run began, are left out."""
    if before is None or run.settings is None:
        return "other settings"
    old = _flat({**before, "segment": known.segment or {}})  # runs of one training may walk in two ways
    new = _flat(run.settings.model_dump(mode="json"))
    names = [n for n in new if n in old and n != "preset" and new[n] != "auto" and old[n] != new[n]]
    changes = [f"{name} {_shown(old[name])} (now {_shown(new[name])})" for name in names]
    return listed(changes, most=_MOST) or "other settings or training cases"


def _flat(tree: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Return nested settings as one level, with names such as `train.batch`."""
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        flat |= _flat(value, f"{above}{name}.") if isinstance(value, Mapping) else {above + name: value}
    return flat
