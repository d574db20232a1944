import numpy as np
import pytest

from sautomed.errors import GantryTilt, UnevenGaps
from sautomed.scans.dicom.read import read_geometry, read_stored
from sautomed.scans.stored import ReadOptions

from .build import make_series

RESAMPLED = ReadOptions(resample=True)


def ramp(affine, shape):
    """Return intensities that are linear in the patient's coordinates, which linear interpolation restores exactly."""
    index = np.indices(shape).reshape(3, -1)
    place = affine[:3, :3] @ index + affine[:3, 3:]
    return (2 * place[0] + 3 * place[1] + 4 * place[2]).reshape(shape)


def stored_ramp(affines, rows, columns):
    planes = [ramp(affine, (columns, rows, 1))[:, :, 0].T for affine in affines]
    return np.array(planes, dtype=np.float32)


def slices_at(positions, orientation, pixel_mm):
    """Return the affine of each slice, RAS."""
    affines = []
    for position in positions:
        lps = np.eye(4)
        lps[:3, 0] = np.array(orientation[:3]) * pixel_mm[1]
        lps[:3, 1] = np.array(orientation[3:]) * pixel_mm[0]
        lps[:3, 3] = position
        affines.append(np.diag([-1, -1, 1, 1]) @ lps)
    return affines


@pytest.mark.parametrize("kept", [[0, 1, 2, 4, 5], [0, 3, 4, 5, 6], [0, 1, 2, 6]])
def test_missing_slices_are_interpolated_from_their_neighbours(tmp_path, kept):
    orientation, pixel_mm = (1, 0, 0, 0, 1, 0), (0.7, 0.9)
    affines = slices_at([(0, 0, 2 * number) for number in range(7)], orientation, pixel_mm)
    stored = stored_ramp(affines, 5, 6)
    written = make_series(
        tmp_path / "s",
        stored[kept],
        offsets_mm=2.0 * np.array(kept),
        origin=(0, 0, 0),
        intercept=0,
    )
    found = read_stored(written.path, RESAMPLED)
    assert found.geometry.shape == (6, 5, max(kept) + 1)
    np.testing.assert_allclose(found.voxels, ramp(found.geometry.affine, found.geometry.shape), atol=1e-3)
    assert not found.geometry.native.source.regular
    assert "resampled onto a regular grid of 6 x 5" in found.geometry.warnings[-1]
    assert read_geometry(written.path, RESAMPLED).shape == found.geometry.shape


def test_a_tilted_stack_becomes_a_right_angled_one_in_the_same_place(tmp_path):
    tilt = np.radians(15)
    orientation, pixel_mm = (1, 0, 0, 0, np.cos(tilt), -np.sin(tilt)), (0.5, 0.8)
    positions = [np.array([-4.0, -6, 20]) + number * np.array([0, 0, 3.0]) for number in range(6)]
    stored = stored_ramp(slices_at(positions, orientation, pixel_mm), 30, 8)

    def edit(index, dataset):
        dataset.ImagePositionPatient = [*positions[index]]

    written = make_series(tmp_path / "s", stored, orientation=orientation, pixel_mm=pixel_mm, intercept=0, edit=edit)
    with pytest.raises(GantryTilt, match=r"15\.0 degrees"):
        read_geometry(written.path, ReadOptions())
    found = read_stored(written.path, RESAMPLED)
    affine, shape = found.geometry.affine, found.geometry.shape
    np.testing.assert_allclose(affine[:3, :3].T @ affine[:3, :3], np.diag(found.geometry.spacing_mm) ** 2, atol=1e-9)
    assert shape[2] == 6
    assert shape[1] > 30  # extended by the shifts
    inside = found.voxels > found.voxels.min()
    assert inside.mean() > 0.6
    np.testing.assert_allclose(found.voxels[inside], ramp(affine, shape)[inside], atol=1e-3)


def test_whole_numbers_stay_whole(tmp_path):
    written = make_series(tmp_path / "s", (6, 4, 4), edit=lambda index, _: index != 3)
    found = read_stored(written.path, RESAMPLED).voxels
    assert found.dtype == np.int16
    np.testing.assert_array_equal(found[:, :, 2], written.voxels[:, :, 2])
    mean = (written.voxels[:, :, 2] + written.voxels[:, :, 4]) / 2
    assert np.abs(found[:, :, 3] - mean).max() <= 0.5


def test_a_grid_of_mostly_interpolated_voxels_is_refused(tmp_path):
    written = make_series(tmp_path / "s", (5, 2, 2), offsets_mm=[0, 1, 2, 3, 300])
    with pytest.raises(UnevenGaps, match="times the voxels, most of them invented"):
        read_stored(written.path, RESAMPLED)
