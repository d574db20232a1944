"""Scans and label maps are read according to their headers, and each fault has its own error."""

import copy
import errno
import gzip
import pickle
import re

import nibabel
import numpy as np
import pytest
import SimpleITK
from hypothesis import given, settings
from hypothesis import strategies as st

from sautomed import errors
from sautomed.scans import ReadOptions, read_geometry, read_labels, read_scan, read_stored
from sautomed.scans.volume import LabelMap
from sautomed.scans.write import write_image

RNG = np.random.default_rng(0)


def ramp(shape=(6, 7, 5), dtype=np.int16):
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)


def write(path, array=None, affine=None, slope=None, kind=nibabel.Nifti1Image, **fields):
    """Write a tiny NIfTI; `fields` overwrite header fields byte by byte, unchecked by nibabel."""
    image = kind(ramp() if array is None else array, np.diag([1.0, 1.0, 3.0, 1.0]) if affine is None else affine)
    image.header.set_xyzt_units("mm")
    if slope is not None:
        image.header.set_slope_inter(*slope)
    nibabel.save(image, path)
    if fields:
        _patch(path, image.header, fields)
    return path


def _patch(path, header, fields):
    packed = path.name.endswith(".gz")
    content = bytearray(gzip.decompress(path.read_bytes()) if packed else path.read_bytes())
    size = header.template_dtype.itemsize
    patched = type(header)(binaryblock=bytes(content[:size]), check=False)
    for name, value in fields.items():
        patched[name] = value
    content[:size] = patched.binaryblock
    path.write_bytes(gzip.compress(bytes(content)) if packed else bytes(content))


def refused(kind, path, *words, read=read_scan):
    """Check that reading raises an error with these words, its path and a cure; return it."""
    with pytest.raises(kind) as caught:
        read(path)
    message = str(caught.value)
    assert type(caught.value) is kind
    assert caught.value.exit_code == 3
    assert message.startswith(f"{path}: ")
    assert caught.value.cure
    for word in words:
        assert re.search(word, message), (word, message)
    return caught.value


# --- accepted files ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64])
def test_a_scan_is_read_as_nibabel_reads_it(tmp_path, kind, name, dtype):
    path = write(tmp_path / name, ramp(dtype=dtype), kind=kind)
    volume = read_scan(path, "axial")
    expected = nibabel.as_closest_canonical(nibabel.load(path)).get_fdata()[::-1, ::-1]
    np.testing.assert_array_equal(volume.array, expected.transpose(2, 1, 0))
    assert volume.array.dtype == np.float32
    assert volume.array.flags.c_contiguous
    assert (volume.plane, volume.spacing_mm, volume.path, volume.warnings) == ("axial", (3, 1, 1), path, ())


@settings(max_examples=30, deadline=None)
@given(
    slope=st.floats(0.01, 10), intercept=st.floats(-2000, 2000), dtype=st.sampled_from([np.int16, np.int32, np.float32])
)
def test_scaling_follows_the_header(tmp_path_factory, slope, intercept, dtype):
    path = tmp_path_factory.mktemp("scaled") / "a.nii"
    write(path, ramp(dtype=dtype), affine=np.diag([-1.0, -1, 1, 1]), scl_slope=slope, scl_inter=intercept)
    expected = nibabel.load(path).get_fdata()
    np.testing.assert_allclose(read_scan(path, "axial").array, expected.transpose(2, 1, 0), rtol=1e-5, atol=1e-3)


def test_scaling_of_wide_integers_loses_no_digits(tmp_path):
    array = ramp(dtype=np.int32) + 20_000_001  # float32 holds whole numbers up to 16 777 216
    volume = read_scan(write(tmp_path / "a.nii", array, scl_slope=0.5, scl_inter=-10_000_000))
    assert sorted(volume.array.ravel()) == [0.5 + 0.5 * i for i in range(210)]


