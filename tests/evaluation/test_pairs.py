"""Predictions and references belong together by case id."""

import pytest

from sautomed import errors
from sautomed.evaluation.pairs import Pairs, pair_files


@pytest.fixture
def folders(tmp_path):
    """Empty files: three predictions, of which two have a reference, and a reference without a prediction."""
    for path in ("predictions/a.nii.gz", "predictions/b.mha", "predictions/z.nii", "references/a.nrrd",
                 "references/b.nii.gz", "references/c.nii.gz"):  # fmt: skip
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).touch()
    return tmp_path / "predictions", tmp_path / "references"


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
