"""Read one case of a dataset, whatever is wrong with it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sautomed.datasets.dataset import Case, Dataset
from sautomed.datasets.doctor.facts import CaseFacts, add_label_facts, add_scan_facts
from sautomed.errors import SautomedError
from sautomed.scans import Geometry, read_geometry
from sautomed.scans.label_names import match_names, numbering
from sautomed.scans.volume import LabelMap, Volume


@dataclass(frozen=True, eq=False)
class CaseReading:
    """What could be read of a case.

    Args:
        facts: Including the faults that stopped reading.
        volume: None if the scan cannot be read.
        labels: None if there is no label map, or it cannot be read.
    """

    facts: CaseFacts
    volume: Volume | None
    labels: LabelMap | None


def read_case(dataset: Dataset, case: Case) -> CaseReading:
    """Read scan and label map of a case. Faults of reading become facts and are not raised."""
    facts = CaseFacts(case.id, case.group)
    faults: list[SautomedError] = []
    warnings: list[str] = []
    volume, labels = None, None
    try:
        volume = dataset.read_image(case)
        facts = add_scan_facts(facts, volume, dataset.channel)
        warnings += volume.warnings
    except SautomedError as fault:
        faults.append(fault)
    try:
        labels, label_warnings = _read_labels(dataset, case, volume)
        warnings += label_warnings
    except SautomedError as fault:
        # Labels without a grid of their own fail with the scan, for the same reason.
        if fault.where not in {earlier.where for earlier in faults}:
            faults.append(fault)
    if labels is not None:
        facts = add_label_facts(facts, labels, volume)
    header = _read_label_header(case)
    if header is not None:
        warnings += header.warnings
        found = numbering(header.names, dataset.labels).values
        moved = {old: new for old, new in found.items() if old != new}
        facts = replace(facts, label_dtype=str(header.dtype), renumbered=moved)
    facts = replace(facts, warnings=tuple(dict.fromkeys(warnings)), faults=tuple(faults))
    return CaseReading(facts, volume, labels)


def _read_labels(dataset: Dataset, case: Case, volume: Volume | None) -> tuple[LabelMap | None, tuple[str, ...]]:
    """Read the label map with any grid and any values, and warnings about it."""
    if case.label is None:
        return None, ()
    if volume is None:
        return dataset.read_label(case), ()
    labels, warnings = dataset.reader.label(case, case.label, volume.plane, volume)
    return match_names(labels, dataset.labels, where=case.label), warnings


def _read_label_header(case: Case) -> Geometry | None:
    """Read the header of a label map; None for a folder, and for files that are no image, such as HDF5."""
    if case.label is None or not case.label.is_file():
        return None
    try:
        return read_geometry(case.label, labels=True)
    except SautomedError:  # no image, or a fault that reading the voxels reports
        return None
