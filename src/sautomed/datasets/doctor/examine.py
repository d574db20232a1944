"""The verb `doctor`: examine a dataset, or write corrected copies of its cases. The originals stay as they are.

One case is in memory at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from sautomed.datasets import Dataset, read_dataset
from sautomed.datasets.doctor.case_checks import Description, check_case
from sautomed.datasets.doctor.dataset_checks import DatasetFacts, check_dataset
from sautomed.datasets.doctor.diagnosis import Diagnosis, Finding, sorted_findings
from sautomed.datasets.doctor.mending import Mended, OnCase, require_new_target, write_mended
from sautomed.datasets.doctor.read_case import read_case
from sautomed.datasets.folds import SPLITS, Fold, make_folds, read_folds
from sautomed.datasets.names import is_hidden
from sautomed.datasets.rules import NO_RULES, LabelRules, with_rules
from sautomed.errors import BadSplits, UnpairedFiles
from sautomed.errors.text import listed
from sautomed.scans.formats import FILE_ENDINGS
from sautomed.scans.paths import resolved_path
from sautomed.scans.volume import LabelMap, Volume

__all__ = ["Diagnosis", "Finding", "Mended", "examine", "fix", "require_new_target"]

Thumbnail = Callable[[Volume, LabelMap | None], bytes]
SHOWN_GAP_MM = 1.0  # ours: a label map further away from its scan is not drawn on it


def examine(
    dataset_folder: str | Path,
    layout: str = "auto",
    on_case: OnCase | None = None,
    rules: LabelRules = NO_RULES,
    thumbnail: Thumbnail | None = None,
) -> Diagnosis:
    """Check every case of a dataset, and all of them together.

    Args:
        dataset_folder: In any layout of `DATASETS`.
        layout: A key of `DATASETS`, or "auto".
        on_case: Called after each case with (done, total, case id).
        rules: Applied to the label maps as they are read.
        thumbnail: Draws a case as PNG; without it the diagnosis has no pictures.
    Raises:
        DataError: The description of the dataset cannot be used, or there is no case. Faults of a case become findings
            and are not raised.
        UnknownSetting: There is no such layout, or a rule does not fit the dataset.
    """
    dataset, findings = _open(Path(dataset_folder), layout)
    findings = findings or _extra_files(dataset)  # files without a partner are reported already
    dataset = with_rules(dataset, rules)
    description = Description(dataset.channel, dataset.labels, dataset.declared_in)
    cases, pictures = [], {}
    for number, case in enumerate(dataset.cases, start=1):
        reading = read_case(dataset, case)
        facts = reading.facts
        if reading.volume is not None and thumbnail is not None:
            fits = facts.gap_mm is not None and facts.gap_mm < SHOWN_GAP_MM
            pictures[case.id] = thumbnail(reading.volume, reading.labels if fits else None)
        findings += check_case(facts, description)
        cases.append(facts)
        del reading  # frees its voxels before the next case is read
        if on_case:
            on_case(number, len(dataset.cases), case.id)
    folds, folds_from, bad_splits = _folds(dataset)
    findings += [*bad_splits, *check_dataset(DatasetFacts(cases, dataset.labels, dataset.channel, folds, folds_from))]
    return Diagnosis(
        folder=dataset.folder,
        name=dataset.name,
        layout=dataset.layout,
        channel=dataset.channel,
        labels=dataset.labels,
        cases=tuple(cases),
        findings=sorted_findings(findings),
        pictures=pictures,
    )


def fix(
    diagnosis: Diagnosis, target_folder: str | Path, rules: LabelRules = NO_RULES, on_case: OnCase | None = None
) -> Mended:
    """Write corrected copies of the cases into a new folder; cases that cannot be corrected are left out and listed.

    Args:
        diagnosis: From `examine`.
        target_folder: Does not exist or is empty, outside the dataset.
        rules: For the label values; grids are always corrected.
        on_case: Called after each case with (done, total, case id).
    Raises:
        TargetExists, UnwritableTarget, NoCases: As `mending.write_mended`.
        UnknownSetting: A rule does not fit the dataset.
    """
    dataset, _ = _open(diagnosis.folder, diagnosis.layout)
    return write_mended(dataset, Path(target_folder), rules, on_case)


def _open(folder: Path, layout: str) -> tuple[Dataset, list[Finding]]:
    """Read the dataset; files without a partner become a finding."""
    try:
        return read_dataset(folder, layout), []
    except UnpairedFiles as fault:
        if not isinstance(fault.result, Dataset):
            raise
        return fault.result, [Finding("pairs", "error", fault.fault, fault.cure, error_id=fault.id)]


def _extra_files(dataset: Dataset) -> list[Finding]:
    """Report image files beside those of the cases that belong to no case."""
    sources = [path for case in dataset.cases for path in dataset.sources(case)]
    used = {resolved_path(path) for path in sources}
    folders = sorted({path.parent for path in sources})  # of the links themselves, not of their targets
    beside = [path for folder in folders for path in sorted(folder.iterdir()) if resolved_path(path) not in used]
    extra = [path for path in beside if path.name.lower().endswith(FILE_ENDINGS) and not is_hidden(path)]
    if not extra:
        return []
    count = "1 image file beside the cases belongs" if len(extra) == 1 else f"{len(extra)} image files belong"
    text = f"{count} to no case: {listed(f'{path.parent.name}/{path.name}' for path in extra)}."
    return [Finding("extra files", "warning", text, "Correct their names if they should be cases, or take them out.")]


def _folds(dataset: Dataset) -> tuple[Sequence[Fold], str, list[Finding]]:
    """Return the folds that `train` uses, their source, and findings about the dataset's splits_final.json.

    Without that file they are those of seed 0; none if there is only one patient.
    """
    ids, path = [case.id for case in dataset.cases], dataset.folder / SPLITS
    if not path.is_file():
        folds = make_folds(ids, groups=dataset.groups)
        return folds if len(folds) > 1 else (), "seed 0", []
    try:
        return read_folds(path, ids, dataset.groups), SPLITS, []
    except BadSplits as fault:
        text = f"its {SPLITS} {fault.fault}"
        return (), SPLITS, [Finding("folds", "error", text, fault.cure, error_id=fault.id)]
