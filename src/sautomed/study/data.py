"""The data sets of a study, ready for its runs: phantoms written, folds drawn once for all systems."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from sautomed.datasets import Dataset, read_dataset
from sautomed.datasets.folds import Fold, load_or_make_folds, select_fold
from sautomed.errors import BadSplits, TargetExists, UnknownSetting
from sautomed.phantom import write_phantoms
from sautomed.study.folder import StudyFolder, locked
from sautomed.study.plan import PlannedRun
from sautomed.study.study_file import DataEntry, StudyFile
from sautomed.study.system_adapter import OnCase

SPLIT_SEED = 0  # not the seed of a training, so that runs of all seeds are scored on the same cases


@dataclass(frozen=True)
class StudyData:
    """A data set for the runs of a study.

    Attributes:
        folder: As given; `dataset.folder` may be a folder within it.
        folds: Folds of the study, by number.
    """

    name: str
    folder: Path
    dataset: Dataset
    folds: dict[int, Fold]


def open_data(entry: DataEntry, study: StudyFile, folder: StudyFolder, on_case: OnCase | None = None) -> StudyData:
    """Read a data set, or write its phantoms, and read or draw its folds; a data set's own splits_final.json wins.

    Args:
        on_case: Called after each phantom.
    Raises:
        DataError: The data set or its folds cannot be used; FoldOutOfRange if there are fewer folds.
        UnknownSetting: There is no such layout or kind of phantom, or fewer training cases than a setting asks for.
    """
    with locked(folder.data_lock(entry.name)):
        place = Path(entry.folder) if entry.folder is not None else _write_phantoms(entry, folder, on_case)
        dataset = read_dataset(place, entry.layout)
        ids = [case.id for case in dataset.cases]
        splits = load_or_make_folds(
            folder.splits(entry.name), ids, SPLIT_SEED, groups=dataset.groups, dataset_folder=dataset.folder
        )
    folds = {number: select_fold(splits, number) for number in entry.folds}
    _refuse_too_few_cases(entry.name, study, folds)
    return StudyData(entry.name, place, dataset, folds)


def refuse_changed_folds_or_organs(
    runs: Iterable[PlannedRun], data: Mapping[str, StudyData], folder: StudyFolder
) -> None:
    """Compare folds and organs with those of runs that are done, since one table must not mix scores of other cases.

    Raises:
        BadSplits: The folds, or the cases of the data set, have changed.
        TargetExists: The organs have changed.
    """
    for run in runs:
        record = folder.read_record(run) or {}
        if record.get("status") != "done":
            continue
        now = data[run.dataset]
        val, labels = now.folds[run.fold].val, {str(value): name for value, name in now.dataset.labels.items()}
        if set(record.get("cases", val)) != set(val):
            raise BadSplits(
                f"fold {run.fold} validates on other cases than those that {run.id}, which is done, was scored on.",
                where=folder.splits(run.dataset),
                cure="Restore this file and the cases, or give another folder with -o.",
            )
        if record.get("labels", labels) != labels:
            raise TargetExists(
                f"holds {run.id}, which is done with other organs than {now.folder} has now.",
                where=folder.root,
                cure="Restore the data set, or give another folder with -o.",
            )


def _write_phantoms(entry: DataEntry, folder: StudyFolder, on_case: OnCase | None) -> Path:
    place, phantom = folder.data(entry.name), entry.phantom
    if phantom is None:
        raise UnknownSetting("has no folder.", where=entry.name, cure=f"Give --data {entry.name}=FOLDER.")
    if not (place / "dataset.json").is_file():  # the last file of a data set of phantoms
        write_phantoms(place, phantom.count, phantom.kind, phantom.seed, on_case)
    return place


def _refuse_too_few_cases(name: str, study: StudyFile, folds: dict[int, Fold]) -> None:
    most = max(setting.train_cases or 1 for setting in study.settings)
    for number, fold in folds.items():
        if most > len(fold.train):
            raise UnknownSetting(
                f"asks for {most} training cases, but fold {number} of {name} has {len(fold.train)}.",
                where="train_cases",
                cure="Ask for fewer, or leave train_cases out to use all of them.",
            )
