"""A fold ready to be trained on: its cases, resolved settings, prepared slices."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from sautomed.config import Settings, parse_settings
from sautomed.datasets import Case, Dataset, read_dataset
from sautomed.datasets.folds import SPLITS, Fold, load_or_make_folds, select_fold
from sautomed.datasets.rules import unusable_labels, with_rules
from sautomed.errors import NothingToResume, UnknownLabels, UnmatchedNames
from sautomed.scans.files import sweep_leftovers, write_json
from sautomed.scans.paths import read_json
from sautomed.training.classes import require_classes
from sautomed.training.plan import Callbacks, TrainingPlan
from sautomed.training.prepare import PreparedCase, prepare, resolve_data


@dataclass(frozen=True)
class PreparedFold:
    """Cases of a fold as prepared slices, and settings with nothing left on "auto".

    Attributes:
        step_batch: Runs of a step on all ranks together.
    """

    dataset: Dataset
    fold: Fold
    settings: Settings
    train: list[PreparedCase]
    val: list[PreparedCase]
    step_batch: int


def prepare_fold(plan: TrainingPlan, callbacks: Callbacks) -> PreparedFold:
    """Read the data set, choose the fold, write the resolved settings (or compare them with the run's), prepare slices.

    What a killed training of the fold left half-written is deleted. Of several ranks, only the first one writes.

    Raises:
        DataError: The data set, its folds or a case cannot be used; ClassMissing if no training case shows a class.
        NothingToResume: The run was trained with other settings or cases.
    """
    dataset = with_rules(read_dataset(plan.dataset, plan.layout), plan.rules)
    if plan.ranks.is_first:
        _sweep(plan)
    ids = [case.id for case in dataset.cases]
    folds = load_or_make_folds(plan.run / SPLITS, ids, plan.seed, groups=dataset.groups, dataset_folder=dataset.folder)
    fold = fewer_cases(select_fold(folds, plan.fold), plan.train_cases, plan.seed)
    settings = plan.settings.model_copy(update={"data": resolve_data(dataset, plan.settings.data)})
    step_batch = _write_or_check(plan, settings, fold)
    wanted = [case for case in dataset.cases if case.id in {*fold.train, *fold.val}]
    cases = _prepare(plan, dataset, wanted, settings, callbacks)
    train, val = ([cases[i] for i in names] for names in (fold.train, fold.val))
    require_classes(train, val, dataset.labels, str(plan.fold))
    return PreparedFold(dataset, fold, settings, train, val, step_batch)


def _sweep(plan: TrainingPlan) -> None:
    for folder in (plan.folder, plan.last_checkpoint.parent, plan.folder / "model"):
        sweep_leftovers(folder)
    sweep_leftovers(plan.run, [SPLITS])


def fewer_cases(fold: Fold, cases: int | None, seed: int) -> Fold:
    """Draw so many training cases of a fold by the seed; None takes all. A larger sample contains a smaller one."""
    if cases is None or cases >= len(fold.train):
        return fold
    drawn = np.random.default_rng(seed).permutation(len(fold.train))[:cases]
    return Fold(train=tuple(fold.train[i] for i in sorted(drawn)), val=fold.val)


def _prepare(
    plan: TrainingPlan, dataset: Dataset, wanted: Sequence[Case], settings: Settings, callbacks: Callbacks
) -> dict[str, PreparedCase]:
    """Prepare the cases. An error about unknown labels covers all cases, not the first one alone."""
    folder = plan.prepared or plan.run / "prepared"
    folder = folder / plan.rules.key if plan.rules else folder
    try:
        return {case.id: case for case in prepare(dataset, wanted, settings.data, folder, callbacks.on_case)}
    except (UnknownLabels, UnmatchedNames) as fault:
        raise unusable_labels(dataset, wanted) or fault from fault


def run_settings(run: Path, fold: int | Literal["all"]) -> Settings:
    """Read the settings that a fold of a run was trained with.

    Raises:
        NothingToResume: There are none.
    """
    path = run / f"fold_{fold}" / "config.json"
    if not path.is_file():  # stopped before it began
        raise NothingToResume("there is no training to resume.", where=path.parent, cure="Train without --resume.")
    return parse_settings(read_json(path, NothingToResume), where=str(path))


def _write_or_check(plan: TrainingPlan, settings: Settings, fold: Fold) -> int:
    """Write what decides the examples and the weights; a resumed training must have the same, except for its length.

    Returns:
        Runs of a step on all ranks together, as the training began.
    """
    folder, ranks = plan.folder, plan.ranks.count
    splits: dict[str, Any] = {"seed": plan.seed, "train": list(fold.train), "val": list(fold.val)}
    if plan.rules:
        splits["rules"] = plan.rules.as_dict()
    if plan.resume:
        before, kept = run_settings(plan.run, plan.fold), read_json(folder / "splits.json", NothingToResume)
        ranks = kept.pop("ranks", 1)
        length = {"train": before.train.model_copy(update={"steps": settings.train.steps})}
        if before.model_copy(update=length) != settings or kept != splits:
            raise NothingToResume(
                "was trained with other settings, cases, label rules or seed, so it cannot go on with these.",
                where=folder,
                cure="Resume with the same -d, --seed, --map, --ignore and --regrid-labels, no -c or --set; or train "
                "anew with another -o.",
            )
        if settings.train.batch * ranks % plan.ranks.count:
            raise NothingToResume(
                f"has {settings.train.batch * ranks} runs in a step, which {plan.ranks.count} processes cannot share "
                "evenly.",
                where=folder,
                cure=f"Resume with {ranks} processes, as before (--devices times --nodes), or another number that "
                "divides the runs.",
            )
    if ranks > 1:
        splits["ranks"] = ranks
    if plan.ranks.is_first:
        write_json(folder / "config.json", settings.model_dump(mode="json"))
        write_json(folder / "splits.json", splits)
    return settings.train.batch * ranks
