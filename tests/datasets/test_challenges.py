"""BTCV, SegTHOR and the Decathlon: label values by name, and every way to break a pair is named."""

import json

import nibabel
import numpy as np
import pytest

from sautomed import errors
from sautomed.datasets import read_dataset


def load_all(folder, layout):
    dataset = read_dataset(folder, layout)
    return [dataset.load(case) for case in dataset.cases]


def refused(kind, words, folder, layout="auto"):
    with pytest.raises(kind, match=words) as caught:
        load_all(folder, layout)
    assert caught.value.exit_code == 3
    assert caught.value.cure
    return caught.value


def edit(folder, **changes):
    path = folder / "dataset.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def rewrite(path, change):
    """Change the voxels of a file and keep its place."""
    image = nibabel.load(path)
    array = np.asarray(image.dataobj).copy()
    change(array)
    nibabel.save(nibabel.Nifti1Image(array, image.affine), path)


# --- BTCV -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def btcv(tmp_path, on_disk):
    on_disk.write("btcv", tmp_path, ["1", "21"])
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
def test_a_value_that_the_challenge_lacks_is_refused(btcv, layout):
    rewrite(btcv / "label" / "label0001.nii.gz", lambda array: array.__setitem__((0, 0, 0), 14))
    refused(errors.UnknownLabels, r"no name in the layout btcv.*14 \(1 voxels\)", btcv, layout)


def test_a_btcv_scan_without_labels_is_named_with_the_nearest(btcv):
    (btcv / "label" / "label0001.nii.gz").rename(btcv / "label" / "label0011.nii.gz")
    refused(errors.UnpairedFiles, r"2 files.*image 0001 \(nearest: 0011\), label map 0011", btcv)


# --- SegTHOR ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def segthor(tmp_path, on_disk):
    on_disk.write("segthor", tmp_path, ["1", "2"])
    return tmp_path / "train"


def save_gt(place, affine=None, array=None):
    image = nibabel.load(place / "GT.nii.gz")
    array = np.asarray(image.dataobj) if array is None else array
    nibabel.save(nibabel.Nifti1Image(array, image.affine if affine is None else affine), place / "GT.nii.gz")


def test_segthor_labels_are_the_challenges(segthor):
    assert read_dataset(segthor).labels == {1: "esophagus", 2: "heart", 3: "trachea", 4: "aorta"}


@pytest.mark.parametrize("moved_mm", [0, 2.5])
def test_the_header_of_the_scan_is_trusted_and_the_gap_is_told(segthor, moved_mm):
    place = segthor / "Patient_01"
    affine = nibabel.load(place / "GT.nii.gz").affine.copy()
    affine[2, 3] += moved_mm
    dataset = read_dataset(segthor)
    before = dataset.load(dataset.cases[0])
    save_gt(place, affine)
    volume, labels = dataset.load(dataset.cases[0])
    np.testing.assert_array_equal(labels.array, before[1].array)
    np.testing.assert_array_equal(labels.affine, volume.affine)
    assert [("2.5 mm" in note, "the scan's header is trusted" in note) for note in volume.warnings] == (
        [(True, True)] if moved_mm else []
    )


def test_a_label_map_that_says_nothing_of_its_place_lies_on_the_scan(segthor):
    dataset = read_dataset(segthor)
    before = dataset.load(dataset.cases[0])[1].array
    path = segthor / "Patient_01" / "GT.nii.gz"
    image = nibabel.Nifti1Image(np.asarray(nibabel.load(path).dataobj), None)
    image.header.set_sform(None, 0)
    image.header.set_qform(None, 0)
    nibabel.save(image, path)
    np.testing.assert_array_equal(dataset.load(dataset.cases[0])[1].array, before)


def test_another_size_than_the_scans_is_refused(segthor):
    save_gt(segthor / "Patient_02", array=np.zeros((80, 64, 11), np.uint8))
    refused(errors.GridMismatch, r"80 x 64 x 12 voxels, but the label map 80 x 64 x 11", segthor)


def test_a_patient_without_gt_is_named(segthor):
    (segthor / "Patient_02" / "GT.nii.gz").unlink()
    refused(errors.UnpairedFiles, "1 of 2 patients have no label map: Patient_02", segthor)