def test_labels_saved_for_a_scaled_scan_with_a_late_start_are_neither(tmp_path):
    path = write(tmp_path / "scan.nii", scl_slope=2, scl_inter=-1000, vox_offset=368)
    path.write_bytes(path.read_bytes()[:352] + bytes(16) + path.read_bytes()[352:])
    volume = read_scan(path)
    assert (volume.array.min(), volume.array.max()) == (-1000, 2 * 209 - 1000)
    array = (volume.array > 0).astype(np.uint8)
    LabelMap(array, volume.affine, volume.native, volume.plane, {1: "a"}).save(tmp_path / "labels.nii")
    np.testing.assert_array_equal(read_labels(tmp_path / "labels.nii").array, array)
    content = (tmp_path / "labels.nii").read_bytes()
    header = nibabel.Nifti1Header(content[:348])
    assert header["vox_offset"] + array.size == len(content)
    assert header.get_slope_inter() in ((None, None), (1, 0))


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda native: pickle.loads(pickle.dumps(native))])
def test_a_grid_keeps_its_header_when_it_is_copied_or_pickled(tmp_path, duplicate):
    native = read_scan(write(tmp_path / "a.nii", descrip=b"from a scanner")).native
    again = duplicate(native)
    np.testing.assert_array_equal(again.affine, native.affine)
    assert again.source.header == native.source.header
    assert again.source.header["descrip"] == b"from a scanner"


def test_big_endian_scans_are_read(tmp_path):
    header = nibabel.Nifti1Header(endianness=">")
    header.set_data_dtype(">i2")
    nibabel.save(nibabel.Nifti1Image(ramp(), np.diag([-1.0, -1, 1, 1]), header), tmp_path / "big.nii.gz")
    np.testing.assert_array_equal(read_scan(tmp_path / "big.nii.gz", "axial").array, ramp().transpose(2, 1, 0))


@pytest.mark.parametrize("depth", [1, 2])
def test_one_and_two_slices_are_scans(tmp_path, depth):
    volume = read_scan(write(tmp_path / "a.nii.gz", ramp((8, 9, depth))))
    assert volume.array.shape == (depth, 9, 8)
    assert volume.plane == "axial"


def test_a_single_sagittal_slice_has_the_sagittal_plane(tmp_path):
    assert read_scan(write(tmp_path / "a.nii.gz", ramp((1, 8, 9)), affine=np.eye(4))).array.shape == (1, 9, 8)


def test_a_flat_image_is_one_slice_with_a_warning(tmp_path):
    volume = read_scan(write(tmp_path / "a.nii.gz", ramp((8, 9)), affine=np.eye(4)))
    assert volume.array.shape == (1, 9, 8)
    assert "one slice" in volume.warnings[0]


def test_further_axes_of_length_one_are_dropped(tmp_path):
    assert read_scan(write(tmp_path / "a.nii.gz", ramp((6, 7, 5, 1)))).array.shape == (5, 7, 6)


def test_plain_nifti_named_gz_is_read_with_a_warning(tmp_path):
    write(tmp_path / "a.nii").rename(tmp_path / "a.nii.gz")
    volume = read_scan(tmp_path / "a.nii.gz")
    assert volume.array.max() == ramp().max()
    assert "plain NIfTI named .gz" in volume.warnings[0]


def test_gzip_not_named_gz_is_read_with_a_warning(tmp_path):
    write(tmp_path / "a.nii.gz").rename(tmp_path / "a.nii")
    assert "gzip but not named .gz" in read_scan(tmp_path / "a.nii").warnings[0]


def test_names_with_spaces_and_other_scripts_are_read(tmp_path):
    assert read_scan(write(tmp_path / "Bauch 腹部 1.nii.gz")).array.size == 210


