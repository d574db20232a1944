"""Folders of phantoms."""

import json

import nibabel as nib
import numpy as np
import pytest

from sautomed.datasets import read_dataset
from sautomed.errors import TargetExists, UnknownSetting
from sautomed.phantom import make_phantom, write_phantoms


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    seen = []
    target = tmp_path_factory.mktemp("phantoms") / "Dataset900_Phantom"
    written = write_phantoms(target, 2, "abdomen-mr", 4, on_case=lambda *progress: seen.append(progress))
    assert written == target
    assert seen == [(1, 2, "phantom_000"), (2, 2, "phantom_001")]
    return target


def test_the_folder_is_an_nnunet_raw_dataset(folder):
    dataset = read_dataset(folder)
    assert dataset.channel == "T2-SPIR"
    assert dataset.labels == {1: "liver", 2: "right_kidney", 3: "left_kidney", 4: "spleen"}
    assert [case.id for case in dataset.cases] == ["phantom_000", "phantom_001"]
    volume, labels = dataset.load(dataset.cases[0], "axial")
    assert volume.array.shape == labels.array.shape
    assert set(np.unique(labels.array)) <= {0, 1, 2, 3, 4}


def test_files_hold_what_make_phantom_gives_whatever_the_count(folder):
    case = make_phantom("abdomen-mr", 4, index=1)
    image = nib.load(folder / "imagesTr" / "phantom_001_0000.nii.gz")
    labels = nib.load(folder / "labelsTr" / "phantom_001.nii.gz")
    assert np.array_equal(np.asarray(image.dataobj), case.image)
    assert np.array_equal(np.asarray(labels.dataobj), case.labels)
    assert np.allclose(image.affine, case.affine, atol=1e-4)
    assert image.header.get_xyzt_units()[0] == "mm"
    assert int(image.header["qform_code"]) == int(image.header["sform_code"]) == 1


def test_dataset_json_says_what_it_is(folder):
    described = json.loads((folder / "dataset.json").read_text())
    assert described["channel_names"] == {"0": "T2-SPIR"}
    assert described["labels"] == {"background": 0, "liver": 1, "right_kidney": 2, "left_kidney": 3, "spleen": 4}
    assert described["numTraining"] == 2
    assert described["file_ending"] == ".nii.gz"


def test_stale_scans_are_not_mixed_with_new_ones(folder):
    with pytest.raises(TargetExists, match="phantom_001"):
        write_phantoms(folder, 1, "abdomen-mr", 4)


def test_bad_requests_leave_no_folder(tmp_path):
    for count, kind in ((0, "abdomen-ct"), (1, "head-ct")):
        with pytest.raises(UnknownSetting):
            write_phantoms(tmp_path / "out", count, kind, 0)
    assert not (tmp_path / "out").exists()
