"""BTCV: thirteen organs or the paper's eight, and scans without a label map."""

import nibabel
import numpy as np
import pytest

from sautomed import errors
from sautomed.datasets import read_dataset

from .miniatures import write_miniature


def rewrite(path, change):
    """Change the voxels of a file and keep its place."""
    image = nibabel.load(path)
    array = np.asarray(image.dataobj).copy()
    change(array)
    nibabel.save(nibabel.Nifti1Image(array, image.affine), path)


@pytest.fixture
def btcv(tmp_path):
    write_miniature("btcv", tmp_path, ["1", "21"])
    return tmp_path / "RawData" / "Training"


def test_the_paper_scores_eight_of_thirteen_organs(btcv):
    every, paper = (read_dataset(btcv, layout) for layout in ("btcv", "btcv-8"))
    assert [case.id for case in every.cases] == ["0001", "0021"]
    assert {name: value for value, name in every.labels.items()} | {} == {
        "spleen": 1, "right_kidney": 2, "left_kidney": 3, "gallbladder": 4, "esophagus": 5, "liver": 6, "stomach": 7,
        "aorta": 8, "inferior_vena_cava": 9, "portal_and_splenic_vein": 10, "pancreas": 11,
        "right_adrenal_gland": 12, "left_adrenal_gland": 13,
    }  # fmt: skip
    assert list(paper.labels.values()) == [
        "spleen", "right_kidney", "left_kidney", "gallbladder", "liver", "stomach", "aorta", "pancreas",
    ]  # fmt: skip
    whole, part = (dataset.load(dataset.cases[0])[1] for dataset in (every, paper))
    raw = {name: value for value, name in every.labels.items()}
    for value, name in paper.labels.items():
        np.testing.assert_array_equal(part.array == value, whole.array == raw[name])
    assert part.array.max() == 8


@pytest.mark.parametrize("layout", ["btcv", "btcv-8"])
def test_a_value_that_the_challenge_lacks_is_refused(btcv, layout, refused):
    rewrite(btcv / "label" / "label0001.nii.gz", lambda array: array.__setitem__((0, 0, 0), 14))
    refused(errors.UnknownLabels, r"no name in the layout btcv.*14 \(1 voxels\)", btcv, layout)


def test_a_btcv_scan_without_labels_is_named_with_the_nearest(btcv, refused):
    (btcv / "label" / "label0001.nii.gz").rename(btcv / "label" / "label0011.nii.gz")
    refused(errors.UnpairedFiles, r"2 files.*image 0001 \(nearest: 0011\), label map 0011", btcv)