def test_few_broken_voxels_become_the_minimum_with_a_warning(tmp_path):
    array = RNG.normal(100, 10, (20, 20, 10)).astype(np.float32)
    array[3, 4, 5] = np.nan
    array[6, 7, 8] = np.inf
    volume = read_scan(write(tmp_path / "a.nii.gz", array), "axial")
    finite = array[np.isfinite(array)]
    assert volume.array.min() == finite.min()
    assert np.count_nonzero(volume.array == finite.min()) == 3
    assert re.search(r"2 of 4000 voxels \(0\.05%\) are NaN or infinite.*\(3, 4, 5\)", volume.warnings[0])


# --- headers ----------------------------------------------------------------------------------------------------------


def test_geometry_needs_no_voxels(tmp_path):
    path = write(tmp_path / "a.nii", np.zeros((4, 5, 6), np.uint16), affine=np.diag([-2.0, 1.0, 3.0, 1.0]))
    geometry = read_geometry(path)
    assert geometry.shape == (4, 5, 6)
    assert geometry.spacing_mm == (2, 1, 3)
    assert geometry.dtype == np.uint16
    assert geometry.format == "NIfTI-1, not compressed"
    assert geometry.native.axis_codes == "LAS"


def test_sform_wins_over_qform_with_the_angle_in_a_warning(tmp_path):
    image = nibabel.Nifti1Image(ramp(), np.eye(4))
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(0.3), -np.sin(0.3)], [np.sin(0.3), np.cos(0.3)]]
    image.header.set_qform(turn, code=1)
    image.header.set_sform(np.eye(4), code=1)
    nibabel.save(image, tmp_path / "a.nii.gz")
    volume = read_scan(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(volume.native.affine, np.eye(4))
    assert f"differ by {np.degrees(0.3):.1f} degrees" in volume.warnings[0]


def test_the_qform_holds_where_the_sform_is_unset(tmp_path):
    path = write(tmp_path / "a.nii.gz", sform_code=0, qform_code=1, pixdim=[1, 2, 2, 4, 0, 0, 0, 0])
    assert read_scan(path).native.spacing_mm == (2, 2, 4)


@pytest.mark.parametrize("read", [read_scan, read_labels, read_geometry])
def test_an_unset_orientation_is_refused_unless_the_spacing_is_to_be_taken(tmp_path, read):
    path = write(tmp_path / "a.nii.gz", sform_code=0, qform_code=0)
    fault = refused(
        errors.UnknownSpacing, path, "sform and qform unset", "left and right", "--assume-spacing", read=read
    )
    assert fault.id == "SAM-E0320"
    volume = read_scan(path, options=ReadOptions(assume_spacing=True))
    assert "no orientation" in volume.warnings[0]
    assert (volume.native.axis_codes, volume.spacing_mm) == ("LAS", (3, 1, 1))


def test_a_qform_that_is_no_rotation_is_no_orientation(tmp_path):
    path = write(tmp_path / "a.nii.gz", sform_code=0, qform_code=1, quatern_b=3, quatern_c=3)
    refused(errors.UnknownSpacing, path, "the qform is no rotation")


def test_one_millimetre_everywhere_in_a_flat_scan_is_warned_of(tmp_path):
    volume = read_scan(write(tmp_path / "a.nii.gz", ramp((128, 128, 20)), affine=np.eye(4)))
    assert "exactly 1 x 1 x 1 mm" in volume.warnings[0]
    assert read_scan(write(tmp_path / "b.nii.gz", ramp((128, 128, 20)), affine=np.diag([1, 1, 5, 1]))).warnings == ()


def test_the_placeholder_of_a_picture_is_named(tmp_path):
    path = write(tmp_path / "a.nii.gz", ramp((8, 9, 1)), affine=np.diag([1.0, 1, 999, 1]))
    refused(errors.BadGeometry, path, "999 is what some tools write")


def test_spacing_that_contradicts_the_affine_is_warned_of(tmp_path):
    volume = read_scan(write(tmp_path / "a.nii.gz", pixdim=[1, 1, 1, 5, 0, 0, 0, 0], qform_code=0))
    assert volume.native.spacing_mm == (1, 1, 3)
    assert "pixdim says 1 x 1 x 5" in volume.warnings[0]


# A turned, left-handed grid in mm.
PLACED_MM = np.array([[0.0, -1.5, 0, 41], [2.0, 0, 0, -23], [0, 0, 5.0, 307], [0, 0, 0, 1]])
UNITS = {"metres": ("meter", 1e3), "micrometres": ("micron", 1e-3)}


def write_in(unit, path, sform_code, qform_code, kind=nibabel.Nifti1Image, affine_mm=PLACED_MM):
    """Write a scan whose header gives lengths in a unit of `UNITS`, and seconds."""
    name, mm = UNITS[unit]
    affine = np.diag([1 / mm, 1 / mm, 1 / mm, 1]) @ affine_mm
    image = kind(ramp(), affine)
    image.set_qform(affine, code=qform_code)
    image.set_sform(affine, code=sform_code)
    image.header.set_xyzt_units(name, "sec")
    nibabel.save(image, path)
    return path


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
@pytest.mark.parametrize(("sform_code", "qform_code"), [(1, 1), (2, 0), (0, 1)])
def test_other_units_are_converted_to_mm_as_itk_does(tmp_path, unit, kind, sform_code, qform_code):
    path = write_in(unit, tmp_path / "a.nii.gz", sform_code, qform_code, kind)
    for found in (read_geometry(path), read_stored(path).geometry, read_scan(path)):
        native = found.native
        np.testing.assert_allclose(native.affine, PLACED_MM, rtol=1e-6, atol=1e-4)
        assert native.spacing_mm == pytest.approx((2, 1.5, 5))
        assert found.warnings == (f"{path}: the header gives lengths in {unit}; they are converted to mm.",)
    if kind is nibabel.Nifti1Image:
        image = SimpleITK.ReadImage(str(path))
        np.testing.assert_allclose(native.spacing_mm, image.GetSpacing(), rtol=1e-6)
        np.testing.assert_allclose(native.affine[:3, 3], np.multiply(image.GetOrigin(), (-1, -1, 1)), rtol=1e-6)


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
@pytest.mark.parametrize(("sform_code", "qform_code"), [(1, 1), (2, 0), (0, 1), (0, 0)])
def test_labels_of_a_scan_in_other_units_keep_its_header(tmp_path, unit, kind, sform_code, qform_code):
    options = ReadOptions(assume_spacing=sform_code == qform_code == 0)
    path = write_in(unit, tmp_path / "a.nii.gz", sform_code, qform_code, kind)
    volume = read_scan(path, options=options)
    LabelMap((volume.array > 100).astype(np.uint8), volume.affine, volume.native, volume.plane).save(
        tmp_path / "labels.nii.gz"
    )
    write_image(read_stored(path, options).voxels, volume.native, tmp_path / "again.nii.gz")
    before = nibabel.load(path).header
    for name, read in (("labels.nii.gz", read_labels), ("again.nii.gz", read_scan)):
        after = nibabel.load(tmp_path / name).header
        for key in ("pixdim", "xyzt_units", "qform_code", "sform_code", "qoffset_x", "quatern_b", "srow_x", "srow_z"):
            np.testing.assert_array_equal(after[key], before[key], err_msg=key)
        again = read(tmp_path / name, volume.plane, options=options)
        np.testing.assert_array_equal(again.native.affine, volume.native.affine)


def test_a_sheared_scan_in_metres_is_corrected_in_mm_and_written_in_metres(tmp_path):
    sheared_mm = PLACED_MM.copy()
    sheared_mm[0, 0] = 0.1  # straightening moves a corner by less than a millimetre
    path = write_in("metres", tmp_path / "a.nii.gz", 1, 0, affine_mm=sheared_mm)
    volume = read_scan(path)
    assert "the directions are corrected" in " ".join(volume.warnings)
    LabelMap((volume.array > 100).astype(np.uint8), volume.affine, volume.native, volume.plane).save(
        tmp_path / "labels.nii"
    )
    np.testing.assert_array_equal(nibabel.load(tmp_path / "labels.nii").affine, nibabel.load(path).affine)


def test_resampled_labels_of_a_scan_in_metres_are_in_mm(tmp_path):
    sheared_mm = PLACED_MM.copy()
    sheared_mm[0, 0] = 1
    path = write_in("metres", tmp_path / "a.nii.gz", 1, 0, affine_mm=sheared_mm)
    volume = read_scan(path, options=ReadOptions(resample=True))
    write_image(np.zeros(volume.native.shape, np.uint8), volume.native, tmp_path / "b.nii")
    assert nibabel.load(tmp_path / "b.nii").header.get_xyzt_units()[0] == "mm"
    np.testing.assert_allclose(read_geometry(tmp_path / "b.nii").affine, volume.native.affine, rtol=1e-6, atol=1e-4)


def test_unknown_units_are_taken_as_mm(tmp_path):
    assert read_scan(write(tmp_path / "a.nii.gz", xyzt_units=0)).warnings == ()
    volume = read_scan(write(tmp_path / "a.nii.gz", xyzt_units=5))
    assert volume.native.spacing_mm == (1, 1, 3)
    assert "unknown unit 5; they are taken as mm" in volume.warnings[0]


@pytest.mark.parametrize(("code", "name"), [(1, "metres"), (3, "micrometres")])
def test_a_spacing_that_is_impossible_in_the_headers_unit_is_refused_with_the_unit(tmp_path, code, name):
    path = write(tmp_path / "a.nii.gz", xyzt_units=code)
    refused(errors.BadGeometry, path, rf"converted from {name}\) of [\d.]+ x", "correct the header")
    path = write(tmp_path / "b.nii.gz", xyzt_units=code, pixdim=np.array([1, 1, 1, 3, 0, 0, 0, 0]) / UNITS[name][1])
    refused(errors.BadGeometry, path, rf"affine converted from {name}\) of")


@pytest.mark.parametrize("length", [0.0, -3.0, np.nan, 1e-5, 3000.0])
def test_impossible_spacing_is_refused(tmp_path, length):
    path = write(tmp_path / "a.nii.gz", pixdim=[1, 1, 1, length, 0, 0, 0, 0])
    assert refused(errors.BadGeometry, path, "spacing", f"{length:g}").id == "SAM-E0314"


def test_a_singular_affine_is_refused(tmp_path):
    path = write(tmp_path / "a.nii.gz", srow_z=[0, 0, 0, 0], sform_code=1)
    refused(errors.BadGeometry, path, "singular", "affine")


def test_an_affine_with_nan_is_refused(tmp_path):
    refused(errors.BadGeometry, write(tmp_path / "a.nii.gz", srow_x=[np.nan, 0, 0, 0], sform_code=1), "not finite")


# --- refused files ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("read", [read_scan, read_labels, read_geometry])
def test_a_missing_file_is_named_with_its_neighbour(tmp_path, read):
    write(tmp_path / "liver_01.nii.gz")
    path = tmp_path / "liver_1.nii.gz"
    assert refused(errors.MissingFile, path, "does not exist", "liver_01.nii.gz", read=read).id == "SAM-E0301"


def test_a_missing_folder_is_named(tmp_path):
    refused(errors.MissingFile, tmp_path / "no" / "a.nii.gz", "does not exist", "folder")


def test_an_empty_folder_is_no_scan(tmp_path):
    refused(errors.NotAScan, tmp_path, "holds no DICOM file")


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"hello, I am a text file\n" * 40, "unknown kind"),
        (b"", "empty"),
        (gzip.compress(b"NRRD0004\n" + b" " * 900, mtime=0), "NRRD in gzip"),
        (b"\x93NUMPY" + b" " * 900, "NumPy"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 900, "PNG"),
        (gzip.compress(b"something else " * 90, mtime=0), "unknown kind"),
    ],
)
@pytest.mark.parametrize("read", [read_scan, read_labels, read_geometry])
def test_other_content_is_no_scan(tmp_path, content, word, read):
    path = tmp_path / "a.nii.gz"
    path.write_bytes(content)
    assert (
        refused(errors.NotAScan, path, "no scan", word, "NIfTI, NRRD, MetaImage or DICOM", read=read).id == "SAM-E0302"
    )


