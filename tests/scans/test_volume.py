"""Orienting an array and back changes no voxel, for every order and direction of a file's axes."""

import itertools

import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nibabel.orientations import aff2axcodes

from sautomed.errors import GridMismatch, UnknownFormat
from sautomed.scans.grid import AXIS_CODES, PLANES, NativeGrid, orient
from sautomed.scans.nifti_file import NiftiSource
from sautomed.scans.read import read_labels
from sautomed.scans.volume import LabelMap, Volume, corner_distance_mm, require_same_grid

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


def rotation(angles):
    a, b, c = angles
    x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return x @ y @ z


@st.composite
def grids(draw, sheared=True):
    """Draw any axis order and direction, any small shape, up to 40 degrees oblique, slightly sheared."""
    order, signs = draw(st.sampled_from(ORIENTATIONS))
    spacing = draw(st.tuples(*[st.floats(0.3, 8)] * 3))
    affine = axis_affine(order, signs, spacing, draw(st.tuples(*[st.floats(-500, 500)] * 3)))
    angles = draw(st.tuples(*[st.floats(-0.23, 0.23)] * 3))
    shear = np.eye(3)
    if sheared:
        shear[0, 1] = draw(st.floats(-0.1, 0.1))
    affine[:3, :3] = rotation(angles) @ shear @ affine[:3, :3]
    return NativeGrid(draw(st.tuples(*[st.integers(1, 6)] * 3)), affine)


def numbered(shape):
    return np.arange(np.prod(shape), dtype=np.uint16).reshape(shape)


@pytest.mark.parametrize("plane", PLANES)
@pytest.mark.parametrize(("order", "signs"), ORIENTATIONS)
def test_every_axis_orientation_turns_to_the_radiologists_view_and_back(order, signs, plane):
    native = NativeGrid((2, 3, 5), axis_affine(order, signs))
    array = numbered(native.shape)
    turned, affine = orient(array, native, plane)
    assert aff2axcodes(affine) == AXIS_CODES[plane]
    assert np.array_equal(LabelMap(turned, affine, native, plane).to_native(), array)


@given(grids(), st.sampled_from(PLANES), st.data())
@settings(max_examples=150, deadline=None)
def test_turning_keeps_every_voxel_at_its_place_in_the_patient(native, plane, data):
    array = numbered(native.shape)
    turned, affine = orient(array, native, plane)
    index = tuple(data.draw(st.integers(0, length - 1)) for length in turned.shape)
    before = np.unravel_index(int(turned[index]), native.shape)
    np.testing.assert_allclose(affine @ (*index, 1), native.affine @ (*before, 1), atol=1e-6)
    assert np.array_equal(LabelMap(turned, affine, native, plane).to_native(), array)
    assert sorted(Volume(turned, affine, native, plane).spacing_mm) == pytest.approx(sorted(native.spacing_mm))


@given(native=grids(sheared=False), plane=st.sampled_from(PLANES), ending=st.sampled_from([".nii", ".nii.gz"]))
@settings(max_examples=40, deadline=None)
def test_saved_labels_come_back_on_the_same_grid(tmp_path_factory, native, plane, ending):
    path = tmp_path_factory.mktemp("saved") / f"labels{ending}"
    turned, affine = orient(numbered(native.shape), native, plane)
    LabelMap(turned, affine, native, plane).save(path)
    again = read_labels(path, plane)
    assert np.array_equal(again.array, turned)
    np.testing.assert_allclose(again.affine, affine, rtol=1e-5, atol=1e-3)


def saved_and_loaded(path, affine, qform_code, sform_code, array=None, units=("mm", "sec")):
    image = nibabel.Nifti1Image(np.zeros((4, 5, 6), np.int16), affine)
    image.header.set_qform(affine, code=qform_code)
    image.header.set_sform(affine, code=sform_code)
    image.header.set_xyzt_units(*units)
    image.header["cal_max"] = 400
    native = NativeGrid((4, 5, 6), image.header.get_best_affine(), source=NiftiSource(image.header))
    values = np.zeros((4, 5, 6), np.uint8) if array is None else array
    turned, turned_affine = orient(values, native, "axial")
    LabelMap(turned, turned_affine, native, "axial").save(path)
    return image, nibabel.load(path)


