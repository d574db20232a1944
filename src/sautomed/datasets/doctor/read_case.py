"""Reading one case of a dataset whatever is wrong with it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from sautomed.datasets.dataset import Case, Dataset
from sautomed.datasets.doctor.facts import CaseFacts, facts_of_image, facts_of_labels
from sautomed.errors import SautomedError
from sautomed.scans import read_geometry
from sautomed.scans.volume import LabelMap, Volume


def look_at(dataset: Dataset, case: Case) -> tuple[CaseFacts, Volume | None, LabelMap | None]:
    """The facts of a case, and its scan and label map where they can be read. Raises nothing that reading would."""
    known: dict[str, Any] = {"id": case.id, "group": case.group}
    faults: list[SautomedError] = []
    notes: list[str] = []
    volume, labels = None, None
    try:
        volume = dataset.read_image(case)
        known |= facts_of_image(volume, dataset.channel)
        notes += volume.warnings
    except SautomedError as fault:
        faults.append(fault)
    try:
        labels, remarks = _read_labels(dataset, case, volume)
        notes += remarks
    except SautomedError as fault:
        if fault.where not in {earlier.where for earlier in faults}:  # where labels take their grid from the scan
            faults.append(fault)
    if labels is not None:
        known |= facts_of_labels(labels, volume)
    if case.label is not None and case.label.is_file():
        known["label_dtype"], remarks = _label_header(case.label)
        notes += remarks
    facts = CaseFacts(**known, warnings=tuple(dict.fromkeys(notes)), faults=tuple(faults))
    return facts, volume, labels


def _read_labels(dataset: Dataset, case: Case, volume: Volume | None) -> tuple[LabelMap | None, tuple[str, ...]]:
    """The label map as the dataset's reader gives it, whatever grid and values it has."""
    if case.label is None:
        return None, ()
    if volume is None:
        return dataset.read_label(case), ()
    labels, notes = dataset.reader.label(case, case.label, volume.plane, volume)
    return replace(labels, names=dict(dataset.labels)), notes


def _label_header(path: Path) -> tuple[str, tuple[str, ...]]:
    """Type and remarks of a label map that is an image file; nothing of one that is not."""
    try:
        geometry = read_geometry(path)
    except SautomedError:  # told when its voxels were read, or no image but, for example, an HDF5 file
        return "", ()
    return str(geometry.dtype), geometry.warnings