def test_a_header_without_its_image_file_is_refused(tmp_path):
    nibabel.save(nibabel.Nifti1Pair(ramp(), np.eye(4)), tmp_path / "pair.hdr")
    refused(errors.NotAScan, tmp_path / "pair.hdr", "pair")


@pytest.mark.parametrize("keep", [0.3, 0.6, 0.9, 0.999])
def test_a_truncated_gzip_is_named_with_the_byte_where_it_breaks(tmp_path, keep):
    noise = RNG.integers(-1000, 1000, (128, 128, 40)).astype(np.int16)
    path = write(tmp_path / "a.nii.gz", noise)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * keep)])
    total = 352 + noise.nbytes
    fault = refused(errors.TruncatedFile, path, "truncated", rf"after byte \d+ of {total}", "Copy or download it again")
    assert fault.id == "SAM-E0303"
    broke_at = int(re.search(r"after byte (\d+) of", str(fault)).group(1))
    assert abs(broke_at / total - keep) < 0.1


def test_a_gzip_that_ends_within_the_header_is_truncated(tmp_path):
    path = write(tmp_path / "a.nii.gz")
    path.write_bytes(path.read_bytes()[:30])
    refused(errors.TruncatedFile, path, "truncated", "header", read=read_geometry)


def test_a_damaged_gzip_is_named(tmp_path):
    path = write(tmp_path / "a.nii.gz", RNG.integers(-1000, 1000, (64, 64, 20)).astype(np.int16))
    content = bytearray(path.read_bytes())
    content[-6] ^= 0xFF  # within the checksum, so that only reading to the very end shows it
    path.write_bytes(bytes(content))
    refused(errors.TruncatedFile, path, "damaged", "CRC")


