"""Data sets in nnU-Net's raw layout, and its predictions as label maps on our grids."""

import json
from dataclasses import replace

import nibabel
import numpy as np
import pytest

from sautomed.datasets import read_dataset
from sautomed.datasets.dataset import Case, Dataset
from sautomed.datasets.folds import Fold
from sautomed.errors import ExternalFailed, GridMismatch
from sautomed.scans import read_labels
from sautomed.study.nnunet.raw import (
    class_numbers,
    convert_prediction,
    image_path,
    raw_name,
    write_raw,
    write_scan,
    write_split,
)

TURNED = np.array([[0, 0, -3.0, 40], [-1.5, 0, 0, 30], [0, 2.0, 0, -10], [0, 0, 0, 1]])  # axes to P, S, L


def one_case(folder, affine=TURNED, ending=".nii.gz", labels=(1, 2), dtype=np.uint8):
    """A data set of one small scan with its label map."""
    shape = (9, 8, 7)
    rng = np.random.default_rng(0)
    truth = np.asarray(rng.choice([0, *labels], shape), dtype)
    paths = [folder / f"scan{ending}", folder / f"labels{ending}"]
    folder.mkdir(parents=True, exist_ok=True)
    for path, array in zip(paths, [rng.normal(size=shape).astype(np.float32), truth], strict=True):
        nibabel.save(nibabel.Nifti1Image(array, affine), path)
    case = Case("one", *paths)
    return Dataset(folder, "My cases, 2", "MR", {value: f"organ {value}" for value in labels}, (case,))


def test_the_data_set_is_described_with_consecutive_labels(dataset_folder, tmp_path):
    dataset = read_dataset(dataset_folder)
    root = write_raw(dataset, ["block_2", "block_0"], tmp_path)
    description = json.loads((root / "dataset.json").read_text())
    assert root.name == raw_name(dataset) == "Dataset001_Dataset042Blocks"
    assert description["labels"] == {"background": 0, "bright": 1, "dark": 2}
    assert description["channel_names"] == {"0": "MR"}
    assert description["numTraining"] == 2
    assert sorted(path.name for path in (root / "imagesTr").iterdir()) == [
        "block_0_0000.nii.gz",
        "block_2_0000.nii.gz",
    ]
    assert sorted(path.name for path in (root / "labelsTr").iterdir()) == ["block_0.nii.gz", "block_2.nii.gz"]


def test_label_values_with_gaps_are_renumbered_at_their_places(dataset_folder, tmp_path):
    dataset = read_dataset(dataset_folder)
    root = write_raw(dataset, ["block_0"], tmp_path)
    ours = np.asarray(nibabel.load(dataset.cases[0].label).dataobj)
    theirs = nibabel.load(root / "labelsTr" / "block_0.nii.gz")
    assert (np.asarray(theirs.dataobj) == np.select([ours == 1, ours == 5], [1, 2], 0)).all()
    assert np.issubdtype(theirs.get_data_dtype(), np.integer)


def test_files_that_fit_are_linked(tmp_path):
    dataset = one_case(tmp_path / "data")
    root = write_raw(dataset, ["one"], tmp_path / "raw")
    assert image_path(root, "one").resolve() == dataset.cases[0].image.resolve()
    assert (root / "labelsTr" / "one.nii.gz").resolve() == dataset.cases[0].label.resolve()


