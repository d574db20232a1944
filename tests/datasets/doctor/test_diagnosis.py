"""The diagnosis: counts and the error that it raises."""

import pytest

from sautomed import errors
from sautomed.datasets.doctor.diagnosis import Diagnosis, Finding, sorted_findings
from sautomed.datasets.doctor.examine import examine

from .faults import truncate


def test_require_sound_says_how_many_and_what(blocks):
    truncate(blocks)
    diagnosis = examine(blocks.folder)
    with pytest.raises(errors.NeedsMending, match=r"1 findings in 1 of 5 cases.*readable.*--fix") as caught:
        diagnosis.require_sound()
    assert caught.value.exit_code == 3


def test_findings_are_sorted_by_severity_then_case():
    note, warning = Finding("unlike", "note", "", ""), Finding("size", "warning", "", "", case="a")
    first, second = Finding("grids", "error", "", "", case="a"), Finding("grids", "error", "", "", case="b")
    ordered = sorted_findings([note, second, warning, first])
    assert ordered == (first, second, warning, note)


def test_the_summary_counts_findings_by_severity(tmp_path):
    findings = (
        Finding("grids", "error", "", ""),
        Finding("size", "warning", "", ""),
        Finding("size", "warning", "", ""),
    )
    diagnosis = Diagnosis(tmp_path, "d", "msd", "CT", {1: "liver"}, (), findings)
    assert diagnosis.summary == "0 cases: 1 error, 2 warnings, no notes"
