"""Corrected copies of a dataset's cases, in nnU-Net's raw layout. The originals are read and never written."""

from __future__ import annotations

import re
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path

import nibabel
import numpy as np

from sautomed.datasets.dataset import Case, Dataset, Files
from sautomed.datasets.description import DESCRIPTION
from sautomed.datasets.doctor.case_checks import Frame, check_case
from sautomed.datasets.doctor.facts import CaseFacts, facts_of_labels
from sautomed.datasets.doctor.read_case import look_at
from sautomed.datasets.names import CHANNEL_SUFFIX
from sautomed.datasets.regrid import regrid_labels
from sautomed.datasets.rules import LabelRules, with_rules
from sautomed.errors import GridMismatch, NeedsMending, NoCases, TargetExists, UnwritableTarget
from sautomed.scans.files import atomic_write, write_json
from sautomed.scans.grid import NativeGrid
from sautomed.scans.volume import LabelMap, Volume

ENDING = ".nii.gz"
RECORD = "mended.json"
_GZIP = b"\x1f\x8b"

OnCase = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Mended:
    """What was written.

    Args:
        folder: In nnU-Net's raw layout.
        changes: By case id, what is other than in the original; nothing for a plain copy.
        left_out: By case id, why.
        dropped_labels: Labels that no written case shows, which the description therefore lacks.
    """

    folder: Path
    changes: Mapping[str, tuple[str, ...]]
    left_out: Mapping[str, str] = field(default_factory=dict)
    dropped_labels: Mapping[int, str] = field(default_factory=dict)

    @property
    def summary(self) -> str:
        """For a person: how many cases were written, corrected and left out."""
        changed = sum(1 for said in self.changes.values() if said)
        total = len(self.changes) + len(self.left_out)
        text = f"{len(self.changes)} of {total} cases written, {changed} with corrections."
        if self.dropped_labels:
            text += f" No case shows {', '.join(self.dropped_labels.values())}: taken out of {DESCRIPTION}."
        return text

    def require_whole(self) -> None:
        """Raise NeedsMending if a case was left out."""
        if self.left_out:
            raise NeedsMending(
                f"holds corrected copies, but {len(self.left_out)} cases were left out: "
                f"{_listed(list(self.left_out))}.",
                where=self.folder,
                cure=f"Train without them, or mend them by hand; {RECORD} there says why.",
            )


def write_mended(dataset: Dataset, target: Path, rules: LabelRules, on_case: OnCase | None = None) -> Mended:
    """Copy each case, corrected; what cannot be corrected is left out.

    Corrected are: grids of label maps that lie elsewhere than their scan (nearest neighbour), label types, label values
    by the rules, affines whose axes are not at right angles, few voxels that are not finite, contradicting headers, and
    names that do not fit the content. Of several cases with the same scan the first is kept.

    Args:
        dataset: Any layout.
        target: A folder that does not exist or is empty, outside the dataset's. It appears when all is written.
        rules: For the label values; grids are always corrected.
        on_case: Told (done, total, case id).
    Raises:
        TargetExists: There is something at `target`, or it lies within the dataset.
        UnwritableTarget: It cannot be written.
        NoCases: No case can be corrected.
    """
    require_new_target(dataset.folder, target)
    names = with_rules(dataset, rules).labels
    frame = Frame(dataset.channel, names)
    changes: dict[str, tuple[str, ...]] = {}
    left_out: dict[str, str] = {}
    seen: dict[str, str] = {}
    shown: set[int] = set()
    files = file_names([case.id for case in dataset.cases])
    with _folder_in_the_making(target) as folder:
        for number, case in enumerate(dataset.cases, start=1):
            item = _corrected(dataset, case, rules)
            why = item if isinstance(item, str) else _hopeless(item.facts, frame, seen)
            if isinstance(item, str) or why:
                left_out[case.id] = why
            else:
                changes[case.id] = _write_case(
                    case, files[case.id], item, folder, as_they_are=type(dataset.reader) is Files
                )
                seen[item.facts.image_hash] = case.id
                shown |= item.facts.voxels.keys()
            del item
            if on_case:
                on_case(number, len(dataset.cases), case.id)
        if not shown:
            raise NoCases(
                f"no case could be corrected: {_first_reasons(left_out)}.",
                where=dataset.folder,
                cure="Mend the faults that doctor lists by hand.",
            )
        dropped = {value: name for value, name in names.items() if value not in shown}
        mended = Mended(target, changes, left_out, dropped)
        _describe(dataset, {value: name for value, name in names.items() if value in shown}, mended, rules, folder)
    return mended