def test_files_are_copied_where_there_are_no_links(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError("no links here")

    monkeypatch.setattr("pathlib.Path.symlink_to", refuse)
    dataset = one_case(tmp_path / "data")
    root = write_raw(dataset, ["one"], tmp_path / "raw")
    assert not image_path(root, "one").is_symlink()
    assert image_path(root, "one").read_bytes() == dataset.cases[0].image.read_bytes()


@pytest.mark.parametrize(
    "change",
    [{"ending": ".nii"}, {"dtype": np.float32}, {"affine": TURNED @ np.array(
        [[1, 0.002, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])}],
    ids=["another ending", "labels as floats", "slightly sheared"],
)  # fmt: skip
def test_other_files_are_written_anew_with_the_same_voxels(tmp_path, change):
    dataset = one_case(tmp_path / "data", **change)
    root = write_raw(dataset, ["one"], tmp_path / "raw")
    volume, labels = dataset.load(dataset.cases[0], "axial")
    written = read_labels(root / "labelsTr" / "one.nii.gz", "axial")
    image = nibabel.load(image_path(root, "one"))
    assert not (root / "labelsTr" / "one.nii.gz").is_symlink()
    assert (written.array == labels.array).all()
    assert np.allclose(image.affine, volume.native.affine, atol=1e-4)
    assert np.allclose(np.asarray(image.dataobj), np.asarray(nibabel.load(dataset.cases[0].image).dataobj))


def test_another_attempt_never_writes_through_a_link(tmp_path):
    dataset = one_case(tmp_path / "data")
    before = dataset.cases[0].label.read_bytes()
    write_raw(dataset, ["one"], tmp_path / "raw")
    other = replace(dataset, labels={2: "organ 2", 1: "organ 1", 3: "organ 3"})
    write_raw(replace(other, labels={1: "organ 1", 2: "organ 2"}), ["one"], tmp_path / "raw")
    gapped = one_case(tmp_path / "gapped", labels=(1, 7))
    write_raw(replace(gapped, name=dataset.name), ["one"], tmp_path / "raw")
    assert dataset.cases[0].label.read_bytes() == before


def test_the_split_is_ours_as_fold_0(tmp_path):
    write_split(Fold(("a", "b"), ("c",)), tmp_path)
    assert json.loads((tmp_path / "splits_final.json").read_text()) == [{"train": ["a", "b"], "val": ["c"]}]


@pytest.mark.parametrize("labels", [(1, 2), (3, 300)], ids=["bytes", "values over 255"])
def test_a_prediction_comes_back_with_our_values_on_the_scans_grid(tmp_path, labels):
    dataset = one_case(tmp_path / "data", labels=labels, dtype=np.uint16)
    case, numbers = dataset.cases[0], class_numbers(dataset.labels)
    stored = nibabel.load(case.label)
    truth = np.asarray(stored.dataobj)
    theirs = np.select([truth == value for value in numbers], list(numbers.values()), 0).astype(np.uint8)
    turned = nibabel.as_closest_canonical(nibabel.Nifti1Image(theirs, stored.affine))  # another axis order
    nibabel.save(turned, tmp_path / "theirs.nii.gz")
    convert_prediction(tmp_path / "theirs.nii.gz", dataset, case, tmp_path / "out" / "one.nii.gz")
    back = nibabel.load(tmp_path / "out" / "one.nii.gz")
    assert (np.asarray(back.dataobj) == truth).all()
    assert np.allclose(back.affine, stored.affine)


def test_a_prediction_of_unknown_classes_is_refused(tmp_path):
    dataset = one_case(tmp_path / "data")
    nibabel.save(nibabel.Nifti1Image(np.full((9, 8, 7), 3, np.uint8), TURNED), tmp_path / "theirs.nii.gz")
    with pytest.raises(ExternalFailed, match="classes 3, but was trained on 1, 2"):
        convert_prediction(tmp_path / "theirs.nii.gz", dataset, dataset.cases[0], tmp_path / "one.nii.gz")
    assert not (tmp_path / "one.nii.gz").exists()


def test_a_prediction_on_another_grid_is_refused(tmp_path):
    dataset = one_case(tmp_path / "data")
    nibabel.save(nibabel.Nifti1Image(np.ones((9, 8, 6), np.uint8), TURNED), tmp_path / "theirs.nii.gz")
    with pytest.raises(GridMismatch):
        convert_prediction(tmp_path / "theirs.nii.gz", dataset, dataset.cases[0], tmp_path / "one.nii.gz")


def test_a_scan_to_predict_needs_no_label_map(tmp_path):
    dataset = one_case(tmp_path / "data")
    write_scan(dataset, replace(dataset.cases[0], label=None), tmp_path / "one_0000.nii.gz")
    assert nibabel.load(tmp_path / "one_0000.nii.gz").shape == (9, 8, 7)


def test_our_reader_accepts_the_written_data_set(dataset_folder, tmp_path):
    root = write_raw(read_dataset(dataset_folder), [f"block_{n}" for n in range(6)], tmp_path)
    again = read_dataset(root)
    assert len(again.cases) == 6
    assert again.labels == {1: "bright", 2: "dark"}
