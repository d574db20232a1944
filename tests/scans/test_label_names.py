"""Labels go by the names that their files give."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sautomed import errors
from sautomed.scans.grid import NativeGrid
from sautomed.scans.label_names import (
    MAX_NAME,
    is_placeholder,
    match_names,
    numbering,
    plain_name,
    readable_name,
)
from sautomed.scans.volume import LabelMap

ORGANS = {1: "liver", 2: "right_kidney", 3: "spleen"}


def label_map(values, names):
    array = np.array(values, np.uint8).reshape(1, 1, -1)
    return LabelMap(array, np.eye(4), NativeGrid((array.size, 1, 1), np.eye(4)), "axial", names)


def matched(values, names, wanted=ORGANS, renames=None):
    found = match_names(label_map(values, names), wanted, where="a.nrrd", renames=renames or {})
    assert found.names == wanted
    return found.array.ravel().tolist()


@pytest.mark.parametrize(
    ("first", "second"), [("Right_Kidney", "right kidney"), ("left-lung ", "Left  Lung"), ("Straße", "STRASSE")]
)
def test_case_and_separators_make_no_other_name(first, second):
    assert plain_name(first) == plain_name(second)


@pytest.mark.parametrize("name", ["", "_", "Segment_1", "label 3", "Label3", "7", "class-12", "ROI 1"])
def test_names_that_only_number_labels_are_no_names(name):
    assert is_placeholder(name)


@pytest.mark.parametrize("name", ["L1", "T12", "liver", "segment", "rib 3", "liver segment 1"])
def test_names_with_a_meaning_are(name):
    assert not is_placeholder(name)


def test_names_of_files_are_one_line_that_can_be_printed():
    assert readable_name(" a\tb\x1b[2J\u202e\n c ") == "a b [2J c"
    assert len(readable_name("a" * 1000)) == MAX_NAME


def test_values_follow_their_names():
    assert matched([0, 1, 2, 3], {1: "Spleen", 2: "Liver", 3: "right kidney"}) == [0, 3, 1, 2]


def test_two_segments_of_one_organ_become_one_label():
    assert matched([0, 1, 2], {1: "Liver", 2: "liver"}) == [0, 1, 1]


def test_values_without_names_keep_their_numbers():
    assert matched([0, 1, 2, 7], {}) == [0, 1, 2, 7]
    assert matched([0, 1, 2, 3], {1: "Segment_1", 2: "right kidney"}) == [0, 1, 2, 3]


def test_values_without_names_among_renumbered_ones_say_nothing():
    with pytest.raises(errors.UnmatchedNames, match=r"Segment_3 \(value 3\)"):
        matched([0, 1, 2, 3], {1: "right kidney", 2: "liver", 3: "Segment_3"})
    assert matched([0, 1, 2], {1: "right kidney", 2: "liver", 3: "Segment_3"}) == [0, 2, 1]
    with pytest.raises(errors.UnmatchedNames, match=r"label 3 \(value 3\)"):
        matched([0, 1, 3], {1: "right kidney"})


def test_a_name_that_is_none_of_the_labels_is_refused_only_if_a_voxel_has_it():
    assert matched([0, 1], {1: "liver", 2: "tumour"}) == [0, 1]
    with pytest.raises(errors.UnmatchedNames) as caught:
        matched([0, 1, 2], {1: "liver", 2: "big tumour"})
    assert (caught.value.id, caught.value.exit_code, caught.value.names) == ("SAM-E0326", 3, ("big tumour",))
    assert "a.nrrd: names labels that are none of 1 liver, 2 right_kidney, 3 spleen" in str(caught.value)
    assert "--map 'big tumour=LABEL'" in caught.value.cure
    assert "--ignore 'big tumour'" in caught.value.cure


def test_renames_give_further_names_a_label():
    assert matched([0, 1, 2], {1: "Leber", 2: "tumour"}, renames={"leber": 1, "tumour": 0}) == [0, 1, 0]


def test_labels_whose_names_differ_in_case_only_are_matched_exactly():
    wanted = {1: "L", 2: "l"}
    assert matched([1, 2], {1: "l", 2: "L"}, wanted) == [2, 1]
    assert numbering({1: "L_", 2: "liver"}, wanted).unmatched == {1: "L_", 2: "liver"}  # which of the two?


@given(
    order=st.permutations(sorted(ORGANS)),
    values=st.lists(st.integers(0, 3), min_size=1, max_size=30),
    offset=st.integers(0, 200),
)
def test_any_numbering_comes_to_the_same_labels(order, values, offset):
    number = {0: 0} | {label: place + offset for place, label in enumerate(order, start=1)}
    names = {number[label]: name for label, name in ORGANS.items()}
    assert matched([number[label] for label in values], names) == values
