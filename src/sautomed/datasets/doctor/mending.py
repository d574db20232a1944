"""Write corrected copies of a dataset's cases in nnU-Net's raw layout. The originals are never written to."""

from __future__ import annotations

import logging
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from sautomed.datasets.dataset import Case, Dataset, FileReader
from sautomed.datasets.description import DESCRIPTION
from sautomed.datasets.doctor.case_checks import Description, check_case
from sautomed.datasets.doctor.facts import add_label_facts
from sautomed.datasets.doctor.read_case import read_case
from sautomed.datasets.doctor.write_case import ENDING, CorrectedCase, file_names, write_case
from sautomed.datasets.folds import SPLITS, Fold, read_folds
from sautomed.datasets.regrid import regrid_labels
from sautomed.datasets.rules import LabelRules, with_rules
from sautomed.errors import BadSplits, GridMismatch, NeedsMending, NoCases, TargetExists, UnwritableTarget
from sautomed.errors.text import listed
from sautomed.scans.files import write_json

log = logging.getLogger(__name__)

RECORD = "mended.json"

OnCase = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Mended:
    """Result of writing corrected copies.

    Args:
        folder: In nnU-Net's raw layout.
        changes: Differences from the original by case id; empty for a plain copy.
        left_out: Reason why a case was not written, by case id.
        dropped_labels: Labels that no written case shows; they are not in the copy's description.
    """

    folder: Path
    changes: Mapping[str, tuple[str, ...]]
    left_out: Mapping[str, str] = field(default_factory=dict)
    dropped_labels: Mapping[int, str] = field(default_factory=dict)

    @property
    def summary(self) -> str:
        """Text that says how many cases were written, corrected and left out."""
        changed = sum(1 for changes in self.changes.values() if changes)
        total = len(self.changes) + len(self.left_out)
        text = f"{len(self.changes)} of {total} cases written, {changed} with corrections."
        if self.dropped_labels:
            text += f" No case shows {listed(self.dropped_labels.values())}: taken out of {DESCRIPTION}."
        return text

    def require_whole(self) -> None:
        """Raise NeedsMending if a case was left out."""
        if self.left_out:
            raise NeedsMending(
                f"holds corrected copies, but {len(self.left_out)} cases were left out: {listed(self.left_out)}.",
                where=self.folder,
                cure=f"Train without them, or correct them by hand; {RECORD} in that folder gives the reasons.",
            )


def write_mended(dataset: Dataset, target: Path, rules: LabelRules, on_case: OnCase | None = None) -> Mended:
    """Write a corrected copy of each case; cases that cannot be corrected are left out.

    Corrected are: label maps on another grid than their scan (nearest neighbour), label types, label values by the
    rules, affines whose axes are not at right angles, a few voxels that are not finite, contradicting headers, and file
    names that do not fit the content. Of several cases with the same scan the first is written.

    Args:
        dataset: In any layout.
        target: A folder that does not exist or is empty, outside the dataset. It appears when everything is written.
        rules: For the label values; grids are always corrected.
        on_case: Called after each case with (done, total, case id).
    Raises:
        TargetExists: `target` exists and is not empty, or is within the dataset.
        UnwritableTarget: `target` cannot be written.
        NoCases: No case can be corrected.
        UnknownSetting: A rule does not fit the dataset.
    """
    require_new_target(dataset.folder, target)
    labels = with_rules(dataset, rules).labels
    dataset = with_rules(dataset, LabelRules(names=rules.names))  # values are mapped once the grids are corrected
    with _temporary_folder(target) as folder:
        changes, left_out, shown = _write_cases(dataset, labels, folder, rules, on_case)
        if not shown:
            reasons = "; ".join(f"{case}: {reason}" for case, reason in list(left_out.items())[:3])
            raise NoCases(
                f"no case could be corrected: {reasons or 'all label maps are empty'}.",
                where=dataset.folder,
                cure="Correct by hand the faults that doctor lists.",
            )
        dropped = {value: name for value, name in labels.items() if value not in shown}
        mended = Mended(target, changes, left_out, dropped)
        _write_description(dataset, {value: name for value, name in labels.items() if value in shown}, mended, folder)
        _write_record(dataset, mended, rules, folder)
        _write_splits(dataset, mended, folder)
    return mended


def _write_cases(
    dataset: Dataset, labels: dict[int, str], folder: Path, rules: LabelRules, on_case: OnCase | None
) -> tuple[dict[str, tuple[str, ...]], dict[str, str], set[int]]:
    """Write every case that can be corrected.

    Returns:
        Changes by case id, reasons for leaving a case out by case id, and the label values in the written cases.
    """
    description = Description(dataset.channel, labels, dataset.declared_in)
    changes: dict[str, tuple[str, ...]] = {}
    left_out: dict[str, str] = {}
    scans: dict[str, str] = {}  # case id by the hash of its scan
    shown: set[int] = set()
    names = file_names([case.id for case in dataset.cases])
    for number, case in enumerate(dataset.cases, start=1):
        try:
            item = _correct(dataset, case, rules, description, scans)
            changes[case.id] = write_case(item, names[case.id], folder, may_copy=type(dataset.reader) is FileReader)
            scans[item.facts.image_hash] = case.id
            shown |= item.facts.voxels.keys()
            del item  # frees its voxels before the next case is read
        except _CannotCorrectError as fault:
            left_out[case.id] = str(fault)
        if on_case:
            on_case(number, len(dataset.cases), case.id)
    return changes, left_out, shown


