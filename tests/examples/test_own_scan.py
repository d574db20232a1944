"""examples/own_scan.py runs as it is, only with fewer cases and steps."""

import csv
import runpy
import sys
from pathlib import Path

import nibabel
import pytest
import torch

SCRIPT = Path(__file__).parents[2] / "examples" / "own_scan.py"


@pytest.fixture
def one_thread():
    """Short parallel regions wait for each other where other programs run (docs/tiny.md)."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
def test_the_script_goes_from_a_scan_to_a_mask_and_its_scores(tmp_path, monkeypatch, capsys):
    output = tmp_path / "output"
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), str(output), "--cases", "5", "--steps", "2"])
    runpy.run_path(str(SCRIPT), run_name="__main__")
    scan = nibabel.load(next((output / "unseen/imagesTr").glob("*.nii.gz")))
    mask = nibabel.load(output / "mask.nii.gz")
    assert mask.shape == scan.shape
    assert (mask.affine == scan.affine).all()
    with (output / "scores/scores.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 4
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines if " DSC " in line][:2] == ["liver", "right_kidney"]
