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


def test_the_datasets_own_folds_are_those_that_are_checked(blocks):
    copied_scan(blocks)
    splits = blocks.folder / "splits_final.json"
    splits.write_text(json.dumps([{"train": ["case_0", "case_1"], "val": ["case_2"]}]))
    (finding,) = examine(blocks.folder).findings
    assert "In fold 0 of splits_final.json one trains" in finding.text
    splits.write_text(json.dumps([{"train": ["case_0", "case_1", "case_2"], "val": ["case_3"]}]))
    (finding,) = examine(blocks.folder).findings
    assert "one trains" not in finding.text


def test_a_splits_file_that_training_refuses_is_an_error(blocks):
    (blocks.folder / "splits_final.json").write_text(json.dumps([{"train": ["case_0"], "val": ["lost"]}]))
    (finding,) = examine(blocks.folder).findings
    assert (finding.check, finding.severity, finding.error_id) == ("folds", "error", "SAM-E0317")
    assert "lost" in finding.text
