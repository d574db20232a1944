"""Partial label maps are completed with background, and nothing else about them changes."""

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sautomed.scans.grid import NativeGrid
from sautomed.scans.partial import complete, on_common_grid
from sautomed.scans.volume import LabelMap

SHAPE = (8, 5, 4)
AFFINE = np.array([[0.0, 0, -2, 30], [0, -2, 0, 10], [5, 0, 0, -40], [0, 0, 0, 1]])


def whole(seed=0):
    array = np.random.default_rng(seed).integers(0, 3, SHAPE).astype(np.uint8)
    return LabelMap(array, AFFINE, NativeGrid(SHAPE, AFFINE), "axial", {1: "a", 2: "b"})


def part(labels, start, stop):
    affine = AFFINE.copy()
    affine[:3, 3] += affine[:3, 0] * start
    array = labels.array[start:stop]
    return replace(labels, array=array, affine=affine, native=NativeGrid(array.shape, affine), partial=True)


spans = st.tuples(st.integers(0, 7), st.integers(1, 8)).map(lambda pair: (pair[0], min(8, pair[0] + pair[1])))


def padded(labels, start, stop):
    array = labels.array.copy()
    array[:start], array[stop:] = 0, 0
    return array


@given(span=spans)
def test_a_part_is_put_at_its_place(span):
    labels = whole()
    found = complete(part(labels, *span), labels)
    np.testing.assert_array_equal(found.array, padded(labels, *span))
    assert found.native is labels.native
    assert not found.partial


@given(first=spans, second=spans)
def test_two_parts_come_onto_one_grid(first, second):
    one, two = whole(0), whole(1)
    found = on_common_grid(part(one, *first), part(two, *second))
    low, high = min(first[0], second[0]), max(first[1], second[1])
    for labels, original, span in zip(found, (one, two), (first, second), strict=True):
        np.testing.assert_array_equal(labels.array, padded(original, *span)[low:high])
        np.testing.assert_allclose(labels.affine, part(one, low, high).affine)
        assert labels.native.shape == labels.array.shape


def test_a_part_beyond_the_scan_or_between_its_voxels_stays_as_it_is():
    labels = whole()
    beyond = part(labels, 4, 8)
    short = replace(labels, array=labels.array[:6])
    assert complete(beyond, short) is beyond
    before, late = part(labels, 0, 3), replace(part(labels, 2, 8), partial=False)
    assert complete(before, late) is before
    moved = replace(beyond, affine=beyond.affine + _shift(0.3))
    assert complete(moved, labels) is moved
    assert on_common_grid(moved, part(labels, 0, 3))[0] is moved


def _shift(distance_mm):
    shift = np.zeros((4, 4))
    shift[0, 3] = distance_mm
    return shift


def test_whole_label_maps_are_never_filled_up():
    labels = whole()
    short = replace(part(labels, 2, 5), partial=False)
    assert on_common_grid(short, labels) == (short, labels)