@dataclass(frozen=True, eq=False)
class _Corrected:
    """A case in memory, as it shall be written.

    Args:
        before: Facts of the original.
        facts: Facts of what is written.
        said: What was done to the label map.
    """

    before: CaseFacts
    facts: CaseFacts
    volume: Volume
    labels: LabelMap
    said: tuple[str, ...]


def _corrected(dataset: Dataset, case: Case, rules: LabelRules) -> _Corrected | str:
    """The case with its label map on the scan's grid and under the rules; or why there is none."""
    before, volume, found = look_at(dataset, case)
    if volume is None or found is None:
        return " ".join(str(fault) for fault in before.faults) or "has no label map."
    try:
        labels, done = regrid_labels(found, volume.native, volume.plane, where=f"case {case.id}")
    except GridMismatch as fault:
        return str(fault)
    said = [] if done.method == "none" else [done.line()]
    named = rules.values(labels)
    changed = int(np.count_nonzero(named.array != labels.array))
    if changed:
        said.append(f"values of {changed} voxels mapped by the rules")
    facts = replace(before, **facts_of_labels(named, volume))
    return _Corrected(before, facts, volume, named, tuple(said))


def require_new_target(dataset_folder: Path, target: Path) -> None:
    """Raise TargetExists unless `target` is outside the dataset, and does not exist or is an empty folder."""
    inside = target.resolve().is_relative_to(dataset_folder.resolve())
    if inside or (target.exists() and not (target.is_dir() and not any(target.iterdir()))):
        raise TargetExists(
            "lies within the dataset, whose files are never touched." if inside else "is there already.",
            where=target,
            cure="Name a new folder with --fix, outside the dataset.",
        )


@contextmanager
def _folder_in_the_making(target: Path) -> Iterator[Path]:
    """A folder beside `target` that becomes it when all went well, and vanishes otherwise."""
    making = target.with_name(f".{secrets.token_hex(4)}.{target.name}")
    try:
        try:
            making.mkdir(parents=True)
        except OSError as error:
            raise UnwritableTarget(
                f"cannot be written: {error.strerror}.", where=target, cure="Choose another place with --fix."
            ) from error
        yield making
        if target.exists():
            target.rmdir()  # empty, as was checked
        making.rename(target)
    finally:
        shutil.rmtree(making, ignore_errors=True)


def _hopeless(facts: CaseFacts, frame: Frame, seen: Mapping[str, str]) -> str:
    """Why a case cannot be written, after all that can be corrected was; empty if it can."""
    errors = [finding for finding in check_case(facts, frame) if finding.severity == "error"]
    if errors:
        return " ".join(finding.text for finding in errors)
    if facts.image_hash in seen:
        return f"is the same scan as {seen[facts.image_hash]}, voxel for voxel."
    return ""


def _listed(cases: list[str]) -> str:
    return ", ".join(cases[:8]) + (", ..." if len(cases) > 8 else "")


def _first_reasons(left_out: Mapping[str, str]) -> str:
    return "; ".join(f"{case}: {why}" for case, why in list(left_out.items())[:3]) or "all label maps are empty"


