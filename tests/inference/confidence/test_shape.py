"""Size and pieces of organs."""

import numpy as np
import pytest

from sautomed.inference.confidence.shape import OrganSize, organ_shapes, organ_sizes, size_z
from sautomed.scans.grid import NativeGrid
from sautomed.scans.volume import LabelMap

AFFINE = np.diag([5.0, 2.0, 2.0, 1.0])


def label_map(array):
    return LabelMap(array, AFFINE, NativeGrid(array.shape, AFFINE), "axial", {1: "liver", 3: "spleen"})


def two_blocks():
    array = np.zeros((8, 10, 10), np.uint8)
    array[1:4, 2:6, 2:6] = 1  # 48 voxels
    array[6, 8, 8] = 1
    array[6, 8, 9] = 3  # another organ does not connect
    return array


def test_volume_and_extent():
    found = organ_sizes(label_map(two_blocks()))
    assert found["liver"] == OrganSize(pytest.approx(49 * 0.02), 4 * 5.0)  # four slices show it
    assert found["spleen"].volume_ml == pytest.approx(0.02)


def test_pieces_and_what_is_outside_of_the_largest():
    liver = organ_shapes(label_map(two_blocks()))["liver"]
    assert (liver.pieces, liver.stray) == (2, pytest.approx(1 / 49))


def test_voxels_that_share_a_corner_are_one_piece():
    array = np.zeros((4, 4, 4), np.uint8)
    array[0, 0, 0] = array[1, 1, 1] = 1
    assert organ_shapes(label_map(array))["liver"].pieces == 1


def test_an_organ_that_is_not_there_has_no_shape():
    assert organ_shapes(label_map(np.zeros((4, 4, 4), np.uint8))) == {}


def test_sizes_are_compared_by_their_logarithms():
    trained = [OrganSize(volume, 100.0) for volume in (500.0, 1000.0, 2000.0)]
    volume_z, extent_z = size_z(OrganSize(4000.0, 100.0), trained)
    assert volume_z == pytest.approx(2)  # log 2 is the standard deviation
    assert extent_z == 0
    assert size_z(OrganSize(1e-3, 100.0), trained)[0] == -5
    assert size_z(OrganSize(1000.0, 110.0), trained)[1] == pytest.approx(np.log(1.1) / 0.1)


def test_too_few_training_cases_compare_nothing():
    assert size_z(OrganSize(1.0, 1.0), [OrganSize(1.0, 1.0)]) is None
    assert size_z(OrganSize(float("nan"), 1.0), [OrganSize(1.0, 1.0)] * 3) is None