def test_a_truncated_plain_file_is_named_with_its_length(tmp_path):
    path = write(tmp_path / "a.nii")
    path.write_bytes(path.read_bytes()[:500])
    for read in (read_scan, read_geometry):
        refused(errors.TruncatedFile, path, "truncated", "promises 772 bytes", "ends at byte 500", read=read)


def test_a_header_that_promises_the_impossible_costs_no_memory(tmp_path):
    path = write(tmp_path / "a.nii.gz", dim=[3, 32000, 32000, 32000, 1, 1, 1, 1])
    refused(errors.TruncatedFile, path, "promises 65536000000352 bytes", read=read_geometry)


def test_a_header_without_voxels_is_refused(tmp_path):
    refused(errors.BadGeometry, write(tmp_path / "a.nii.gz", dim=[3, 4, 0, 5, 1, 1, 1, 1]), "no voxels")


@pytest.mark.parametrize(("kind", "least"), [(nibabel.Nifti1Image, 352), (nibabel.Nifti2Image, 544)])
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_a_start_within_the_header_is_refused_and_none_is_right_behind_it(tmp_path, kind, least, name):
    expected = read_scan(write(tmp_path / name, kind=kind)).array
    np.testing.assert_array_equal(read_scan(write(tmp_path / name, kind=kind, vox_offset=0)).array, expected)
    for offset in (1, least - 1):
        path = write(tmp_path / name, kind=kind, vox_offset=offset)
        for read in (read_scan, read_labels, read_geometry):
            refused(errors.BadGeometry, path, f"begin at byte {offset}", f"at {least} at the earliest", read=read)


