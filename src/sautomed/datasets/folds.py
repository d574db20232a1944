"""Folds: which cases train and which validate, by patient and by seed, in nnU-Net's file format."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from sautomed.errors import BadSplits, FoldOutOfRange, NoCases
from sautomed.errors.text import listed
from sautomed.scans.files import write_json
from sautomed.scans.paths import read_json

log = logging.getLogger(__name__)

DEFAULT_FOLDS = 5
SPLITS = "splits_final.json"  # nnU-Net's name


@dataclass(frozen=True)
class Fold:
    """Case ids to train on and to validate on, without overlap."""

    train: tuple[str, ...]
    val: tuple[str, ...]


def make_folds(
    case_ids: Sequence[str], seed: int = 0, count: int = DEFAULT_FOLDS, groups: Mapping[str, str] | None = None
) -> list[Fold]:
    """Split cases so that each one validates exactly once, and the cases of one patient together.

    With fewer patients than folds there are as many folds as patients. One patient cannot be split: the result is one
    fold without validation, which only "all" may use.

    Args:
        case_ids: In any order; the folds depend only on the set, its groups and the seed.
        seed: Of the shuffle.
        count: Folds to make, at least 2.
        groups: Patient of each case, by case id; a case that is not listed is a patient of its own.
    Raises:
        NoCases: There is nothing to split.
        ValueError: `count` is below 2, or an id comes twice.
    """
    if count < 2:
        raise ValueError(f"Cross-validation needs at least 2 folds, not {count}.")
    ids = sorted(case_ids)
    if len(set(ids)) != len(ids):
        raise ValueError("A case id comes twice.")
    if not ids:
        raise NoCases("no cases to split into folds.", cure="Add cases to the dataset.")
    patients = sorted({_group(case, groups) for case in ids})
    if len(patients) == 1:
        return [Fold(train=tuple(ids), val=())]
    shuffled = [patients[i] for i in np.random.default_rng(seed).permutation(len(patients))]
    parts = [set(shuffled[k :: min(count, len(patients))]) for k in range(min(count, len(patients)))]
    return [
        Fold(
            train=tuple(case for case in ids if _group(case, groups) not in part),
            val=tuple(case for case in ids if _group(case, groups) in part),
        )
        for part in parts
    ]


def load_or_make_folds(
    path: str | Path,
    case_ids: Sequence[str],
    seed: int = 0,
    count: int = DEFAULT_FOLDS,
    groups: Mapping[str, str] | None = None,
    dataset_folder: Path | None = None,
) -> list[Fold]:
    """Read the folds from `path` (splits_final.json); otherwise take the dataset's or make them, and write the file.

    The log names a dataset's file, whether it is used or not.

    Args:
        groups: As for `make_folds`.
        dataset_folder: May hold a splits_final.json, which is used unless `path` exists.
    Raises:
        BadSplits: As `read_folds`.
        NoCases: There is nothing to split.
        UnwritableTarget: The file cannot be written.
    """
    path = Path(path)
    own = None if dataset_folder is None else dataset_folder / SPLITS
    if path.exists():
        folds = read_folds(path, case_ids, groups)
        if own is not None and own.is_file() and not _holds(own, folds):
            log.info("The folds are those of %s, which differ from those of %s.", path, own)
        return folds
    if own is not None and own.is_file():
        folds = read_folds(own, case_ids, groups)
        listed_cases = {case for fold in folds for case in (*fold.train, *fold.val)}
        unused = sorted(set(case_ids) - listed_cases)
        log.info("The folds are those of %s.%s", own, f" It leaves out {listed(unused)}." if unused else "")
    else:
        folds = make_folds(case_ids, seed, count, groups)
    write_json(path, [{"train": list(fold.train), "val": list(fold.val)} for fold in folds])
    return folds


def read_folds(path: Path, case_ids: Sequence[str], groups: Mapping[str, str] | None = None) -> list[Fold]:
    """Read and check a splits_final.json. Cases of the dataset that it does not list stay unused, as in nnU-Net.

    Args:
        case_ids: Of the dataset.
        groups: As for `make_folds`.
    Raises:
        BadSplits: The file is malformed, lists cases that the dataset does not have, has a fold without training
            cases, or validates on cases or patients that it trains on.
    """
    folds = [_parse_fold(entry, number, path) for number, entry in enumerate(_read_entries(path))]
    _require_known(folds, set(case_ids), path)
    for number, fold in enumerate(folds):
        _require_separate_patients(fold, number, groups, path)
    return folds


def _holds(path: Path, folds: Sequence[Fold]) -> bool:
    try:
        return [_parse_fold(entry, number, path) for number, entry in enumerate(_read_entries(path))] == list(folds)
    except BadSplits:
        return False


def select_fold(folds: Sequence[Fold], fold: int | Literal["all"]) -> Fold:
    """Return one fold by its number; "all" trains on every case of the folds and validates on none.

    Raises:
        FoldOutOfRange: There is no such fold, or it has no validation case.
    """
    if fold == "all":
        return Fold(train=tuple(sorted({case for one in folds for case in (*one.train, *one.val)})), val=())
    if not 0 <= fold < len(folds):
        raise FoldOutOfRange(
            f"fold {fold} is out of range: the dataset has {len(folds)} folds, 0 to {len(folds) - 1}.",
            cure=f"Use one of the folds 0 to {len(folds) - 1}, or `train -f all` to train on every case.",
        )
    chosen = folds[fold]
    if not chosen.val:
        raise FoldOutOfRange(
            f"fold {fold} has no validation case, as when a dataset has one patient only.",
            cure=f"Use `train -f all`. Or add cases, and to {SPLITS} too if there is one, or give a new -o.",
        )
    return chosen


def _read_entries(path: Path) -> list[Any]:
    entries = read_json(path, BadSplits)
    if not isinstance(entries, list) or not entries:
        raise BadSplits(
            'must be a list of folds, each {"train": [...], "val": [...]}.',
            where=path,
            cure="Delete the file to have new folds made.",
        )
    return entries


def _parse_fold(entry: Any, number: int, path: Path) -> Fold:
    lists = [entry.get(key) if isinstance(entry, dict) else None for key in ("train", "val")]
    if not all(isinstance(ids, list) and all(isinstance(case, str) for case in ids) for ids in lists):
        raise BadSplits(
            f'fold {number} must be {{"train": [case ids], "val": [case ids]}}.',
            where=path,
            cure="Correct it, or delete the file to have new folds made.",
        )
    train, val = (tuple(ids or ()) for ids in lists)
    if not train:
        raise BadSplits(
            f"fold {number} has no case to train on.",
            where=path,
            cure='Add cases to its "train", or delete the file to have new folds made.',
        )
    leaks = sorted(case for case, times in Counter((*set(train), *set(val))).items() if times > 1)
    if leaks:
        raise BadSplits(
            f"fold {number} trains on cases that it validates on: {listed(leaks)}. Its scores would be too good.",
            where=path,
            cure="Take them out of one of the two lists.",
        )
    return Fold(train, val)


def _require_known(folds: Sequence[Fold], known: set[str], path: Path) -> None:
    unknown = sorted({case for fold in folds for case in (*fold.train, *fold.val)} - known)
    if unknown:
        raise BadSplits(
            f"names {len(unknown)} cases that the dataset does not have: {listed(unknown)}.",
            where=path,
            cure="Put the cases back, take them out of the file, or delete it to have new folds made.",
        )


def _require_separate_patients(fold: Fold, number: int, groups: Mapping[str, str] | None, path: Path) -> None:
    """Refuse a fold that validates on another scan of a patient that it trains on."""
    trained = {_group(case, groups) for case in fold.train}
    leaks = [case for case in fold.val if _group(case, groups) in trained]
    if leaks:
        raise BadSplits(
            f"fold {number} trains on other scans of patients that it validates on: {listed(leaks)}. "
            "Its scores would be too good.",
            where=path,
            cure="Keep all scans of a patient in one of the two lists, or delete the file to have new folds made.",
        )


def _group(case: str, groups: Mapping[str, str] | None) -> str:
    return case if groups is None else groups.get(case, case)