class _CannotCorrectError(Exception):
    """Reason to leave a case out."""


def _correct(
    dataset: Dataset, case: Case, rules: LabelRules, description: Description, scans: Mapping[str, str]
) -> CorrectedCase:
    """Read a case, bring its label map onto the scan's grid and apply the rules.

    Args:
        scans: Ids of the cases that are written already, by the hash of their scan.
    Raises:
        _CannotCorrectError: Errors remain, or the scan is written already.
    """
    reading = read_case(dataset, case)
    before, volume = reading.facts, reading.volume
    if volume is None or reading.labels is None:
        raise _CannotCorrectError(" ".join(str(fault) for fault in before.faults) or "has no label map.")
    try:
        regridded, done = regrid_labels(reading.labels, volume.native, volume.plane, where=f"case {case.id}")
    except GridMismatch as fault:
        raise _CannotCorrectError(str(fault)) from fault
    changes = [] if done.method == "none" else [done.line()]
    if before.renumbered:
        changes.append("labels renumbered by the names in the header")
    labels = rules.map_values(regridded)
    mapped = int(np.count_nonzero(labels.array != regridded.array))
    if mapped:
        changes.append(f"values of {mapped} voxels mapped by the rules")
    facts = add_label_facts(before, labels, volume)
    errors = [finding.text for finding in check_case(facts, description) if finding.severity == "error"]
    if errors:
        raise _CannotCorrectError(" ".join(errors))
    if facts.image_hash in scans:
        raise _CannotCorrectError(f"is the same scan as {scans[facts.image_hash]}, voxel for voxel.")
    return CorrectedCase(case, before, facts, volume, labels, tuple(changes))


def require_new_target(dataset_folder: Path, target: Path) -> None:
    """Raise TargetExists unless `target` is outside the dataset, and does not exist or is an empty folder."""
    inside = target.resolve().is_relative_to(dataset_folder.resolve())
    if inside or (target.exists() and not (target.is_dir() and not any(target.iterdir()))):
        raise TargetExists(
            "is within the dataset, whose files are never touched." if inside else "exists already.",
            where=target,
            cure="Name a new folder with --fix, outside the dataset.",
        )


@contextmanager
def _temporary_folder(target: Path) -> Iterator[Path]:
    """Make a folder beside `target` that is renamed to it on success and removed otherwise."""
    temporary = target.with_name(f".{secrets.token_hex(4)}.{target.name}")
    try:
        try:
            temporary.mkdir(parents=True)
        except OSError as error:
            raise UnwritableTarget(
                f"cannot be written: {error.strerror}.", where=target, cure="Choose another place with --fix."
            ) from error
        yield temporary
        if target.exists():
            target.rmdir()  # `require_new_target` found it empty
        temporary.rename(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _write_description(dataset: Dataset, labels: Mapping[int, str], mended: Mended, folder: Path) -> None:
    description = {
        "name": dataset.name,
        "channel_names": {"0": dataset.channel},
        "labels": {"background": 0} | {name: value for value, name in labels.items()},
        "numTraining": len(mended.changes),
        "file_ending": ENDING,
    }
    write_json(folder / DESCRIPTION, description)


def _write_record(dataset: Dataset, mended: Mended, rules: LabelRules, folder: Path) -> None:
    patients = {case.id: case.group for case in dataset.cases if case.group and case.id in mended.changes}
    record = {
        "source": dataset.folder.name,
        "rules": rules.as_dict(),
        "changes": {case: list(changes) for case, changes in mended.changes.items()},
        "left_out": dict(mended.left_out),
        "dropped_labels": {str(value): name for value, name in mended.dropped_labels.items()},
        "patients": patients,  # nnU-Net's layout has no place for them
    }
    write_json(folder / RECORD, record)


def _write_splits(dataset: Dataset, mended: Mended, folder: Path) -> None:
    """Write the folds of a dataset's own splits_final.json for the cases that were written, by their new names."""
    path, ids = dataset.folder / SPLITS, [case.id for case in dataset.cases]
    if not path.is_file():
        return
    names = {case: name for case, name in file_names(ids).items() if case in mended.changes}
    try:
        before = read_folds(path, ids, dataset.groups)
    except BadSplits as fault:
        log.warning("The copies have no %s: %s", SPLITS, fault)
        return
    folds = [Fold(_renamed(fold.train, names), _renamed(fold.val, names)) for fold in before]
    if all(fold.train for fold in folds):
        write_json(folder / SPLITS, [{"train": list(fold.train), "val": list(fold.val)} for fold in folds])
    else:
        log.warning("The copies have no %s: all training cases of a fold were left out.", SPLITS)


def _renamed(cases: Sequence[str], names: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(names[case] for case in cases if case in names)