@pytest.mark.parametrize("offset", [np.nan, np.inf])
def test_a_start_that_is_no_number_is_refused(tmp_path, offset):
    refused(errors.BadGeometry, write(tmp_path / "a.nii", vox_offset=offset), "damaged header")


@pytest.mark.parametrize("read", [read_scan, read_labels, read_geometry])
def test_a_drive_that_fails_is_named_with_the_file(tmp_path, monkeypatch, read):
    path = write(tmp_path / "a.nii.gz")

    def fail(*_, **__):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("gzip.GzipFile.read", fail)
    refused(errors.DataError, path, "cannot be read: Input/output error", "network drive", read=read)


@pytest.mark.parametrize("read", [read_scan, read_labels, read_geometry])
def test_a_series_is_refused(tmp_path, read):
    path = write(tmp_path / "a.nii.gz", ramp((6, 7, 5, 4)))
    fault = refused(errors.NotThreeD, path, "4 axes", "6 x 7 x 5 x 4", "4 volumes", "--frame 0 to --frame 3", read=read)
    assert fault.id == "SAM-E0304"


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_one_volume_of_a_series_is_read_by_its_number(tmp_path, name):
    array = ramp((6, 7, 5, 4))
    path = write(tmp_path / name, array)
    for frame in range(4):
        stored = read_stored(path, ReadOptions(frame=frame))
        np.testing.assert_array_equal(stored.voxels, array[..., frame])
    with pytest.raises(errors.NotThreeD, match="no number 4"):
        read_geometry(path, ReadOptions(frame=4))


