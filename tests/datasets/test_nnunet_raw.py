"""nnU-Net's raw layout: cases, descriptions, and a named fault for each mistake."""

import json

import nibabel
import numpy as np
import pytest

from sautomed import errors
from sautomed.cli.convert import convert_file
from sautomed.datasets import DATASETS, read_label_names
from sautomed.datasets.nnunet_raw import read_dataset

GOOD = {"channel_names": {"0": "CT"}, "labels": {"background": 0, "liver": 1, "spleen": 2}, "file_ending": ".nii.gz"}
AFFINE = np.diag([1.0, 1.0, 3.0, 1.0])


def save(path, array, affine=AFFINE):
    path.parent.mkdir(exist_ok=True, parents=True)
    nibabel.save(nibabel.Nifti1Image(array, affine), path)


def image():
    return np.arange(6 * 7 * 5).reshape(6, 7, 5).astype(np.int16)


def labels(largest=2):
    array = np.zeros((6, 7, 5), np.uint8)
    array[1, 1:3, 1] = 1
    array[2, 2, 2] = largest
    return array


@pytest.fixture
def dataset(tmp_path):
    """Two good cases."""
    folder = tmp_path / "Dataset007_Two"
    for case in ("b_2", "a_1"):
        save(folder / "imagesTr" / f"{case}_0000.nii.gz", image())
        save(folder / "labelsTr" / f"{case}.nii.gz", labels())
    describe(folder, GOOD)
    return folder


def describe(folder, description):
    text = description if isinstance(description, str) else json.dumps(description)
    (folder / "dataset.json").write_text(text)


def refused(kind, words, folder):
    with pytest.raises(kind, match=words) as caught:
        read_dataset(folder)
    assert caught.value.exit_code == 3
    assert str(folder) in str(caught.value)
    assert caught.value.cure
    return caught.value


def test_a_dataset_is_its_description_and_its_sorted_cases(dataset):
    found = read_dataset(dataset)
    assert (found.name, found.channel, found.labels) == ("Dataset007_Two", "CT", {1: "liver", 2: "spleen"})
    assert [case.id for case in found.cases] == ["a_1", "b_2"]
    assert found.cases[0].image.name == "a_1_0000.nii.gz"
    assert found.cases[0].label.name == "a_1.nii.gz"
    assert DATASETS["nnunet-raw"].read(dataset) == found


def test_files_of_file_managers_and_other_kinds_are_no_cases(dataset):
    (dataset / "imagesTr" / "._a_1_0000.nii.gz").touch()
    (dataset / "imagesTr" / "notes.txt").touch()
    assert len(read_dataset(dataset).cases) == 2


@pytest.mark.parametrize(("wanted", "ending"), [(".nii.gz", ".nii"), (".nii.gz", ".mha"), (".nrrd", ".seg.nrrd")])
def test_a_label_map_with_another_ending_is_named_and_the_cure_works(dataset, wanted, ending):
    for path in [*(dataset / "imagesTr").iterdir(), *(dataset / "labelsTr").iterdir()]:
        labels_too = path.parent.name == "labelsTr"
        new = ending if path.name == "a_1.nii.gz" else wanted
        if new != ".nii.gz":
            convert_file(path, path.with_name(path.name.replace(".nii.gz", new)), labels=labels_too)
            path.unlink()
    describe(dataset, {**GOOD, "file_ending": wanted})
    fault = refused(errors.UnpairedFiles, "1 files have no partner", dataset)
    assert f": label map a_1{ending} (must end in {wanted})." in fault.fault
    old = dataset / "labelsTr" / f"a_1{ending}"
    convert_file(old, old.with_name(f"a_1{wanted}"), labels=True)
    old.unlink()
    assert [case.label is not None for case in read_dataset(dataset).cases] == [True, True]


def test_a_case_whose_files_both_have_another_ending_is_warned_of(dataset, caplog):
    read_dataset(dataset)
    assert caplog.text == ""
    for path in (dataset / "imagesTr" / "a_1_0000.nii.gz", dataset / "labelsTr" / "a_1.nii.gz"):
        convert_file(path, path.with_suffix(""), labels=path.parent.name == "labelsTr")
        path.unlink()
    assert [case.id for case in read_dataset(dataset).cases] == ["b_2"]
    assert "do not end in .nii.gz: imagesTr/a_1_0000.nii, labelsTr/a_1.nii." in caplog.text


