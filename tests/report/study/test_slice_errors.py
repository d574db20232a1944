import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra.numpy import arrays

from sautomed.report.study.slice_errors import CAUSES, near_surface, slice_dsc, split_errors

SPACING_MM = (5.0, 1.0, 1.0)
masks = arrays(bool, (4, 5, 6))


def cube(slices=slice(3, 7), rows=slice(10, 30), columns=slice(10, 30)) -> np.ndarray:
    mask = np.zeros((10, 40, 40), dtype=bool)
    mask[slices, rows, columns] = True
    return mask


def causes_of(truth, found) -> dict[str, int]:
    counts = split_errors(truth, found, near_surface(truth, SPACING_MM))
    return {cause: count for cause, count in counts.items() if count}


@given(truth=masks, found=masks)
@settings(max_examples=60, deadline=None)
def test_every_wrong_voxel_stands_under_one_cause(truth, found):
    counts = split_errors(truth, found, near_surface(truth, SPACING_MM))
    assert set(counts) == set(CAUSES)
    assert sum(counts.values()) == (truth ^ found).sum()
    assert min(counts.values()) >= 0


def test_two_equal_masks_have_no_error():
    assert causes_of(cube(), cube()) == {}


def test_false_organ_past_its_last_slice():
    assert causes_of(cube(), cube(slices=slice(3, 9))) == {"beyond": 2 * 400}


def test_slices_within_the_organ_on_which_nothing_was_found():
    found = cube()
    found[4] = False
    assert causes_of(cube(), found) == {"missed_slices": 400}


def test_an_organ_that_was_not_found_and_one_that_is_not_there():
    nothing = np.zeros_like(cube())
    assert causes_of(cube(), nothing) == {"missed": 4 * 400}
    assert causes_of(nothing, cube()) == {"invented": 4 * 400}


def test_a_shift_by_one_voxel_is_a_matter_of_the_outline():
    assert set(causes_of(cube(), np.roll(cube(), 1, axis=2))) == {"boundary"}


def test_a_false_piece_beside_the_organ_lies_farther_off():
    found = cube()
    found[4, 10:12, 36:39] = True  # 6 mm and more from column 29
    assert causes_of(cube(), found) == {"inner": 6}


@pytest.mark.parametrize(("distance", "is_near"), [(1, True), (5, True), (6, False)])
def test_what_is_near_is_told_in_mm(distance, is_near):
    near = near_surface(cube(), SPACING_MM)
    assert near[4, 20, 29 + distance] == is_near


def test_a_voxel_beside_the_outline_is_near_however_large_it_is():
    near = near_surface(cube(), (5.0, 20.0, 20.0))
    assert near[4, 20, 30]
    assert not near[4, 20, 31]


def test_dsc_of_a_slice_is_known_where_the_truth_has_the_organ():
    found = cube(rows=slice(10, 20))
    found[4] = False
    dsc = slice_dsc(cube(), found)
    assert np.isnan(dsc[[0, 2, 7]]).all()
    assert dsc[3] == pytest.approx(2 / 3)
    assert dsc[4] == 0