def test_one_channel_of_vectors_is_read_by_its_number(tmp_path):
    array = ramp((6, 7, 5, 2, 3))
    path = write(tmp_path / "a.nii.gz", array)
    np.testing.assert_array_equal(read_stored(path, ReadOptions(frame=1, channel=2)).voxels, array[..., 1, 2])
    with pytest.raises(errors.UnsupportedVoxels, match="3 channels per voxel"):
        read_geometry(path, ReadOptions(frame=1))


def test_many_broken_voxels_are_refused_with_count_share_and_place(tmp_path):
    array = ramp(dtype=np.float32)
    array[2, 3, 1] = np.nan
    fault = refused(errors.NonFiniteVoxels, write(tmp_path / "a.nii.gz", array), "1 of 210", "NaN", r"\(2, 3, 1\)")
    assert fault.id == "SAM-E0305"


def test_values_beyond_float32_count_as_broken(tmp_path):
    path = write(tmp_path / "a.nii.gz", np.full((4, 4, 4), 1e300))
    refused(errors.NonFiniteVoxels, path, "64 of 64")


@pytest.mark.parametrize("value", [0, -1000])
def test_a_constant_image_is_refused(tmp_path, value):
    path = write(tmp_path / "a.nii.gz", np.full((6, 7, 5), value, np.int16))
    assert refused(errors.ConstantImage, path, "constant image", f"are {value},").id == "SAM-E0306"


def test_an_image_that_is_constant_but_for_nan_is_refused(tmp_path):
    array = np.full((20, 20, 10), 7, np.float32)
    array[0, 0, 0] = np.nan
    refused(errors.ConstantImage, write(tmp_path / "a.nii.gz", array), "constant")