def test_an_image_with_another_ending_is_named(dataset):
    image_path = dataset / "imagesTr" / "a_1_0000.nii.gz"
    convert_file(image_path, image_path.with_suffix(""))
    image_path.unlink()
    fault = refused(errors.UnpairedFiles, "1 files have no partner", dataset)
    assert "image a_1_0000.nii (must end in .nii.gz)." in fault.fault


def test_a_case_is_a_scan_and_its_labels_on_one_grid(dataset):
    found = read_dataset(dataset)
    volume, label_map = found.load(found.cases[0], "coronal")
    assert volume.plane == label_map.plane == "coronal"
    assert volume.array.shape == label_map.array.shape == (7, 5, 6)
    assert label_map.names == {1: "liver", 2: "spleen"}
    assert label_map.voxel_counts() == {0: 207, 1: 2, 2: 1}


def test_labels_stored_in_another_axis_order_still_lie_on_the_scan(dataset):
    turned = np.array([[0, 1.0, 0, 0], [-1.0, 0, 0, 6], [0, 0, 3.0, 0], [0, 0, 0, 1]])
    save(dataset / "labelsTr" / "a_1.nii.gz", labels().transpose(1, 0, 2)[::-1].copy(), turned)
    found = read_dataset(dataset)
    same = found.load(found.cases[1])[1]
    np.testing.assert_array_equal(found.load(found.cases[0])[1].array, same.array)


@pytest.mark.parametrize("depth", [1, 2])
def test_cases_of_one_and_two_slices_load(dataset, depth):
    save(dataset / "imagesTr" / "a_1_0000.nii.gz", image()[:, :, :depth])
    save(dataset / "labelsTr" / "a_1.nii.gz", labels()[:, :, :depth])
    found = read_dataset(dataset)
    assert found.load(found.cases[0])[0].array.shape == (depth, 7, 6)


# --- images against labels --------------------------------------------------------------------------------------------


def refused_case(dataset, kind, words):
    found = read_dataset(dataset)
    with pytest.raises(kind, match=words) as caught:
        found.load(found.cases[0])
    assert caught.value.exit_code == 3
    assert "case a_1" in str(caught.value)
    return caught.value


def test_labels_of_another_shape_are_refused_with_both_shapes(dataset):
    save(dataset / "labelsTr" / "a_1.nii.gz", labels()[:, :, :4])
    assert refused_case(dataset, errors.GridMismatch, r"6 x 7 x 5 voxels.*6 x 7 x 4 voxels").id == "SAM-E0307"


@pytest.mark.parametrize(
    ("affine", "words"),
    [
        (np.diag([1.0, 1.0, 2.5, 1.0]), r"1 x 1 x 3 mm.*1 x 1 x 2\.5 mm"),
        (np.diag([-1.0, 1.0, 3.0, 1.0]), r"axes RAS.*axes LAS"),
        (AFFINE + np.array([[0, 0, 0, 20.0], [0] * 4, [0] * 4, [0] * 4]), r"20 mm apart.*\(20\.0, 0\.0, 0\.0\)"),
    ],
)
def test_labels_elsewhere_in_the_patient_are_refused_with_both_geometries(dataset, affine, words):
    save(dataset / "labelsTr" / "a_1.nii.gz", labels(), affine)
    refused_case(dataset, errors.GridMismatch, f"image and label map.*{words}")


def test_values_that_dataset_json_lacks_are_listed_with_their_counts(dataset):
    save(dataset / "labelsTr" / "a_1.nii.gz", labels(9))
    fault = refused_case(dataset, errors.UnknownLabels, r"9 \(1 voxels\).*0 background, 1 liver, 2 spleen")
    assert fault.id == "SAM-E0308"


def test_a_dataset_without_label_maps_lists_cases_that_cannot_be_trained_on(dataset):
    for path in (dataset / "labelsTr").iterdir():
        path.unlink()
    (dataset / "labelsTr").rmdir()
    refused_case(dataset, errors.UnpairedFiles, "has no label map")


# --- the folder -------------------------------------------------------------------------------------------------------


def test_a_missing_folder_is_named(tmp_path):
    assert refused(errors.MissingFile, "does not exist", tmp_path / "nowhere").id == "SAM-E0301"


def test_a_folder_without_description_is_named(dataset):
    (dataset / "dataset.json").unlink()
    refused(errors.MissingFile, r"dataset\.json.*nnU-Net's raw layout", dataset)


@pytest.mark.parametrize("empty", ["no folder", "empty folder", "other ending"])
def test_a_dataset_with_no_cases_is_refused(dataset, empty):
    for path in (dataset / "imagesTr").iterdir():
        if empty == "other ending":
            path.rename(path.with_name(path.name.replace(".nii.gz", ".nii")))
        else:
            path.unlink()
    if empty == "no folder":
        (dataset / "imagesTr").rmdir()
    assert refused(errors.NoCases, r"has no cases.*CASE_0000\.nii\.gz", dataset).id == "SAM-E0309"


