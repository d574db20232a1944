"""SegTHOR: label maps on the grid of their scan, and patients without a label map."""

import nibabel
import numpy as np
import pytest

from sautomed import errors
from sautomed.datasets import read_dataset

from .miniatures import write_miniature


@pytest.fixture
def segthor(tmp_path):
    write_miniature("segthor", tmp_path, ["1", "2"])
    return tmp_path / "train"


def save_gt(place, affine=None, array=None):
    image = nibabel.load(place / "GT.nii.gz")
    array = np.asarray(image.dataobj) if array is None else array
    nibabel.save(nibabel.Nifti1Image(array, image.affine if affine is None else affine), place / "GT.nii.gz")


def test_labels_are_those_of_the_challenge(segthor):
    assert read_dataset(segthor).labels == {1: "esophagus", 2: "heart", 3: "trachea", 4: "aorta"}


@pytest.mark.parametrize("moved_mm", [0, 2.5])
def test_the_header_of_the_scan_is_used_with_a_warning_about_the_gap(segthor, moved_mm):
    place = segthor / "Patient_01"
    affine = nibabel.load(place / "GT.nii.gz").affine.copy()
    affine[2, 3] += moved_mm
    dataset = read_dataset(segthor)
    before = dataset.load(dataset.cases[0])
    save_gt(place, affine)
    volume, labels = dataset.load(dataset.cases[0])
    np.testing.assert_array_equal(labels.array, before[1].array)
    np.testing.assert_array_equal(labels.affine, volume.affine)
    assert [("2.5 mm" in note, "the scan's header is used" in note) for note in volume.warnings] == (
        [(True, True)] if moved_mm else []
    )


def test_a_label_map_without_sform_and_qform_is_put_on_the_scan(segthor):
    dataset = read_dataset(segthor)
    before = dataset.load(dataset.cases[0])[1].array
    path = segthor / "Patient_01" / "GT.nii.gz"
    image = nibabel.Nifti1Image(np.asarray(nibabel.load(path).dataobj), None)
    image.header.set_sform(None, 0)
    image.header.set_qform(None, 0)
    nibabel.save(image, path)
    np.testing.assert_array_equal(dataset.load(dataset.cases[0])[1].array, before)


def test_another_size_than_the_scans_is_refused(segthor, refused):
    save_gt(segthor / "Patient_02", array=np.zeros((80, 64, 11), np.uint8))
    refused(errors.GridMismatch, r"80 x 64 x 12 voxels, but the label map 80 x 64 x 11", segthor)


def test_a_patient_without_gt_is_named(segthor, refused):
    (segthor / "Patient_02" / "GT.nii.gz").unlink()
    refused(errors.UnpairedFiles, "1 of 2 patients have no label map: Patient_02", segthor)