def test_colours_are_refused(tmp_path):
    rgb = np.zeros((4, 4, 4), np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")]))
    rgb["G"] = ramp((4, 4, 4))
    path = write(tmp_path / "a.nii.gz", rgb)
    fault = refused(errors.UnsupportedVoxels, path, "colours, 3 channels", "--channel 0 to --channel 2")
    assert fault.id == "SAM-E0315"
    np.testing.assert_array_equal(read_stored(path, ReadOptions(channel=1)).voxels, rgb["G"])


def test_complex_numbers_are_refused(tmp_path):
    refused(errors.UnsupportedVoxels, write(tmp_path / "a.nii.gz", ramp(dtype=np.complex64)), "complex")


def test_an_unknown_type_is_refused_by_its_code(tmp_path):
    refused(errors.UnsupportedVoxels, write(tmp_path / "a.nii.gz", datatype=999), "code 999", read=read_geometry)


# --- label maps -------------------------------------------------------------------------------------------------------


def labels_array(largest=3):
    array = np.zeros((6, 7, 5), np.int32)
    array[1:3, 2:4, 1] = 1
    array[4, 4, 4] = largest
    return array


@pytest.mark.parametrize(
    ("dtype", "noise"), [(np.uint8, 0), (np.int16, 0), (np.float32, 0), (np.float64, 4e-4), (np.float32, -4e-4)]
)
def test_labels_may_be_stored_in_any_type_that_holds_whole_numbers(tmp_path, dtype, noise):
    stored = (labels_array() + noise).astype(dtype)
    labels = read_labels(write(tmp_path / "a.nii.gz", stored, affine=np.diag([-1.0, -1, 1, 1])), "axial")
    assert labels.array.dtype == np.uint8
    np.testing.assert_array_equal(labels.array, labels_array().transpose(2, 1, 0))


def test_scaled_labels_are_read(tmp_path):
    path = write(tmp_path / "a.nii.gz", labels_array().astype(np.int16) * 2, scl_slope=0.5, scl_inter=0)
    assert read_labels(path).voxel_counts() == {0: 205, 1: 4, 3: 1}


def test_many_labels_take_two_bytes(tmp_path):
    assert read_labels(write(tmp_path / "a.nii.gz", labels_array(300))).array.dtype == np.uint16


def test_an_empty_label_map_is_no_constant_image(tmp_path):
    labels = read_labels(write(tmp_path / "a.nii.gz", np.zeros((4, 5, 6), np.uint8)))
    assert labels.voxel_counts() == {0: 120}
    assert labels.names == {}


def test_labels_without_names_are_named_by_their_value(tmp_path):
    assert set(read_labels(write(tmp_path / "a.nii.gz", labels_array())).names) == {1, 3}


def test_fractions_are_no_labels(tmp_path):
    path = write(tmp_path / "a.nii.gz", labels_array() * 0.5)
    fault = refused(errors.NotIntegerLabels, path, "whole numbers", r"0\.5", read=read_labels)
    assert fault.id == "SAM-E0312"


@pytest.mark.parametrize("value", [-1, 70000])
def test_labels_out_of_range_are_refused(tmp_path, value):
    refused(errors.NotIntegerLabels, write(tmp_path / "a.nii.gz", labels_array(value)), f"{value}", read=read_labels)


def test_labels_that_are_nan_are_refused(tmp_path):
    array = labels_array().astype(np.float32)
    array[0, 0, 0] = np.nan
    refused(errors.NonFiniteVoxels, write(tmp_path / "a.nii.gz", array), "1 labels", r"\(0, 0, 0\)", read=read_labels)


def test_values_without_a_name_are_listed_with_their_counts(tmp_path):
    path = write(tmp_path / "a.nii.gz", labels_array(9))
    with pytest.raises(errors.UnknownLabels, match=r"9 \(1 voxels\).*1 liver") as caught:
        read_labels(path, "axial", {1: "liver"})
    assert (caught.value.id, caught.value.exit_code) == ("SAM-E0308", 3)


def test_real_scans_are_read_without_a_warning(shared_data):
    for folder in sorted(shared_data.glob("Dataset*")):
        for path in sorted((folder / "imagesTr").glob("*.nii.gz"))[:3]:
            volume = read_scan(path)
            assert volume.warnings == ()
            assert volume.plane == "axial"
            expected = nibabel.as_closest_canonical(nibabel.load(path)).get_fdata(dtype=np.float32)
            np.testing.assert_array_equal(volume.array, expected[::-1, ::-1].transpose(2, 1, 0))
