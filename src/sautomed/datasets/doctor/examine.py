"""The verb `doctor`: a dataset in, what is wrong with it out; or corrected copies. The originals stay as they are.

One case is in memory at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from sautomed.datasets import Dataset, read_dataset
from sautomed.datasets.doctor.case_checks import Frame, check_case
from sautomed.datasets.doctor.dataset_checks import Whole, check_whole
from sautomed.datasets.doctor.diagnosis import Diagnosis, Finding, sorted_findings
from sautomed.datasets.doctor.mending import Mended, require_new_target, write_mended
from sautomed.datasets.doctor.read_case import look_at
from sautomed.datasets.folds import Fold, make_folds
from sautomed.datasets.names import FILE_ENDINGS, is_hidden
from sautomed.datasets.rules import NO_RULES, LabelRules, with_rules
from sautomed.errors import UnpairedFiles
from sautomed.scans.paths import true_place
from sautomed.scans.volume import LabelMap, Volume

__all__ = ["Diagnosis", "Finding", "Mended", "examine", "fix", "require_new_target"]

OnCase = Callable[[int, int, str], None]
Thumbnail = Callable[[Volume, LabelMap | None], bytes]
SHOWN_GAP_MM = 1.0  # a label map that lies further off is not drawn on its scan
_LISTED = 8


def examine(
    dataset_folder: str | Path,
    layout: str = "auto",
    on_case: OnCase | None = None,
    rules: LabelRules = NO_RULES,
    thumbnail: Thumbnail | None = None,
) -> Diagnosis:
    """Check every case of a dataset, and all of them against each other.

    Args:
        dataset_folder: In any layout of `DATASETS`.
        layout: Its name, or "auto".
        on_case: Told (done, total, case id).
        rules: Examine the label maps as they read under these.
        thumbnail: Draws a case as PNG; the diagnosis has no pictures without it.
    Raises:
        DataError: The description of the dataset cannot be used, or there is no case. What is wrong with a case is
            never raised, but found.
        UnknownSetting: There is no such layout, or a rule does not fit the dataset.
    """
    dataset, findings = _open(Path(dataset_folder), layout)
    findings = findings or _extra_files(dataset)  # a file without a partner is told already
    dataset = with_rules(dataset, rules)
    frame = Frame(dataset.channel, dataset.labels)
    cases, pictures = [], {}
    for number, case in enumerate(dataset.cases, start=1):
        facts, volume, labels = look_at(dataset, case)
        if volume is not None and thumbnail is not None:
            fits = facts.gap_mm is not None and facts.gap_mm < SHOWN_GAP_MM
            pictures[case.id] = thumbnail(volume, labels if fits else None)
        findings += check_case(facts, frame)
        cases.append(facts)
        del volume, labels
        if on_case:
            on_case(number, len(dataset.cases), case.id)
    findings += check_whole(Whole(cases, dataset.labels, dataset.channel, _folds(dataset)))
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
    """Write corrected copies of the cases into a new folder; what cannot be corrected is left out and listed.

    Args:
        diagnosis: From `examine`.
        target_folder: Does not exist or is empty, outside the dataset.
        rules: What to do with label values; grids are always corrected.
        on_case: Told (done, total, case id).
    Raises:
        TargetExists, UnwritableTarget, NoCases: As `health.mending.write_mended`.
        UnknownSetting: A rule does not fit the dataset.
    """
    dataset, _ = _open(diagnosis.folder, diagnosis.layout)
    return write_mended(dataset, Path(target_folder), rules, on_case)


def _open(folder: Path, layout: str) -> tuple[Dataset, list[Finding]]:
    """The dataset, and what listing its files brought to light; files without partners do not end the examination."""
    try:
        return read_dataset(folder, layout), []
    except UnpairedFiles as fault:
        if not isinstance(fault.result, Dataset):
            raise
        return fault.result, [Finding("pairs", "error", fault.fault, fault.cure, error_id=fault.id)]


def _extra_files(dataset: Dataset) -> list[Finding]:
    """Scans and label maps beside those of the cases that no case uses."""
    sources = [path for case in dataset.cases for path in dataset.sources(case)]
    used = {true_place(path) for path in sources}
    folders = sorted({path.parent for path in sources})  # where links lie, not where they lead
    beside = [path for folder in folders for path in sorted(folder.iterdir()) if true_place(path) not in used]
    extra = [path for path in beside if path.name.lower().endswith(FILE_ENDINGS) and not is_hidden(path)]
    if not extra:
        return []
    names = [f"{path.parent.name}/{path.name}" for path in extra]
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    told = "1 image file beside the cases belongs" if len(names) == 1 else f"{len(names)} image files belong"
    text = f"{told} to no case: {', '.join(names[:_LISTED])}{more}."
    return [Finding("extra files", "warning", text, "Correct their names if they should be cases, or take them out.")]


def _folds(dataset: Dataset) -> Sequence[Fold]:
    """As `train` makes them with seed 0; none if there is one patient only."""
    folds = make_folds([case.id for case in dataset.cases], groups=dataset.groups)
    return folds if len(folds) > 1 else ()
