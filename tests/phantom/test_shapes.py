"""Solids and their combinations on a straight 2 mm lattice, where volumes and positions can be checked by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sautomed.phantom.combine import Cached, Difference, Grown, Intersection, Rough, Union
from sautomed.phantom.grid import Grid, Lattice, Pose
from sautomed.phantom.shapes import Barrel, Ellipsoid, HalfSpace, Solid, Tube

STEP = 2.0
SIDE = 50


def straight_grid() -> Grid:
    lattice = Lattice((SIDE,) * 3, (STEP,) * 3, (-49.0,) * 3)
    pose = Pose(np.ones(3), np.eye(3), np.zeros(3))
    z, y, x = np.meshgrid(*lattice.axes_mm(), indexing="ij")
    lobes = np.sin(x / 5).astype(np.float32)
    return Grid(lattice, pose, x, y, z, lobes, drift_mm=np.zeros((2, 3, 9, 9, 9)))


GRID = straight_grid()
BALL = Ellipsoid((0, 0, 0), (20, 20, 20))
centres = st.tuples(*[st.floats(-15, 15)] * 3)
sizes = st.floats(6, 18)
balls = st.builds(lambda c, r: Ellipsoid(c, (r, r, r)), centres, sizes)


def inside_of(solid: Solid) -> np.ndarray:
    return solid.distance(GRID, GRID.everything()) < 0


def off_surface_of(solid: Solid) -> np.ndarray:
    """Return points off the surface; for points exactly on it, rounding decides between inside and outside."""
    return np.abs(solid.distance(GRID, GRID.everything())) > 1e-3


def volume_ml(solid: Solid) -> float:
    return inside_of(solid).sum() * STEP**3 / 1000


def test_an_ellipsoid_has_its_volume_however_it_is_turned():
    expected = 4 / 3 * np.pi * 30 * 20 * 12 / 1000
    for turn in ((0, 0, 0), (0, 0, 90), (25, -40, 70)):
        assert volume_ml(Ellipsoid((1, 2, 3), (30, 20, 12), turn)) == pytest.approx(expected, rel=0.03)


def test_turning_about_z_by_90_degrees_swaps_x_and_y():
    long_in_x = inside_of(Ellipsoid((0, 0, 0), (30, 10, 10)))
    turned = inside_of(Ellipsoid((0, 0, 0), (30, 10, 10), turn=(0, 0, 90)))
    assert np.array_equal(turned, long_in_x.transpose(0, 2, 1))


def test_a_balls_distance_is_in_millimetres():
    distance = BALL.distance(GRID, GRID.everything())
    true = np.sqrt(GRID.x**2 + GRID.y**2 + GRID.z**2) - 20
    near = np.abs(true) < 5
    assert np.allclose(distance[near], true[near], atol=1e-3)


def test_a_straight_tube_is_a_cylinder_with_round_ends():
    tube = Tube([(0, 0, -20), (0, 0, 0), (0, 0, 20)], [8, 8, 8])
    assert volume_ml(tube) == pytest.approx((np.pi * 64 * 40 + 4 / 3 * np.pi * 512) / 1000, rel=0.05)


def test_a_tube_passes_through_its_points_and_narrows():
    tube = Tube([(-30, 0, 0), (0, 20, 0), (30, 0, 0)], [10, 10, 2])
    for point in tube.points:
        k, j, i = (round((c + 49) / STEP) for c in point[::-1])
        assert inside_of(tube)[k, j, i]
    across = inside_of(tube).sum(axis=(0, 1))
    assert across[10] > 4 * across[40]


def test_a_barrel_follows_its_levels_and_ends():
    barrel = Barrel([(-40, 10, 10, 0), (40, 30, 10, 0)], low=-20, high=20)
    width = inside_of(barrel).any(axis=1).sum(axis=1) * STEP
    heights = GRID.z[:, 0, 0]
    assert not width[np.abs(heights) > 20].any()
    assert width[heights == 19][0] == pytest.approx(2 * (10 + 20 * 59 / 80), abs=2 * STEP)


@given(balls, balls)
@settings(max_examples=25, deadline=None)
def test_joining_and_cutting_obey_set_algebra(a, b):
    in_a, in_b, decided = inside_of(a), inside_of(b), off_surface_of(a) & off_surface_of(b)
    assert np.array_equal(inside_of(Union([a, b])), in_a | in_b)
    assert np.array_equal(inside_of(Intersection(a, b)), in_a & in_b)
    assert np.array_equal(inside_of(Difference(a, b)) & decided, in_a & ~in_b & decided)


@given(balls, balls, st.floats(1, 15))
@settings(max_examples=25, deadline=None)
def test_blending_only_adds_to_a_union_and_takes_from_a_cut(a, b, blend_mm):
    assert not (inside_of(Union([a, b])) & ~inside_of(Union([a, b], blend_mm))).any()
    assert not (inside_of(Difference(a, b, blend_mm)) & ~inside_of(Difference(a, b))).any()


@given(balls)
@settings(max_examples=25, deadline=None)
def test_bounds_hold_the_solid_and_its_window_sees_all_of_it(ball):
    tube = Tube([ball.centre, (0.0, 0.0, 0.0), (5.0, 30.0, -5.0)], [4, 6, 5], squash=(1.3, 0.8, 1))
    for solid in (ball, tube, Grown(ball, 4), Rough(tube, 1.0), Union([ball, tube], 6)):
        window = GRID.window(*solid.bounds())
        everywhere = solid.distance(GRID, GRID.everything()) < 0
        assert everywhere.sum() == everywhere[window].sum()
        assert np.array_equal(solid.distance(GRID, window) < 0, everywhere[window])


def test_growing_moves_the_surface_and_roughness_makes_it_uneven():
    assert volume_ml(Grown(BALL, 5)) == pytest.approx(4 / 3 * np.pi * 25**3 / 1000, rel=0.03)
    smooth, rough = inside_of(BALL), inside_of(Rough(BALL, 3))
    assert (smooth & ~rough).any()
    assert (rough & ~smooth).any()


def test_a_half_space_ends_at_its_plane():
    left = inside_of(HalfSpace((10, 0, 0), (1, 0, 0)))
    assert np.array_equal(left, GRID.x < 10)


def test_a_cached_solid_is_evaluated_once():
    class Counting(HalfSpace):
        calls = 0

        def distance(self, grid, window):
            type(self).calls += 1
            return super().distance(grid, window)

    shared = Cached(Counting((0, 0, 0), (0, 0, 1)))
    window = GRID.window(*BALL.bounds())
    first = shared.distance(GRID, window)
    first += 100  # a caller may work on what it gets
    assert np.array_equal(shared.distance(GRID, window) < 0, GRID.z[window] < 0)
    assert Counting.calls == 1
