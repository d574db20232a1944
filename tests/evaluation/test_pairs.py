"""Predictions and references belong together by case id; their label names must agree."""

import json

import pytest

from sautomed import errors
from sautomed.evaluation.pairs import Pairs, find_label_names, label_names, pair_files


@pytest.fixture
def folders(tmp_path):
    """Empty files: three predictions, of which two have a reference, and a reference without a prediction."""
    for path in ("predictions/a.nii.gz", "predictions/b.mha", "predictions/z.nii", "references/a.nrrd",
                 "references/b.nii.gz", "references/c.nii.gz"):  # fmt: skip
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).touch()
    return tmp_path / "predictions", tmp_path / "references"


def name_labels(folder, **labels):
    (folder / "dataset.json").write_text(json.dumps({"labels": {"background": 0, **labels}}))


def test_files_pair_by_case_id_whatever_their_format(folders):
    predictions, references = folders
    pairs = pair_files(predictions, references, None)
    assert pairs.files == {
        "a": (predictions / "a.nii.gz", references / "a.nrrd"),
        "b": (predictions / "b.mha", references / "b.nii.gz"),
    }
    assert (pairs.unmatched, pairs.unpredicted) == (("z",), ("c",))


def test_two_single_files_pair_whatever_their_names(folders):
    prediction, reference = folders[0] / "z.nii", folders[1] / "c.nii.gz"
    assert pair_files(prediction, reference, None) == Pairs({"c": (prediction, reference)})


def test_a_single_prediction_pairs_with_its_reference_in_a_folder(folders):
    prediction = folders[0] / "b.mha"
    assert pair_files(prediction, folders[1], None) == Pairs({"b": (prediction, folders[1] / "b.nii.gz")})


def test_no_common_case_is_refused(folders):
    with pytest.raises(
        errors.NoCases, match=r"any of the 3 references.*Name them as the references: a\.nii\.gz, "
    ) as caught:
        pair_files(folders[0] / "z.nii", folders[1], None)
    assert (caught.value.id, caught.value.exit_code) == ("SAM-E0309", 3)


def test_two_files_of_one_case_are_ambiguous(folders):
    (folders[0] / "a.nii").touch()
    with pytest.raises(errors.UnpairedFiles, match=r"a\.nii and a\.nii\.gz are the same case"):
        pair_files(*folders, None)


@pytest.mark.parametrize("which", [0, 1])
def test_missing_and_empty_folders_are_refused(folders, tmp_path, which):
    paths = list(folders)
    paths[which] = tmp_path / "empty"
    with pytest.raises(errors.MissingFile, match="does not exist"):
        pair_files(*paths, None)
    paths[which].mkdir()
    with pytest.raises(errors.NoCases, match="has no cases"):
        pair_files(*paths, None)


def test_label_names_are_read_in_or_beside_a_folder(folders, tmp_path):
    predictions, references = folders
    assert find_label_names(predictions, references) is None
    name_labels(references, liver=1, spleen=2)
    assert find_label_names(predictions) is None
    assert find_label_names(predictions, references / "a.nrrd") == {1: "liver", 2: "spleen"}
    name_labels(tmp_path, liver=1, spleen=2)
    assert find_label_names(predictions) == label_names(predictions, references, None) == {1: "liver", 2: "spleen"}


def test_label_names_that_disagree_are_refused(folders):
    name_labels(folders[0], spleen=1, liver=2)
    name_labels(folders[1], liver=1, spleen=2)
    with pytest.raises(errors.BadDatasetJson, match=r"names other labels \(1 liver, 2 spleen\).*\(1 spleen, 2 liver\)"):
        label_names(*folders, None)