@pytest.mark.parametrize(("qform_code", "sform_code"), [(1, 1), (1, 0), (0, 2), (2, 4)])
def test_saving_keeps_affines_codes_and_units(tmp_path, qform_code, sform_code):
    affine = axis_affine((1, 0, 2), (-1, 1, 1))
    before, after = saved_and_loaded(tmp_path / "l.nii.gz", affine, qform_code, sform_code)
    np.testing.assert_array_equal(after.affine, before.header.get_best_affine())
    for key in ("qform_code", "sform_code", "pixdim", "srow_x", "quatern_b", "xyzt_units"):
        np.testing.assert_array_equal(after.header[key], before.header[key], err_msg=key)
    assert after.header["cal_max"] == 0
    assert after.header.get_intent()[0] == "label"


@pytest.mark.parametrize(("largest", "kind"), [(0, np.uint8), (255, np.uint8), (256, np.uint16), (65535, np.uint16)])
def test_saving_takes_the_smallest_unsigned_type(tmp_path, largest, kind):
    array = np.zeros((4, 5, 6), np.uint16)
    array[1, 2, 3] = largest
    _, after = saved_and_loaded(tmp_path / "l.nii", np.diag([1.0, 1, 2, 1]), 1, 1, array)
    assert after.get_data_dtype() == kind
    assert np.array_equal(np.asarray(after.dataobj), array)


def test_saving_is_deterministic_and_leaves_no_temporary_file(tmp_path):
    for name in ("a.nii.gz", "b.nii.gz"):
        saved_and_loaded(tmp_path / name, np.eye(4), 1, 1)
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.nii.gz", "b.nii.gz"]


def test_saving_under_another_ending_is_refused(tmp_path):
    labels = LabelMap(np.zeros((1, 2, 3), np.uint8), np.eye(4), NativeGrid((1, 2, 3), np.eye(4)), "axial")
    with pytest.raises(UnknownFormat, match=r"\.nii\.gz.*\.nrrd.*\.mha") as caught:
        labels.save(tmp_path / "labels.png")
    assert (caught.value.id, caught.value.exit_code) == ("SAM-E0204", 2)


def item(shape=(4, 5, 6), affine=None):
    affine = np.diag([2.0, 1.0, 1.0, 1.0]) if affine is None else affine
    return LabelMap(np.zeros(shape, np.uint8), affine, NativeGrid(shape, affine), "axial")


def test_corners_show_a_turn_that_origin_and_spacing_hide():
    turned = np.diag([2.0, 1.0, 1.0, 1.0])
    turned[:3, :3] = rotation((0, 0, 0.01)) @ turned[:3, :3]
    assert corner_distance_mm(item(), item(affine=turned)) == pytest.approx(0.01 * np.hypot(6, 4), rel=0.01)


def test_rounding_of_headers_passes_and_a_shift_is_refused_with_both_geometries():
    shifted = np.diag([2.0, 1.0, 1.0, 1.0])
    shifted[0, 3] = 0.05
    require_same_grid(item(), item(affine=shifted), first_name="image", second_name="label map", where="case 7")
    shifted[0, 3] = 3
    with pytest.raises(GridMismatch, match=r"case 7: image and label map lie up to 3 mm apart") as caught:
        require_same_grid(item(), item(affine=shifted), first_name="image", second_name="label map", where="case 7")
    assert "first voxel at (0.0, 0.0, 0.0)" in str(caught.value)
    assert "first voxel at (3.0, 0.0, 0.0)" in str(caught.value)
    assert (caught.value.id, caught.value.exit_code) == ("SAM-E0307", 3)


def test_other_shapes_are_refused_with_both_shapes():
    with pytest.raises(GridMismatch, match=r"different shapes.*4 x 5 x 6.*4 x 5 x 7"):
        require_same_grid(item(), item((4, 5, 7)), first_name="a", second_name="b", where="")


def test_values_without_a_name_are_counted():
    array = np.array([[[0, 1, 1], [7, 7, 300]]], np.uint16)
    labels = LabelMap(array, np.eye(4), NativeGrid((1, 2, 3), np.eye(4)), "axial", {1: "liver", 2: "spleen"})
    assert labels.unknown_values() == {7: 2, 300: 1}
    assert labels.voxel_counts() == {0: 1, 1: 2, 7: 2, 300: 1}
