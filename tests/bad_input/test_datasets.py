"""The rows of the bad-input table that concern a dataset: scans beside their label maps, classes and pairs."""

import os

import nibabel
import numpy as np
import pytest

from ..datasets.block_dataset import SHAPE, SPACING, affine, organs
from .conftest import write


def moved(mm):
    matrix = affine()
    matrix[0, 3] += mm
    return matrix


# --- image/label shape or spacing mismatch ---


def test_shape_mismatch_is_told_with_both_geometries(blocks, train, tmp_path):
    blocks.write_label(2, organs(2)[:, :, :-2])
    code, output = train(blocks.folder)
    assert code == 3
    geometries = ("40 x 32 x 12 voxels of 8 x 8 x 10 mm", "40 x 32 x 10 voxels of 8 x 8 x 10 mm")
    for words in ("SAM-E0307", "case case_2", "different shapes", *geometries, "--regrid-labels"):
        assert words in output
    assert not (tmp_path / "run" / "fold_0" / "model").exists()


@pytest.mark.slow
def test_spacing_mismatch_is_told_and_regridded_with_a_report(blocks, train, caplog):
    coarse = affine((16.0, 16.0, 10.0))
    coarse[:3, 3] = affine()[:3, 3] + [4, 4, 0]
    blocks.write_label(2, organs(2)[::2, ::2], coarse)
    code, output = train(blocks.folder)
    assert (code, "16 x 16 x 10 mm" in output, "8 x 8 x 10 mm" in output) == (3, True, True)
    assert train(blocks.folder, "--regrid-labels")[0] == 0
    for words in ("case_2.nii.gz: label map brought onto the scan's grid (resampled)", "labelled voxels became"):
        assert words in caplog.text


# --- image/label affine mismatch ---


def test_affine_mismatch_above_the_tolerance_is_an_error(blocks, train, command):
    blocks.write_label(1, organs(1), moved(0.3))
    code, output = train(blocks.folder)
    assert code == 3
    for words in ("SAM-E0307", "case case_1", "lie up to 0.3 mm apart at the corners", "--regrid-labels"):
        assert words in output
    code, output = command("doctor", blocks.folder)
    assert code == 3
    assert "0.3 mm apart at the corners" in output


def test_affine_mismatch_below_the_tolerance_is_a_warning(blocks, command):
    from sautomed.datasets import read_dataset

    blocks.write_label(1, organs(1), moved(0.05))
    dataset = read_dataset(blocks.folder)
    (warning,) = dataset.load(dataset.cases[1])[0].warnings
    assert "case case_1" in warning
    assert "lie up to 0.05 mm apart at the corners" in warning
    code, output = command("doctor", blocks.folder)
    assert code == 0
    for words in ("warning", "grids", "0.05 mm apart at the corners"):
        assert words in output


def test_what_headers_round_is_no_mismatch(blocks, command):
    blocks.write_label(1, organs(1), moved(0.002))
    code, output = command("doctor", blocks.folder)
    assert (code, "no warnings" in output) == (0, True)


@pytest.mark.slow
def test_affine_mismatch_below_the_tolerance_is_told_by_training(blocks, train, caplog):
    blocks.write_label(1, organs(1), moved(0.05))
    assert train(blocks.folder)[0] == 0
    assert "0.05 mm apart at the corners; below 0.1 mm they are taken for one grid" in caplog.text


# --- empty mask (training) ---


def test_empty_masks_in_training(blocks, train, command):
    for number in range(blocks.count):
        labels = organs(number)
        labels[labels == 4] = 0
        blocks.write_label(number, labels)
    code, output = train(blocks.folder)
    assert code == 3
    for words in (
        "SAM-E0324",
        "fold 0 cannot be trained",
        "4 spleen has no voxel in its 4 training cases",
        "--ignore 4",
    ):
        assert words in output
    code, output = command("doctor", blocks.folder)
    assert code == 3
    assert "class 4 spleen has no voxel in any of the 5 label maps" in output


def test_a_class_that_only_the_validation_shows(blocks, train, command):
    from sautomed.datasets.folds import make_folds

    fold = make_folds([f"case_{number}" for number in range(blocks.count)])[0]
    for case in fold.train:
        labels = organs(int(case[-1]))
        labels[labels == 4] = 0
        blocks.write_label(int(case[-1]), labels)
    code, output = train(blocks.folder)
    assert code == 3
    for words in ("SAM-E0324", "4 spleen has no voxel", "Only validation cases show it", "--seed"):
        assert words in output
    code, output = command("doctor", blocks.folder)
    assert (code, "class 4 spleen is in no training case of fold 0" in output) == (0, True)


# --- label values not in the map ---


