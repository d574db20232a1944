"""Corrected copies: what changes in them, and where they are written."""

import json

import nibabel
import numpy as np
import pytest

from sautomed import errors
from sautomed.datasets.doctor.examine import examine, fix
from sautomed.datasets.rules import LabelRules

from ..block_dataset import BlockDataset, affine, organs, scan
from .faults import changed, copied_scan, few_nan, float_label, unknown_value


def test_rules_are_applied_to_the_copy(blocks, tmp_path):
    unknown_value(blocks)
    mended = fix(examine(blocks.folder), tmp_path / "mended", LabelRules(map={7: 1}))
    assert not mended.left_out
    written = np.asarray(nibabel.load(tmp_path / "mended" / "labelsTr" / "case_2.nii.gz").dataobj)
    np.testing.assert_array_equal(written, changed(organs(2), (20, 20, slice(0, 3)), 1))
    assert "3 voxels" in " ".join(mended.changes["case_2"])
    assert mended.changes["case_1"] == ()


def test_a_copy_keeps_voxels_and_places(blocks, tmp_path):
    float_label(blocks)
    few_nan(blocks)
    plain = blocks.image(0).read_bytes()
    fix(examine(blocks.folder), tmp_path / "mended")
    assert (tmp_path / "mended" / "imagesTr" / "case_0_0000.nii.gz").read_bytes() == plain
    image = nibabel.load(tmp_path / "mended" / "imagesTr" / "case_2_0000.nii.gz")
    np.testing.assert_allclose(image.affine, affine())
    assert (image.header["qform_code"], image.header["sform_code"]) == (1, 1)
    before, after = scan(2), np.asarray(image.dataobj)
    assert after[0, 0, 0] == before.min()
    after[0, 0, 0] = before[0, 0, 0]
    np.testing.assert_array_equal(after, before)
    label = nibabel.load(tmp_path / "mended" / "labelsTr" / "case_2.nii.gz")
    assert label.get_data_dtype() == np.uint8
    np.testing.assert_array_equal(np.asarray(label.dataobj), organs(2))


def test_only_a_new_folder_outside_the_dataset_is_written(blocks, tmp_path):
    diagnosis = examine(blocks.folder)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("precious")
    for target in (tmp_path / "full", tmp_path / "full" / "mine.txt", blocks.folder / "mended", blocks.folder):
        with pytest.raises(errors.TargetExists, match="--fix"):
            fix(diagnosis, target)
    assert (tmp_path / "full" / "mine.txt").read_text() == "precious"
    (tmp_path / "empty").mkdir()
    fix(diagnosis, tmp_path / "empty")
    assert (tmp_path / "empty" / "dataset.json").exists()


def test_nothing_is_left_where_nothing_can_be_mended(tmp_path):
    blocks = BlockDataset(tmp_path / "data", count=1)
    blocks.write_image(0, np.full_like(scan(0), 7))
    with pytest.raises(errors.NoCases, match="constant"):
        fix(examine(blocks.folder), tmp_path / "mended")
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_an_interrupted_copy_leaves_nothing(blocks, tmp_path):
    diagnosis = examine(blocks.folder)

    def stop(done, total, case):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fix(diagnosis, tmp_path / "mended", on_case=stop)
    assert [path.name for path in tmp_path.iterdir()] == [blocks.folder.name]


def test_the_datasets_own_folds_go_with_the_copies(blocks, tmp_path):
    copied_scan(blocks)  # case_2 is case_1 again and is left out
    folds = [{"train": ["case_0", "case_3"], "val": ["case_1", "case_2"]}]
    (blocks.folder / "splits_final.json").write_text(json.dumps(folds))
    fix(examine(blocks.folder), tmp_path / "mended")
    written = json.loads((tmp_path / "mended" / "splits_final.json").read_text())
    assert written == [{"train": ["case_0", "case_3"], "val": ["case_1"]}]


def test_folds_that_cannot_be_kept_are_reported(blocks, tmp_path, caplog):
    (blocks.folder / "splits_final.json").write_text("{")
    fix(examine(blocks.folder), tmp_path / "mended")
    assert not (tmp_path / "mended" / "splits_final.json").exists()
    assert "The copies have no splits_final.json" in caplog.text


def test_names_in_headers_are_mapped_by_the_rules(blocks, tmp_path):
    blocks.name_labels(0, organs(0), {1: "Leber", 2: "right kidney"})
    rules = LabelRules(names={"leber": 1})
    mended = fix(examine(blocks.folder, rules=rules), tmp_path / "mended", rules)
    assert mended.left_out == {}
    found = nibabel.load(tmp_path / "mended" / "labelsTr" / "case_0.nii.gz")
    assert {int(value) for value in np.unique(found.dataobj)} == {0, 1, 2, 3, 4}
    assert examine(tmp_path / "mended").findings == ()


def test_a_copy_has_the_numbers_of_the_dataset(blocks, tmp_path):
    numbers = np.array([0, 4, 2, 3, 1], np.uint8)
    blocks.name_labels(0, numbers[organs(0)], {4: "liver", 1: "spleen", 2: "right kidney", 3: "left kidney"})
    mended = fix(examine(blocks.folder), tmp_path / "mended")
    assert mended.changes["case_0"] == ("labels renumbered by the names in the header",)
    found = np.asarray(nibabel.load(tmp_path / "mended" / "labelsTr" / "case_0.nii.gz").dataobj)
    np.testing.assert_array_equal(found, organs(0))
