"""Examining a dataset: each fault gives one finding, and corrected copies have no errors."""

import json
import shutil

import pytest

from sautomed import errors
from sautomed.datasets.doctor.examine import examine, fix
from sautomed.datasets.rules import LabelRules
from sautomed.inference.preview import thumbnail_png

from .faults import FAULTS, unknown_value


def found(dataset, **given):
    """Examine a dataset and return (check, severity, case) of its findings."""
    return [(f.check, f.severity, f.case) for f in examine(dataset.folder, **given).findings]


def test_a_sound_dataset_has_no_findings(blocks):
    diagnosis = examine(blocks.folder, thumbnail=thumbnail_png)
    assert diagnosis.findings == ()
    assert not diagnosis.needs_mending
    diagnosis.require_sound()
    assert [case.id for case in diagnosis.cases] == [f"case_{n}" for n in range(5)]
    assert all(diagnosis.pictures[case.id].startswith(b"\x89PNG") for case in diagnosis.cases)
    assert diagnosis.summary == "5 cases: no errors, no warnings, no notes"


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_each_fault_is_found_alone_and_its_copy_is_sound(blocks, fault, tmp_path):
    fault(blocks)
    before = blocks.files()
    diagnosis = examine(blocks.folder)
    assert [(f.check, f.severity, f.case) for f in diagnosis.findings] == [FAULTS[fault]]
    mended = fix(diagnosis, tmp_path / "mended")
    assert blocks.files() == before
    again = examine(tmp_path / "mended")
    assert not again.needs_mending, again.findings
    assert {case.id for case in again.cases} == set(mended.changes)
    assert not set(mended.changes) & set(mended.left_out)
    if diagnosis.findings[0].fixable:
        assert again.findings == ()
    assert json.loads((tmp_path / "mended" / "mended.json").read_text())["left_out"] == dict(mended.left_out)


def test_a_dataset_without_label_maps(blocks):
    shutil.rmtree(blocks.folder / "labelsTr")
    assert found(blocks) == [("pairs", "error", "")]


def test_a_dataset_that_cannot_be_described_is_refused(tmp_path):
    with pytest.raises(errors.MissingFile):
        examine(tmp_path / "nothing")
    with pytest.raises(errors.UnknownLayout):
        examine(tmp_path)


def test_rules_apply_to_what_is_examined(blocks):
    unknown_value(blocks)
    assert found(blocks, rules=LabelRules(ignore=frozenset({7}))) == []


@pytest.mark.slow
def test_real_scans_are_sound(shared_data):
    diagnosis = examine(shared_data / "Dataset001_CHAOST2")
    assert len(diagnosis.cases) == 15
    assert diagnosis.findings == ()
