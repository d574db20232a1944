"""Findings about several cases: classes, folds and duplicates."""

import json

from sautomed.datasets.doctor.examine import examine, fix

from ..block_dataset import LABELS, BlockDataset, organs
from .faults import copied_scan


def test_a_class_that_never_occurs_is_an_error_and_leaves_the_copy(tmp_path):
    blocks = BlockDataset(tmp_path / "data", labels={**LABELS, "pancreas": 5})
    diagnosis = examine(blocks.folder)
    (finding,) = diagnosis.findings
    assert (finding.check, finding.severity, finding.case) == ("classes", "error", "")
    assert "5 pancreas" in finding.text
    assert fix(diagnosis, tmp_path / "mended").dropped_labels == {5: "pancreas"}
    assert json.loads((tmp_path / "mended" / "dataset.json").read_text())["labels"] == {"background": 0, **LABELS}


def test_a_class_in_one_case_only_is_missing_where_that_case_validates(blocks):
    for number in range(4):
        labels = organs(number)
        labels[labels == 4] = 0
        blocks.write_label(number, labels)
    findings = examine(blocks.folder).findings
    assert [(f.check, f.severity) for f in findings] == [("folds", "warning"), ("folds", "note")]
    assert all("4 spleen" in f.text for f in findings)


def test_a_copied_scan_is_reported_with_the_fold_it_leaks_into(blocks):
    copied_scan(blocks)
    (finding,) = examine(blocks.folder).findings
    assert "case_1, case_2 are the same scan" in finding.text
    assert "different label maps" in finding.text
    assert "one trains and another validates" in finding.text
