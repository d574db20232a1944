"""Findings about one case: their texts, numbers and cures."""

from sautomed import errors
from sautomed.datasets.doctor.examine import examine

from ..block_dataset import BlockDataset
from .faults import exchange_kidneys, mirror, shorten_label, stand_on_head, unknown_value


def only(blocks):
    """Examine a dataset and return its one finding."""
    (finding,) = examine(blocks.folder).findings
    return finding


def test_different_shapes_are_reported_with_both_grids_and_the_flag(blocks):
    shorten_label(blocks)
    finding = only(blocks)
    for words in ("40 x 32 x 12", "40 x 32 x 11", "8 x 8 x 10 mm", "RAS", "different shapes"):
        assert words in finding.text
    assert "--regrid-labels" in finding.cure
    assert finding.fixable
    assert finding.error_id == errors.GridMismatch.id


def test_an_unknown_value_is_reported_with_its_voxels_and_the_flags(blocks):
    unknown_value(blocks)
    finding = only(blocks)
    assert "7 (3 voxels)" in finding.text
    assert "1 liver" in finding.text
    assert "--map 7=" in finding.cure
    assert "--ignore 7" in finding.cure


def test_exchanged_kidneys_and_a_mirrored_scan_are_told_apart(blocks):
    exchange_kidneys(blocks)
    finding = only(blocks)
    assert "exchanged" in finding.text
    assert "left_kidney lies" in finding.text
    assert "--map 3=2 --map 2=3" in finding.cure
    mirror(blocks)
    finding = only(blocks)
    assert "disagree left to right" in finding.text
    assert "spleen lies" in finding.text
    stand_on_head(blocks)
    assert "disagree down to up" in only(blocks).text


def test_hounsfield_units_under_another_name_are_noticed(tmp_path):
    blocks = BlockDataset(tmp_path / "data")
    blocks.describe("T2")
    findings = {(f.check, f.severity, f.case) for f in examine(blocks.folder).findings}
    assert findings == {("intensities", "warning", f"case_{n}") for n in range(5)}


def test_arbitrary_units_are_no_finding(tmp_path):
    assert examine(BlockDataset(tmp_path / "data", channel="T2").folder).findings == ()
