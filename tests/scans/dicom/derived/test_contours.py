import numpy as np
from hypothesis import given, settings
from hypothesis.extra.numpy import array_shapes, arrays
from matplotlib.path import Path as Polygon

from sautomed.scans.dicom.derived.contours import area, fill, outlines

MASKS = arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=12))


@settings(max_examples=150, deadline=None)
@given(MASKS)
def test_outlines_filled_one_by_one_cover_every_pixel_once(mask):
    covered = np.zeros(mask.shape, int)
    for outline in outlines(mask):
        inside = fill(outline - 0.5, mask.shape)
        assert area(outline.astype(float)) == inside.sum()
        covered += inside
    np.testing.assert_array_equal(covered, mask)


@settings(max_examples=60, deadline=None)
@given(MASKS)
def test_another_rasteriser_agrees(mask):
    rows, columns = np.indices(mask.shape)
    centres = np.column_stack([columns.ravel(), rows.ravel()])
    found = np.zeros(mask.shape, bool)
    for outline in outlines(mask):
        closed = np.vstack([outline, outline[:1]]) - 0.5
        found |= Polygon(closed).contains_points(centres).reshape(mask.shape)
    np.testing.assert_array_equal(found, mask)


def test_a_single_pixel_is_a_square():
    mask = np.zeros((3, 4), bool)
    mask[1, 2] = True
    (square,) = outlines(mask)
    assert {tuple(corner) for corner in square} == {(2, 1), (3, 1), (3, 2), (2, 2)}


def test_a_rectangle_has_four_corners():
    (rectangle,) = outlines(np.ones((3, 7), bool))
    assert len(rectangle) == 4


def test_a_ring_is_one_polygon_with_its_hole_open():
    ring = np.ones((5, 5), bool)
    ring[2, 2] = False
    (polygon,) = outlines(ring)
    assert area(polygon.astype(float)) == 24


def test_pixels_that_touch_at_a_corner_are_two_islands():
    assert len(outlines(np.eye(2, dtype=bool))) == 2


def test_an_island_in_a_hole_is_a_polygon_of_its_own():
    mask = np.ones((7, 7), bool)
    mask[1:6, 1:6] = False
    mask[3, 3] = True
    assert sorted(area(each.astype(float)) for each in outlines(mask)) == [1, 24]


def test_nothing_has_no_outline():
    assert outlines(np.zeros((3, 3), bool)) == []


def test_the_part_outside_of_the_grid_is_cut_off():
    square = np.array([[-5.5, -5.5], [1.5, -5.5], [1.5, 1.5], [-5.5, 1.5]])
    inside = fill(square, (4, 4))
    assert inside.sum() == 4
    assert inside[:2, :2].all()
