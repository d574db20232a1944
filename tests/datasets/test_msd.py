"""Medical Segmentation Decathlon: the list of pairs, label names by value, and faults in dataset.json."""

import json

import pytest

from sautomed import errors
from sautomed.datasets import read_dataset

from .miniatures import write_miniature


def edit(folder, **changes):
    path = folder / "dataset.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.fixture
def msd(tmp_path):
    write_miniature("msd", tmp_path, ["1", "2", "10"])
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
def test_a_bad_description_is_refused(msd, change, kind, words, refused):
    edit(msd, **change)
    refused(kind, words, msd, "msd")


def test_listed_files_that_do_not_exist_are_named(msd, refused):
    (msd / "labelsTr" / "organ_2.nii.gz").unlink()
    refused(errors.UnpairedFiles, r"lists 1 files that do not exist: labelsTr.organ_2.nii.gz", msd)


def test_a_case_that_is_listed_twice_is_refused(msd, refused):
    training = json.loads((msd / "dataset.json").read_text())["training"]
    edit(msd, training=[*training, training[0]])
    refused(errors.UnpairedFiles, "the case organ_1 twice", msd)


def test_nnunet_files_with_a_list_of_pairs_are_nnunets(tmp_path):
    """Its first version wrote the Decathlon's list into dataset.json but numbered the files."""
    write_miniature("nnunet-raw", tmp_path, ["1"])
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
