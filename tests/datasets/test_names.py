"""File names of cases, and names without a partner."""

import pytest

from sautomed.datasets.names import case_name, in_number_order, unpaired_names, without_ending


@pytest.mark.parametrize(
    ("file", "case", "bare"),
    [
        ("a_0000.nii.gz", "a", "a_0000"),
        ("a_0000.nii", "a", "a_0000"),
        ("a.nii.gz", "a", "a"),
        ("a_0001.nii.gz", "a_0001", "a_0001"),
        ("a.gz", "a.gz", "a.gz"),
        ("a_0000.mha", "a", "a_0000"),
        ("a.seg.nrrd", "a", "a"),
        ("a.1.NRRD", "a.1", "a.1"),
    ],
)
def test_a_case_is_named_by_its_file(tmp_path, file, case, bare):
    assert (case_name(tmp_path / file), without_ending(file)) == (case, bare)


def test_numbers_are_sorted_as_numbers(tmp_path):
    names = ["case_10.nii.gz", "case_2.nii.gz", "case.nii.gz"]
    ordered = sorted((tmp_path / name for name in names), key=in_number_order)
    assert [path.name for path in ordered] == ["case.nii.gz", "case_2.nii.gz", "case_10.nii.gz"]


def test_names_on_one_side_only_come_with_the_most_similar_of_the_other():
    assert unpaired_names({"a", "liver_1"}, {"a", "liver_01"}) == [
        "image liver_1 (nearest: liver_01)",
        "label map liver_01 (nearest: liver_1)",
    ]
