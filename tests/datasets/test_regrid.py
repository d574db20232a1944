"""Label maps brought onto the grid of their scan."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sautomed import errors
from sautomed.datasets.regrid import regrid_labels
from sautomed.scans.grid import PLANES, NativeGrid, orient
from sautomed.scans.volume import LabelMap

from .block_dataset import SPACING, affine, organs


def label_map(array, matrix, plane="axial"):
    native = NativeGrid(array.shape, matrix)
    turned, turned_affine = orient(array, native, plane)
    return LabelMap(np.ascontiguousarray(turned), turned_affine, native, plane)


@settings(max_examples=25, deadline=None)
@given(
    flips=st.tuples(*[st.sampled_from([-1, 1])] * 3),
    order=st.permutations(range(3)),
    plane=st.sampled_from(PLANES),
    seed=st.integers(0, 99),
)
def test_a_grid_that_is_only_turned_gives_the_same_voxels(flips, order, plane, seed):
    """The label map is stored along other axes; nearest neighbour finds every voxel again."""
    array = np.random.default_rng(seed).integers(0, 4, (5, 6, 7)).astype(np.uint8)
    matrix = np.diag([2.0, 3.0, 4.0, 1.0])
    matrix[:3, 3] = (5, -7, 11)
    wanted = label_map(array, matrix, plane)
    turn = np.zeros((4, 4))
    turn[3, 3] = 1
    stored = array.transpose(order)[tuple(slice(None, None, flip) for flip in flips)]
    for axis, (source, flip) in enumerate(zip(order, flips, strict=True)):
        turn[source, axis] = flip
        turn[source, 3] = 0 if flip > 0 else array.shape[source] - 1
    found, done = regrid_labels(label_map(stored, matrix @ turn, plane), wanted.native, plane)
    np.testing.assert_array_equal(found.array, wanted.array)
    assert (done.method, done.outside) == ("none", 0)


def test_a_coarser_label_map_fills_the_finer_scan():
    coarse = np.zeros((4, 4, 4), np.uint8)
    coarse[1:3, 1:3, 1:3] = 2
    matrix = np.diag([2.0, 2.0, 2.0, 1.0])
    fine = np.diag([1.0, 1.0, 1.0, 1.0])
    fine[:3, 3] = -0.5  # the two small voxels lie within the large one
    found, done = regrid_labels(label_map(coarse, matrix), NativeGrid((8, 8, 8), fine), "axial")
    np.testing.assert_array_equal(found.to_native(), coarse.repeat(2, 0).repeat(2, 1).repeat(2, 2))
    assert (done.method, done.voxels_before, done.voxels_after) == ("resampled", 8, 64)


def test_a_shift_of_less_than_half_a_voxel_moves_no_label():
    array = organs()
    moved = affine()
    moved[:3, 3] += 0.3 * np.array(SPACING)
    found, done = regrid_labels(label_map(array, moved), NativeGrid(array.shape, affine()), "axial")
    np.testing.assert_array_equal(found.to_native(), array)
    assert done.method == "resampled"


def test_a_label_map_with_a_default_header_takes_that_of_its_scan():
    array = organs()
    found, done = regrid_labels(label_map(array, np.eye(4)), NativeGrid(array.shape, affine()), "axial")
    np.testing.assert_array_equal(found.to_native(), array)
    np.testing.assert_array_equal(found.native.affine, affine())
    assert done.method == "header taken from the scan"


def test_a_label_map_elsewhere_in_the_patient_is_refused():
    array = organs()
    far = affine()
    far[0, 3] += 200
    with pytest.raises(errors.GridMismatch, match=r"labelled voxels.*field of view"):
        regrid_labels(label_map(array, far), NativeGrid(array.shape, affine()), "axial", where="case 1")
