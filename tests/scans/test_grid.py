"""Planes and views of a grid, by geometry that one checks in the head."""

import itertools

import numpy as np
import pytest

from sautomed.errors import BadGeometry
from sautomed.scans.grid import NativeGrid, choose_plane, orient, plane_of

ORIENTATIONS = [
    (order, signs) for order in itertools.permutations(range(3)) for signs in itertools.product((1, -1), repeat=3)
]


def axis_affine(order, signs, spacing=(1.0, 2.0, 3.0), origin=(-7.0, 11.0, 13.0)):
    """File axis i runs along RAS axis order[i], in direction signs[i]."""
    affine = np.eye(4)
    affine[:3, :3] = 0
    for i in range(3):
        affine[order[i], i] = signs[i] * spacing[i]
    affine[:3, 3] = origin
    return affine


@pytest.mark.parametrize(
    ("plane", "up", "right", "onward"),  # RAS axis and direction of the first row, the last column, the last slice
    [
        ("axial", (1, 1), (0, -1), (2, 1)),  # anterior up, the patient's left on the right, from feet to head
        ("coronal", (2, 1), (0, -1), (1, -1)),  # head up, the patient's left on the right, from front to back
        ("sagittal", (2, 1), (1, -1), (0, -1)),  # head up, the face to the left, from right to left
    ],
)
def test_slices_look_as_a_radiologist_sees_them(plane, up, right, onward):
    native = NativeGrid((9, 9, 9), np.eye(4))  # RAS: the index grows to the right, to anterior, to superior
    for (axis, direction), seen_at in ((up, (4, 0, 4)), (right, (4, 4, 8)), (onward, (8, 4, 4))):
        place = [4, 4, 4]
        place[axis] += 4 * direction
        array = np.zeros(native.shape)
        array[tuple(place)] = 1
        assert np.argwhere(orient(array, native, plane)[0]).tolist() == [list(seen_at)]


@pytest.mark.parametrize(
    ("spacing", "plane"),
    [
        ((1, 1, 5), "axial"),
        ((1, 5, 1), "coronal"),
        ((5, 1, 1), "sagittal"),
        ((1, 1, 1), "axial"),
        ((1.2, 1, 1), "axial"),
        ((1.26, 1, 1), "sagittal"),
        ((0.5, 3, 3), "axial"),
    ],
)
def test_the_coarsest_axis_is_the_one_across_the_slices(spacing, plane):
    assert plane_of(spacing) == plane


@pytest.mark.parametrize(("order", "signs"), ORIENTATIONS)
def test_the_plane_does_not_depend_on_how_the_file_stores_its_axes(order, signs):
    by_ras = (1.0, 6.0, 1.0)
    affine = axis_affine(order, signs, [by_ras[axis] for axis in order])
    assert choose_plane(NativeGrid((8, 8, 8), affine)) == "coronal"


def test_a_single_slice_is_its_own_plane_whatever_its_thickness():
    assert choose_plane(NativeGrid((1, 64, 64), np.eye(4))) == "sagittal"
    assert choose_plane(NativeGrid((64, 64, 1), np.eye(4))) == "axial"
    assert choose_plane(NativeGrid((1, 64, 64), np.eye(4)), "coronal") == "coronal"


def test_an_affine_without_volume_is_refused():
    flat = np.diag([1.0, 1.0, 0.0, 1.0])
    with pytest.raises(BadGeometry, match="affine"):
        orient(np.zeros((2, 2, 2)), NativeGrid((2, 2, 2), flat), "axial")
