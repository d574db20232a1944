"""The random warp, and windows of the grid."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sautomed.phantom.grid import SLACK_MM, Lattice, Pose, make_grid, smooth_field
from sautomed.phantom.shapes import Ellipsoid, rotation

LATTICE = Lattice((30, 50, 54), (5.0, 4.0, 4.0), (-75.0, -100.0, -108.0))


def test_a_smooth_field_has_unit_variance_at_each_place_and_changes_slowly():
    rng = np.random.default_rng(0)
    fields = np.array([smooth_field(LATTICE, 60, rng) for _ in range(200)])
    assert fields.std(axis=0).mean() == pytest.approx(1, abs=0.05)
    assert np.abs(fields.std(axis=0) - 1).max() < 0.3
    assert np.abs(np.diff(fields, axis=3)).mean() < 0.15


def test_refining_keeps_each_slices_centre_in_the_middle_of_its_sub_slices():
    fine = LATTICE.refined(3)
    assert np.allclose(fine.axes_mm()[0][1::3], LATTICE.axes_mm()[0])
    assert np.allclose(np.diff(fine.axes_mm()[0]), 5 / 3)


@given(
    seed=st.integers(0, 10**6),
    centre=st.tuples(st.floats(-90, 90), st.floats(-80, 80), st.floats(-70, 70)),
    tilt=st.floats(-8, 8),
)
@settings(max_examples=20, deadline=None)
def test_no_voxel_of_a_solid_lies_outside_its_window(seed, centre, tilt):
    pose = Pose(np.array([0.9, 1.1, 1.05]), rotation((tilt, -tilt, 2 * tilt)), np.array([4.0, -7, 9]))
    grid = make_grid(LATTICE, pose, np.random.default_rng(seed))
    solid = Ellipsoid(centre, (25, 8, 14), turn=(10, 40, -70))
    everywhere = solid.distance(grid, grid.everything()) < 0
    assert everywhere[grid.window(*solid.bounds())].sum() == everywhere.sum()


def test_the_pose_moves_scales_and_the_warp_stays_within_its_bound():
    pose = Pose(np.array([1.2, 1.0, 1.0]), np.eye(3), np.array([10.0, 0, 0]))
    grid = make_grid(LATTICE, pose, np.random.default_rng(1))
    straight = (LATTICE.axes_mm()[2] - 10) / 1.2
    moved = np.abs(grid.x - straight)
    assert moved.max() > 2  # it does warp
    assert moved.max() <= np.abs(grid.drift_mm[:, 0]).max() + SLACK_MM
