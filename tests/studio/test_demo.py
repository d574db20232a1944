"""The phantom of the demo."""

import pytest

from sautomed.errors import TargetExists
from sautomed.scans import read_labels, read_scan
from sautomed.scans.paths import sha256_of
from sautomed.studio.demo import demo_scan


def test_a_scan_is_made_once_with_its_true_labels(tmp_path):
    scan = demo_scan(tmp_path / "out")
    volume = read_scan(scan, "axial")
    truth = read_labels(tmp_path / "out" / "phantom" / "labelsTr" / "phantom_000.nii.gz", "axial")
    assert volume.array.shape == truth.array.shape
    assert len(truth.names) == 13
    before = sha256_of([scan]), scan.stat().st_mtime_ns
    assert demo_scan(tmp_path / "out") == scan  # the log of edits names the scan's hash
    assert (sha256_of([scan]), scan.stat().st_mtime_ns) == before


def test_what_was_broken_off_is_made_anew(tmp_path):
    scan = demo_scan(tmp_path)
    (tmp_path / "phantom" / "dataset.json").unlink()
    scan.write_bytes(b"cut")
    assert read_scan(demo_scan(tmp_path), "axial").array.any()


def test_other_scans_in_its_place_are_left_alone(tmp_path):
    mine = tmp_path / "phantom" / "imagesTr" / "mine.nii.gz"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    with pytest.raises(TargetExists):
        demo_scan(tmp_path)
    assert mine.read_text() == "mine"