@pytest.fixture
def strange(blocks):
    for number, count in ((1, 2), (3, 1)):
        labels = organs(number)
        labels[0, 0, :count] = 9
        blocks.write_label(number, labels)
    return blocks


def test_label_values_not_in_the_map(strange, train, command, tmp_path):
    for code, output in (train(strange.folder), command("doctor", strange.folder)):
        assert code == 3
        for words in ("SAM-E0308", "9 (", "case_1", "case_3", "--map 9=LABEL", "--ignore 9", "1 liver"):
            assert words in output or words == "SAM-E0308"
    assert "9 (3 voxels in 2 cases: case_1, case_3)" in train(strange.folder)[1]
    for number, flags in enumerate((["--map", "9=1"], ["--ignore", "9"])):
        fixed = tmp_path / f"fixed_{number}"
        assert command("doctor", strange.folder, "--fix", fixed, *flags)[0] == 0
        assert command("doctor", fixed)[0] == 0


# --- float or scaled labels, more than 255 classes ---


def test_float_labels_in_a_dataset(blocks, train):
    blocks.write_label(2, organs(2).astype(np.float32) * 0.5)
    code, output = train(blocks.folder)
    assert code == 3
    for words in ("SAM-E0312", "case_2.nii.gz", "no whole numbers", "resample it again by nearest neighbour"):
        assert words in output


def test_more_than_255_classes_in_training_are_refused(blocks, train):
    blocks.describe(labels={f"organ_{value}": value for value in range(1, 257)})
    code, output = train(blocks.folder)
    assert (code, "SAM-E0311" in output, "256" in output) == (3, True, True)


# --- missing case pair, extra files ---


def test_missing_pairs_are_listed_with_the_nearest_name(blocks, train, command):
    blocks.label(1).rename(blocks.label(1).with_name("case_01.nii.gz"))
    blocks.image(3).unlink()
    for code, output in (train(blocks.folder), command("doctor", blocks.folder)):
        assert code == 3
        for words in ("image case_1 (nearest: case_01)", "label map case_01 (nearest: case_1)", "label map case_3"):
            assert words in output
        assert "3 files have no partner" in output
        assert "CASE_0000.nii.gz in imagesTr" in output


def test_extra_files_are_listed(blocks, command):
    write(blocks.folder / "imagesTr" / "notes.nii.gz")
    code, output = command("doctor", blocks.folder)
    assert code == 0
    assert "belongs to no case: imagesTr/notes.nii.gz" in output


def test_unmatched_predictions_are_told(command, refused, tmp_path):
    for name in ("masks/a", "truth/a", "truth/b", "masks/c"):
        write(tmp_path / f"{name}.nii.gz", organs())
    code, output = command("evaluate", "-p", tmp_path / "masks", "-r", tmp_path / "truth", "-o", tmp_path / "scores")
    assert (code, "1 references (see summary.json)" in output) == (0, True)
    (tmp_path / "masks" / "a.nii.gz").unlink()
    out = tmp_path / "none"
    words = ["no prediction for any of the 2 references", "a.nii.gz, b.nii.gz"]
    order = ("evaluate", "-p", tmp_path / "masks", "-r", tmp_path / "truth", "-o", out)
    refused(3, "SAM-E0309", words, *order, target=out)
    single = ("evaluate", "-p", tmp_path / "masks" / "c.nii.gz", "-r", tmp_path / "truth", "-o", out)
    refused(3, "SAM-E0309", words, *single, target=out)


@pytest.mark.skipif(os.name != "posix", reason="Windows lets few users make links")
@pytest.mark.parametrize("which", ["image", "label"])
def test_a_link_to_a_file_that_was_not_fetched_is_named(blocks, train, command, which):
    path = getattr(blocks, which)(1)
    path.unlink()
    path.symlink_to("objects/1f2e")
    for code, output in (train(blocks.folder), command("doctor", blocks.folder)):
        assert code == 3
        for words in (path.name, "is a link to objects/1f2e, which is not there", "git annex get"):
            assert "".join(words.split()) in "".join(output.split())  # long paths are broken between lines


# --- what is what ---


def test_a_scan_given_as_a_label_map(blocks, train):
    blocks.label(1).write_bytes(blocks.image(1).read_bytes())
    code, output = train(blocks.folder)
    assert code == 3
    for words in ("SAM-E0312", "case_1.nii.gz", "If this is a scan, give its label map"):
        assert words in output


def test_the_builder_is_sound(blocks, command):
    assert nibabel.load(blocks.image(0)).shape == SHAPE
    assert nibabel.load(blocks.image(0)).header.get_zooms() == SPACING
    assert command("doctor", blocks.folder)[0] == 0
