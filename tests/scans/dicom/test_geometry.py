import itertools
from pathlib import Path
from tempfile import TemporaryDirectory

import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sautomed.scans.dicom.geometry import orthogonal_directions
from sautomed.scans.dicom.read import read_stored
from sautomed.scans.stored import ReadOptions

from .build import AXIAL, CORONAL, SAGITTAL, make_series

PLAIN = ReadOptions()


def turned(orientation, angles_deg):
    """Return an orientation rotated about the three axes, one after the other."""
    columns, rows = np.array(orientation[:3], float), np.array(orientation[3:], float)
    for axis, angle in enumerate(np.radians(angles_deg)):
        turn = np.eye(3)
        first, second = [index for index in range(3) if index != axis]
        turn[first, first] = turn[second, second] = np.cos(angle)
        turn[first, second], turn[second, first] = -np.sin(angle), np.sin(angle)
        columns, rows = turn @ columns, turn @ rows
    return (*columns, *rows)


@settings(max_examples=25, deadline=None)
@given(
    orientation=st.sampled_from([AXIAL, CORONAL, SAGITTAL]),
    angles=st.tuples(*[st.integers(-180, 180)] * 3),
    shape=st.tuples(st.integers(3, 6), st.integers(1, 5), st.integers(1, 5)),
    pixel_mm=st.tuples(*[st.sampled_from([0.4296875, 0.7, 1.0, 3.3])] * 2),
    gap_mm=st.sampled_from([0.625, 1.0, 2.5, 7.7]),
    seed=st.integers(0, 1000),
)
def test_voxels_and_affine_come_back_in_any_orientation_and_file_order(
    orientation, angles, shape, pixel_mm, gap_mm, seed
):
    with TemporaryDirectory() as folder:
        written = make_series(
            Path(folder) / "scan",
            shape,
            orientation=turned(orientation, angles),
            pixel_mm=pixel_mm,
            offsets_mm=np.arange(shape[0]) * gap_mm,
            seed=seed,
        )
        stored = read_stored(written.path, PLAIN)
    np.testing.assert_array_equal(stored.voxels, written.voxels)
    np.testing.assert_allclose(stored.geometry.affine, written.affine, atol=1e-6)
    assert stored.geometry.native.source.members == tuple(file.name for file in written.files)
    assert stored.geometry.warnings == ()


@pytest.mark.parametrize(("orientation", "codes"), [(AXIAL, "LPS"), (CORONAL, "LIP"), (SAGITTAL, "PIR")])
def test_the_directions_are_those_of_the_patient(tmp_path, orientation, codes):
    # By hand: the normal is columns x rows, which goes to superior, posterior and right in turn.
    affine = read_stored(make_series(tmp_path / "scan", orientation=orientation).path, PLAIN).geometry.affine
    assert "".join(nibabel.aff2axcodes(affine)) == codes
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    assert lengths == pytest.approx([0.9, 0.7, 2.5])  # PixelSpacing names the distance of rows first


def test_slice_thickness_does_not_change_the_slice_distance(tmp_path):
    for thickness in (None, "", 3, 99):
        folder = tmp_path / f"thickness {thickness}"
        found = read_stored(make_series(folder, SliceThickness=thickness, SpacingBetweenSlices=7).path, PLAIN)
        assert found.geometry.spacing_mm[2] == pytest.approx(2.5)


def test_directions_a_little_off_a_right_angle_are_straightened_evenly():
    angle = np.radians(90.2)
    directions, missed = orthogonal_directions((1, 0, 0, np.cos(angle), np.sin(angle), 0))
    assert missed == pytest.approx(0.2)
    np.testing.assert_allclose(directions @ directions.T, np.eye(3), atol=1e-12)
    first, second = (np.degrees(np.arctan2(vector[1], vector[0])) for vector in directions[:2])
    assert (first, second) == (pytest.approx(0.1), pytest.approx(90.1))


def test_all_orders_of_four_files_are_one_volume(tmp_path):
    written = make_series(tmp_path / "scan", (4, 2, 3))
    contents = [file.read_bytes() for file in written.files]
    for order in itertools.permutations(range(4)):
        for name, index in zip("abcd", order, strict=True):
            (tmp_path / "again").mkdir(exist_ok=True)
            (tmp_path / "again" / name).write_bytes(contents[index])
        np.testing.assert_array_equal(read_stored(tmp_path / "again", PLAIN).voxels, written.voxels)