def test_files_without_a_partner_are_listed_with_the_nearest_name(dataset):
    (dataset / "labelsTr" / "a_1.nii.gz").rename(dataset / "labelsTr" / "a_01.nii.gz")
    fault = refused(errors.UnpairedFiles, r"2 files.*image a_1 \(nearest: a_01\), label map a_01", dataset)
    assert fault.id == "SAM-E0313"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("{", "not valid JSON"),
        ("[]", "one JSON object"),
        ({**GOOD, "channel_names": {}}, "channel_names"),
        ({"channel_names": {"0": "CT"}}, "labels"),
        ({**GOOD, "labels": {"background": 0}}, "at least one structure"),
        ({**GOOD, "labels": {"background": 0, "liver": 1, "tumour": 70000}}, r"0 to 65535.*\[0, 1, 70000\]"),
        ({**GOOD, "labels": {"background": 0, "liver": 1, "spleen": 1}}, "must differ"),
        ({**GOOD, "labels": {"background": 0, "organs": [1, 2], "liver": 1}}, "'organs'.*regions"),
        ({**GOOD, "labels": {"background": 0, "liver": 1, "ignore": 2}}, "ignore"),
        ({**GOOD, "labels": {"liver": 0, "spleen": 1}}, "label 0 must be the background"),
        ({**GOOD, "file_ending": ".png"}, r"\.png"),
    ],
)
def test_a_bad_description_is_refused(dataset, change, words):
    describe(dataset, change)
    assert refused(errors.BadDatasetJson, words, dataset).id == "SAM-E0311"


def test_several_channels_are_refused_by_name(dataset):
    describe(dataset, {**GOOD, "channel_names": {"0": "T1", "1": "T2"}})
    assert refused(errors.TooManyChannels, r"2 image channels \(T1, T2\)", dataset).id == "SAM-E0316"


def test_descriptions_of_the_first_nnunet_and_the_decathlon_are_understood(dataset):
    describe(dataset, {"modality": {"0": "MRI"}, "labels": {"0": "background", "1": "liver", "2": "spleen"}})
    found = read_dataset(dataset)
    assert (found.channel, found.labels) == ("MRI", {1: "liver", 2: "spleen"})


def test_label_names_are_read_alone(dataset):
    assert read_label_names(dataset / "dataset.json") == {1: "liver", 2: "spleen"}


def test_the_real_datasets_load(shared_data):
    expected = {"Dataset001_CHAOST2": (15, "T2-SPIR", 4), "Dataset004_Hippocampus": (200, "MRI", 2)}
    for name, (cases, channel, classes) in expected.items():
        found = read_dataset(shared_data / name)
        assert (len(found.cases), found.channel, len(found.labels)) == (cases, channel, classes)
        volume, label_map = found.load(found.cases[0])
        assert set(label_map.voxel_counts()) == set(range(classes + 1))
        assert volume.warnings == ()


@pytest.mark.parametrize("count", [254, 255])
def test_more_labels_than_a_byte_holds_cannot_be_trained(dataset, count):
    many = {"background": 0, **{f"organ {k}": k for k in range(1, count + 1)}}
    describe(dataset, {**GOOD, "labels": many})
    assert len(read_label_names(dataset / "dataset.json")) == count  # scores need no byte
    if count == 254:
        assert len(read_dataset(dataset).labels) == 254
    else:
        refused(errors.BadDatasetJson, "has 255 labels, but at most 254", dataset)


@pytest.mark.parametrize("ending", [".nii", ".nrrd", ".mha"])
def test_files_may_be_of_any_format_that_is_read(dataset, ending):
    """As nnU-Net has it: one ending for all files of a dataset."""
    before = read_dataset(dataset).load(read_dataset(dataset).cases[0])
    for path in [*(dataset / "imagesTr").iterdir(), *(dataset / "labelsTr").iterdir()]:
        convert_file(path, path.with_name(path.name.replace(".nii.gz", ending)))
        path.unlink()
    describe(dataset, {**GOOD, "file_ending": ending})
    found = read_dataset(dataset)
    volume, label_map = found.load(found.cases[0])
    np.testing.assert_array_equal(volume.array, before[0].array)
    np.testing.assert_array_equal(label_map.array, before[1].array)
    assert label_map.names == before[1].names
