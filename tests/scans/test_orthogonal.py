"""Axes that are not orthogonal are accepted, corrected, refused or resampled, by how far a corner moves."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sautomed.errors import BadGeometry, ShearedGrid
from sautomed.scans.grid import NativeGrid, corner_gap_mm
from sautomed.scans.orthogonal import orthogonal_geometry, orthogonal_stored
from sautomed.scans.stored import Geometry, ReadOptions, Stored

PATH = Path("scan.nii")
RESAMPLE = ReadOptions(resample=True)


def sheared(by, shape=(40, 30, 20), signs=(1, 1, 1)):
    """Return a geometry whose second axis leans towards the first."""
    affine = np.diag([*np.multiply(signs, (1.0, 1.0, 2.0)), 1.0])
    affine[0, 1] = by
    affine[:3, 3] = (5, 6, 7)
    return Geometry(PATH, "test", NativeGrid(shape, affine), np.dtype(np.int16))


def test_rounding_is_accepted_unchanged():
    geometry = sheared(2e-5)
    assert orthogonal_geometry(geometry, ReadOptions()) is geometry


@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, 1, 1), (1, -1, -1)])
def test_a_little_shear_is_corrected_and_the_affine_of_the_file_kept(signs):
    geometry = sheared(0.01, signs=signs)
    straight = orthogonal_geometry(geometry, ReadOptions())
    np.testing.assert_array_equal(straight.native.stored_affine, geometry.affine)
    axes = straight.affine[:3, :3] / straight.spacing_mm
    np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(straight.spacing_mm, geometry.spacing_mm)
    assert np.sign(np.linalg.det(straight.affine)) == np.prod(signs)
    moved = corner_gap_mm(straight.affine, geometry.affine, geometry.shape)
    assert 1e-3 < moved < 1
    assert f"moves a corner by {moved:.3g} mm" in straight.warnings[-1]


def test_much_shear_is_refused_with_the_shift_and_the_cure():
    with pytest.raises(ShearedGrid, match=r"scan.nii: is sheared.*by [\d.]+ mm.*--resample") as caught:
        orthogonal_geometry(sheared(0.2), ReadOptions())
    assert (caught.value.id, caught.value.exit_code) == ("SAM-E0319", 3)


def test_a_singular_affine_is_refused_even_for_resampling():
    affine = np.diag([1.0, 1, 1, 1])
    affine[:3, 1] = affine[:3, 0]
    geometry = Geometry(PATH, "test", NativeGrid((4, 5, 6), affine), np.dtype(np.int16))
    with pytest.raises(BadGeometry, match="singular"):
        orthogonal_geometry(geometry, RESAMPLE)


def test_a_grid_that_would_be_mostly_empty_is_refused():
    with pytest.raises(ShearedGrid, match="mostly empty"):
        orthogonal_geometry(sheared(20, shape=(256, 256, 64)), RESAMPLE)


@settings(max_examples=25, deadline=None)
@given(by=st.floats(0.1, 0.8), signs=st.sampled_from([(1, 1, 1), (-1, 1, 1), (1, 1, -1)]))
def test_resampled_intensities_keep_their_positions(by, signs):
    geometry = sheared(by, signs=signs)
    index = np.indices(geometry.shape).reshape(3, -1)
    world = geometry.affine[:3, :3] @ index + geometry.affine[:3, 3:]
    voxels = world.sum(axis=0).reshape(geometry.shape)  # linear in place, so that interpolation is exact
    straight = orthogonal_stored(Stored(geometry, voxels), RESAMPLE)
    native = straight.geometry.native
    assert straight.voxels.shape == native.shape
    axes = native.affine[:3, :3] / native.spacing_mm
    np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=1e-9)
    assert np.sign(np.linalg.det(native.affine)) == np.prod(signs)
    index = np.indices(native.shape).reshape(3, -1)
    expected = (native.affine[:3, :3] @ index + native.affine[:3, 3:]).sum(axis=0).reshape(native.shape)
    inside = straight.voxels > voxels.min() + 1e-6
    assert inside.sum() > 0.6 * voxels.size  # a leaning axis is longer than its cells are wide
    np.testing.assert_allclose(straight.voxels[inside], expected[inside], atol=1e-6)
    assert "resampled" in straight.geometry.warnings[-1]
    assert orthogonal_geometry(geometry, RESAMPLE).shape == native.shape


def test_labels_are_resampled_without_inventing_any():
    voxels = np.zeros((40, 30, 20), np.uint8)
    voxels[10:30, 5:25, 4:16] = 7
    straight = orthogonal_stored(Stored(sheared(0.5), voxels), RESAMPLE, nearest=True)
    assert set(np.unique(straight.voxels)) == {0, 7}
    assert straight.voxels.dtype == np.uint8
    assert straight.voxels.astype(bool).sum() == pytest.approx(voxels.astype(bool).sum(), rel=0.15)
