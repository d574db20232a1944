"""Values and geometry are kept in every format; see also tests/scans/test_round_trip.py."""

from dataclasses import replace

import nibabel
import numpy as np
import pytest
import SimpleITK

from sautomed import errors
from sautomed.cli.convert import convert_file, exact_values
from sautomed.scans import ReadOptions, read_labels, read_stored
from sautomed.scans.grid import NativeGrid
from sautomed.scans.stored import Geometry, Stored


def stored(voxels, slope=1.0, intercept=0.0):
    return Stored(Geometry("a", "test", NativeGrid(voxels.shape, np.eye(4)), voxels.dtype), voxels, slope, intercept)


@pytest.mark.parametrize(
    ("values", "kind", "slope", "intercept", "expected"),
    [
        ([0, 4095], "u2", 1, -1024, "i2"),  # CT as scanners store it
        ([0, 100], "i2", 2, 0, "u1"),
        ([-100, 100], "i1", -1, 0, "i1"),
        ([0, 65535], "u2", 2, 0, "i4"),
        ([0, 2**62], "i8", 2, 0, "u8"),  # every intermediate value must fit, not only the result
        ([0, 2**63], "u8", -1, 0, "i8"),
        ([2, 4], "i2", 0.5, 0, "u1"),
        ([1, 4], "i2", 0.5, 0, "f4"),
        ([1, 4], "i2", 0.1, 0, "f8"),
        ([1.5, 2.5], "f4", 2, 0, "u1"),
        ([0, 3], "i2", 1, 0, "i2"),  # not scaled: unchanged
    ],
)
def test_scaled_values_take_the_smallest_type_that_holds_them_exactly(values, kind, slope, intercept, expected):
    voxels = np.array(values, kind).reshape(2, 1, 1)
    found = exact_values(stored(voxels, slope, intercept))
    assert found.dtype == np.dtype(expected)
    expected_values = [value * slope + intercept for value in voxels.ravel().tolist()]
    assert found.ravel().tolist() == expected_values


def scan(path, slope=None):
    image = nibabel.Nifti1Image(np.arange(60, dtype=np.int16).reshape(3, 4, 5), np.diag([-1.0, 2, 3, 1]))
    image.header.set_xyzt_units("mm")
    if slope:
        image.header.set_slope_inter(*slope)
    nibabel.save(image, path)
    return path


def test_scaling_is_applied(tmp_path):
    image = scan(tmp_path / "a.nii.gz")
    content = bytearray(nibabel.load(image).to_bytes())
    header = nibabel.Nifti1Header(bytes(content[:348]))
    header["scl_slope"], header["scl_inter"] = 2, -1000
    content[:348] = header.binaryblock
    (tmp_path / "b.nii").write_bytes(bytes(content))
    convert_file(tmp_path / "b.nii", tmp_path / "c.nrrd")
    found = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(tmp_path / "c.nrrd")))
    assert found.dtype == np.int16
    np.testing.assert_array_equal(found.T, nibabel.load(tmp_path / "b.nii").get_fdata())
    convert_file(tmp_path / "b.nii", tmp_path / "d.nii.gz")
    assert nibabel.load(tmp_path / "d.nii.gz").dataobj.slope == 1
    np.testing.assert_array_equal(
        nibabel.load(tmp_path / "d.nii.gz").get_fdata(), nibabel.load(tmp_path / "b.nii").get_fdata()
    )