def _write_case(case: Case, name: str, item: _Corrected, folder: Path, *, as_they_are: bool) -> tuple[str, ...]:
    """Write scan and label map; returns what is other than in the original.

    Args:
        name: Of the case in the copy.
        as_they_are: Whether the layout's reader takes files as they are, so that sound ones may be copied.
    """
    volume, before = item.volume, item.before
    grid = NativeGrid(volume.native.shape, volume.native.affine)
    said: list[str] = [] if name == case.id else [f"called {name}"]
    scan_path = folder / "imagesTr" / f"{name}{CHANNEL_SUFFIX}{ENDING}"
    if as_they_are and _may_copy(case.image, volume.warnings):
        _copy(case.image, scan_path)
    else:
        said += volume.warnings or ("scan written as plain NIfTI",)
        _write_scan(volume, grid, scan_path)
    label_path = folder / "labelsTr" / f"{name}{ENDING}"
    remarks = tuple(text for text in before.warnings if text not in volume.warnings)
    integers = before.label_dtype.startswith(("int", "uint"))
    untouched = as_they_are and not item.said and integers and before.gap_mm == 0
    if untouched and case.label and _may_copy(case.label, remarks):
        _copy(case.label, label_path)
        return tuple(said)
    if before.label_dtype and not integers:
        said.append(f"labels stored as integers instead of {before.label_dtype}")
    replace(item.labels, native=grid).save(label_path)
    return (*said, *remarks, *item.said)


def _may_copy(path: Path, warnings: tuple[str, ...]) -> bool:
    """Whether a file may go into the copy as it is: nothing was remarked about it, and it is what its name says."""
    if warnings or not path.name.endswith(ENDING) or not path.is_file():
        return False
    with path.open("rb") as stream:
        return stream.read(2) == _GZIP


def _copy(source: Path, target: Path) -> None:
    with atomic_write(target) as temporary:
        shutil.copyfile(source, temporary)


def _write_scan(volume: Volume, grid: NativeGrid, path: Path) -> None:
    """The intensities on a plain grid: qform and sform alike, whole numbers as int16 where they fit."""
    as_labels = LabelMap(volume.array, volume.affine, grid, volume.plane)  # type: ignore[arg-type]  # turns any type
    array = as_labels.to_native()
    kind = np.float32
    if np.abs(array).max() < 2**15 and np.array_equal(array, np.rint(array)):
        kind = np.int16  # type: ignore[assignment]
    image = nibabel.Nifti1Image(array.astype(kind), grid.affine)
    image.header.set_xyzt_units("mm")
    image.header.set_qform(grid.affine, code=1)
    image.header.set_sform(grid.affine, code=1)
    with atomic_write(path) as temporary:
        nibabel.save(image, temporary)


def file_names(case_ids: Sequence[str]) -> dict[str, str]:
    """A file name for each case id: letters, digits and _-. ; others become _, and no two are alike or hidden."""
    names: dict[str, str] = {}
    for case_id in case_ids:
        plain = re.sub(r"[^\w.\-]+|^\.", "_", case_id)
        taken = {name.casefold() for name in names.values()}
        tries = (plain if number == 1 else f"{plain}_{number}" for number in count(1))
        names[case_id] = next(name for name in tries if name.casefold() not in taken)
    return names


def _describe(dataset: Dataset, labels: Mapping[int, str], mended: Mended, rules: LabelRules, folder: Path) -> None:
    """dataset.json, and a record of what was done."""
    description = {
        "name": dataset.name,
        "channel_names": {"0": dataset.channel},
        "labels": {"background": 0} | {name: value for value, name in labels.items()},
        "numTraining": len(mended.changes),
        "file_ending": ENDING,
    }
    write_json(folder / DESCRIPTION, description)
    patients = {case.id: case.group for case in dataset.cases if case.group and case.id in mended.changes}
    record = {
        "source": dataset.folder.name,
        "rules": rules.as_dict(),
        "changes": {case: list(said) for case, said in mended.changes.items()},
        "left_out": dict(mended.left_out),
        "dropped_labels": {str(value): name for value, name in mended.dropped_labels.items()},
        "patients": patients,  # nnU-Net's layout has no place for them
    }
    write_json(folder / RECORD, record)
