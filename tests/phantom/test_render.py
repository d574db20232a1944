"""Painting: order of parts, layers, and partial volumes."""

import numpy as np
import pytest

from sautomed.phantom.grid import Grid, Lattice, Pose
from sautomed.phantom.parts import Layer, Part
from sautomed.phantom.render import SUB_SLICES, paint
from sautomed.phantom.shapes import Ellipsoid, HalfSpace
from sautomed.phantom.tissues import CT, MR, Brightness

BRIGHTNESS = {"air": Brightness(-1000), "fat": Brightness(-100), "meat": Brightness(50), "bone": Brightness(500)}
LABELS = {"steak": 3, "rib": 7}
LATTICE = Lattice((12, 40, 40), (6.0, 2.0, 2.0), (-33.0, -39.0, -39.0))
BALL = Ellipsoid((0, 0, 0), (25, 25, 25))


def show(*parts: Part) -> tuple[np.ndarray, np.ndarray]:
    fine = LATTICE.refined(SUB_SLICES)
    z, y, x = np.meshgrid(*fine.axes_mm(), indexing="ij")
    pose = Pose(np.ones(3), np.eye(3), np.zeros(3))
    grid = Grid(fine, pose, x, y, z, np.zeros_like(x), drift_mm=np.zeros((2, 3, 6, 7, 7)))
    return paint(parts, grid, BRIGHTNESS, LABELS, np.random.default_rng(0))


def voxel_centres() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    z, y, x = np.meshgrid(*LATTICE.axes_mm(), indexing="ij")
    return z, y, x


def test_a_label_is_exact_at_the_voxel_centres():
    _, labels = show(Part("meat", BALL, "steak"))
    z, y, x = voxel_centres()
    assert np.array_equal(labels == 3, x**2 + y**2 + z**2 < 25**2)


def test_a_later_part_gets_shared_voxels():
    small = Ellipsoid((0, 0, 0), (10, 10, 10))
    _, over = show(Part("meat", BALL, "steak"), Part("bone", small, "rib"))
    _, under = show(Part("bone", small, "rib"), Part("meat", BALL, "steak"))
    assert over[6, 20, 20] == 7
    assert (under != 7).all()


def test_unlabelled_surroundings_take_labels_away():
    _, labels = show(Part("meat", BALL, "steak"), Part("fat", HalfSpace((0, 0, 0), (1, 0, 0))))
    _, _, x = voxel_centres()
    assert not labels[x < 0].any()
    assert labels[x > 0].any()


def test_a_rim_of_fat_separates_two_touching_structures():
    inner = Ellipsoid((0, 0, 0), (10, 10, 10))
    image, labels = show(Part("meat", BALL, "steak"), Part("bone", inner, "rib", rim_mm=5.0))
    z, y, x = voxel_centres()
    radius = np.sqrt(x**2 + y**2 + z**2)
    between = (radius > 10) & (radius < 15)
    assert not labels[between].any()
    assert image[between].min() < -50


def test_a_layer_keeps_the_label_unless_it_is_unlabelled():
    core = Ellipsoid((0, 0, 0), (8, 8, 8))
    _, full = show(Part("meat", BALL, "steak", layers=(Layer("bone", 0.0, core),)))
    _, unlabelled = show(Part("meat", BALL, "steak", layers=(Layer("bone", 0.0, core, unlabelled=True),)))
    assert full[6, 20, 20] == 3
    assert unlabelled[6, 20, 20] == 0
    assert (unlabelled == 3).any()


def test_a_layer_starts_at_its_depth():
    image, _ = show(Part("meat", BALL, "steak", layers=(Layer("bone", 8.0),)))
    z, y, x = voxel_centres()
    radius = np.sqrt(x**2 + y**2 + z**2)
    assert image[radius < 12] == pytest.approx(500, abs=1)
    assert image[(radius > 20) & (radius < 21)].max() < 100


def test_a_slice_half_filled_has_half_the_contrast():
    # The slice at z = -3 reaches from -6 to 0; a plane at its centre fills half of it.
    image, _ = show(Part("meat", HalfSpace((0, 0, -3), (0, 0, 1))))
    column = image[:, 20, 20]
    assert column[4] == pytest.approx(50, abs=1)
    assert column[5] == pytest.approx((50 - 1000) / 2, abs=1)
    assert column[6] == pytest.approx(-1000, abs=1)


def test_both_modalities_have_all_tissues():
    assert set(CT) == set(MR)