@pytest.mark.parametrize("ending", [".nrrd", ".mha", ".nii.gz"])
@pytest.mark.parametrize(("unit", "mm"), [("meter", 1e3), ("micron", 1e-3)])
def test_other_units_become_mm_where_the_format_is_in_mm(tmp_path, ending, unit, mm):
    image = nibabel.load(scan(tmp_path / "mm.nii.gz"))
    affine = np.diag([1 / mm, 1 / mm, 1 / mm, 1]) @ np.array(
        [[-1.0, 0, 0, 41], [0, 2, 0, 7], [0, 0, 3, 9], [0, 0, 0, 1]]
    )
    image = nibabel.Nifti1Image(np.asarray(image.dataobj), affine)
    image.header.set_xyzt_units(unit)
    nibabel.save(image, tmp_path / "a.nii")
    convert_file(tmp_path / "a.nii", tmp_path / f"b{ending}")
    found = SimpleITK.ReadImage(str(tmp_path / f"b{ending}"))
    np.testing.assert_allclose(found.GetSpacing(), (1, 2, 3), rtol=1e-6)
    np.testing.assert_allclose(found.GetOrigin(), (-41, -7, 9), rtol=1e-6)
    if ending == ".nii.gz":
        assert nibabel.load(tmp_path / "b.nii.gz").header.get_xyzt_units()[0] == unit


def test_a_label_map_becomes_segments(tmp_path):
    convert_file(scan(tmp_path / "a.nii.gz"), tmp_path / "a.seg.nrrd")
    image = SimpleITK.ReadImage(str(tmp_path / "a.seg.nrrd"))
    assert image.GetMetaData("Segment0_Name") == "label 1"
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(image).T, nibabel.load(tmp_path / "a.nii.gz").get_fdata())


def test_broken_and_constant_values_are_kept(tmp_path):
    values = np.full((3, 4, 5), np.nan, np.float32)
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), tmp_path / "a.nii")
    convert_file(tmp_path / "a.nii", tmp_path / "a.mha")
    np.testing.assert_array_equal(read_stored(tmp_path / "a.mha").voxels, values)


def test_one_volume_of_a_series(tmp_path):
    values = np.arange(240, dtype=np.int16).reshape(3, 4, 5, 4)
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), tmp_path / "a.nii")
    with pytest.raises(errors.NotThreeD, match="--frame"):
        convert_file(tmp_path / "a.nii", tmp_path / "b.nii.gz")
    convert_file(tmp_path / "a.nii", tmp_path / "b.nii.gz", ReadOptions(frame=3))
    np.testing.assert_array_equal(nibabel.load(tmp_path / "b.nii.gz").dataobj, values[..., 3])


def test_a_target_that_exists_is_kept_unless_it_may_go(tmp_path):
    source = scan(tmp_path / "a.nii.gz")
    (tmp_path / "b.mha").write_text("precious")
    with pytest.raises(errors.TargetExists, match="--overwrite"):
        convert_file(source, tmp_path / "b.mha")
    assert (tmp_path / "b.mha").read_text() == "precious"
    convert_file(source, tmp_path / "b.mha", overwrite=True)
    assert read_stored(tmp_path / "b.mha").voxels.size == 60


@pytest.mark.parametrize("name", ["b.dcm", "b.png", "b.mhd", "b"])
def test_other_targets_are_refused_before_anything_is_read(tmp_path, name):
    with pytest.raises(errors.UnknownFormat, match=r"\.nii\.gz.*\.mha"):
        convert_file(tmp_path / "missing.nii", tmp_path / name)


def test_a_missing_source_is_named(tmp_path):
    with pytest.raises(errors.MissingFile):
        convert_file(tmp_path / "missing.nii", tmp_path / "b.mha")


@pytest.mark.parametrize("source", [".seg.nrrd", ".nii.gz"])
@pytest.mark.parametrize("target", [".nii", ".nrrd", ".seg.nrrd", ".mha"])
def test_names_of_labels_are_kept_where_the_format_has_a_place_for_them(tmp_path, source, target):
    convert_file(scan(tmp_path / "a.nii.gz"), tmp_path / "a.seg.nrrd")
    labels = replace(read_labels(tmp_path / "a.seg.nrrd"), names={1: "liver", 2: "left kidney"})
    labels.save(tmp_path / f"b{source}")
    convert_file(tmp_path / f"b{source}", tmp_path / f"c{target}")
    found = read_labels(tmp_path / f"c{target}")
    np.testing.assert_array_equal(found.to_native(), labels.to_native())
    kept = {} if target == ".mha" else labels.names
    assert {value: found.names[value] for value in kept} == kept