# --- Decathlon --------------------------------------------------------------------------------------------------------


@pytest.fixture
def msd(tmp_path, on_disk):
    on_disk.write("msd", tmp_path, ["1", "2", "10"])
    return tmp_path


def test_the_reversed_label_map_and_the_list_of_pairs_are_read(msd):
    dataset = read_dataset(msd)
    assert (dataset.layout, dataset.name, dataset.channel) == ("msd", "Organs", "CT")
    assert (dataset.labels[1], dataset.labels[8]) == ("spleen", "pancreas")
    assert [case.id for case in dataset.cases] == ["organ_1", "organ_2", "organ_10"]


def test_labels_in_the_other_direction_are_read_too(msd):
    labels = read_dataset(msd).labels
    edit(msd, labels={"background": 0} | {name: value for value, name in labels.items()})
    assert read_dataset(msd).labels == labels


@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        ({"modality": {"0": "FLAIR", "1": "T1w"}}, errors.TooManyChannels, r"2 image channels \(FLAIR, T1w\).*--frame"),
        ({"training": []}, errors.NoCases, "no case"),
        ({"training": [{"image": "a.nii.gz"}]}, errors.BadDatasetJson, "entry"),
        ({"training": [{"image": "../a.nii.gz", "label": "b.nii.gz"}]}, errors.BadDatasetJson, "outside"),
        ({"training": [{"image": "/a.nii.gz", "label": "b.nii.gz"}]}, errors.BadDatasetJson, "outside"),
        ({"training": "all"}, errors.BadDatasetJson, "no list"),
        ({"labels": {"0": "background", "1": "liver", "2": "liver"}}, errors.BadDatasetJson, "the name liver"),
        ({"labels": {"0": "liver", "1": "background"}}, errors.BadDatasetJson, "label 0 must be the background"),
    ],
)
def test_a_bad_description_is_refused(msd, change, kind, words):
    edit(msd, **change)
    refused(kind, words, msd, "msd")


def test_files_that_are_listed_but_not_there_are_named(msd):
    (msd / "labelsTr" / "organ_2.nii.gz").unlink()
    refused(errors.UnpairedFiles, r"lists 1 files that are not there: labelsTr.organ_2.nii.gz", msd)


def test_a_case_that_is_listed_twice_is_refused(msd):
    training = json.loads((msd / "dataset.json").read_text())["training"]
    edit(msd, training=[*training, training[0]])
    refused(errors.UnpairedFiles, "the case organ_1 twice", msd)


def test_nnunet_files_with_a_list_of_pairs_are_nnunets(tmp_path, on_disk):
    """Its first version wrote the Decathlon's list into dataset.json and numbered the files all the same."""
    on_disk.write("nnunet-raw", tmp_path, ["1"])
    edit(tmp_path, training=[{"image": "./imagesTr/case_1.nii.gz", "label": "./labelsTr/case_1.nii.gz"}])
    assert read_dataset(tmp_path).layout == "nnunet-raw"


def test_a_decathlon_task_of_the_shared_scans(shared_data, tmp_path):
    """The hippocampus as the Decathlon gives it: the same files without nnU-Net's numbers."""
    source = shared_data / "Dataset004_Hippocampus"
    pairs = []
    for path in sorted((source / "labelsTr").glob("*.nii.gz"))[:3]:
        for folder, name in (("imagesTr", path.name.replace(".nii", "_0000.nii")), ("labelsTr", path.name)):
            (tmp_path / folder).mkdir(exist_ok=True)
            (tmp_path / folder / path.name).symlink_to(source / folder / name)
        pairs.append({"image": f"./imagesTr/{path.name}", "label": f"./labelsTr/{path.name}"})
    labels = {"0": "background", "1": "Anterior", "2": "Posterior"}
    (tmp_path / "dataset.json").write_text(json.dumps({"modality": {"0": "MRI"}, "labels": labels, "training": pairs}))
    dataset = read_dataset(tmp_path)
    assert (dataset.layout, dataset.labels) == ("msd", {1: "Anterior", 2: "Posterior"})
    assert set(dataset.load(dataset.cases[0])[1].voxel_counts()) == {0, 1, 2}
