"""The rows of the bad-input table that concern one scan: each is refused, or read with a warning, as specified."""

import gzip
import json

import nibabel
import numpy as np
import pytest

from sautomed.scans import read_labels, read_scan

from .conftest import noise, patch, write

RGB = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])


# --- corrupted / truncated file ---


def cut(path):
    path.write_bytes(path.read_bytes()[:-1500])
    return path


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("a.nii.gz", ["truncated", "breaks off after byte ", "the transfer probably stopped early"]),
        ("a.nii", ["truncated", "promises 31072 bytes", "ends at byte 29572", "the transfer probably stopped early"]),
    ],
)
def test_corrupted_or_truncated_alone(segment, tmp_path, name, words):
    segment(3, "SAM-E0303", words, cut(write(tmp_path / name)))


def test_corrupted_by_a_flipped_bit(segment, tmp_path):
    path = write(tmp_path / "a.nii.gz")
    content = bytearray(path.read_bytes())
    content[-6] ^= 1  # the checksum of gzip
    path.write_bytes(bytes(content))
    segment(3, "SAM-E0303", ["damaged", "after byte", "CRC"], path)


def test_corrupted_or_truncated_in_a_batch(command, trained_run, tmp_path):
    write(tmp_path / "in" / "a.nii.gz")
    cut(write(tmp_path / "in" / "b.nii.gz"))
    code, output = command("segment", "-i", tmp_path / "in", "-m", trained_run, "-o", tmp_path / "out", "--no-preview")
    assert code == 6
    for words in ("SAM-E0303", "SAM-E0601", "1 of 2 scans failed", "--resume"):
        assert words in output
    (row,) = json.loads((tmp_path / "out" / "failures.json").read_text())["failures"]
    assert (row["case"], row["id"], row["exit_code"]) == ("b", "SAM-E0303", 3)
    assert json.loads((tmp_path / "out" / "b.json").read_text())["error"]["id"] == "SAM-E0303"
    left = {path.name for path in (tmp_path / "out").iterdir()}
    assert left == {
        "a.nii.gz",
        "a.json",
        "a.prompts.json",
        "b.json",
        "failures.json",
        "itksnap_labels.txt",
        "summary.json",
    }


# --- wrong suffix ---


def test_wrong_suffix(command, tmp_path):
    plain = write(tmp_path / "a.nii")
    named = plain.rename(tmp_path / "a.nii.gz")
    code, output = command("convert", "-i", named, "-o", tmp_path / "b.nrrd")
    assert code == 0
    assert "is plain NIfTI named .gz" in output
    np.testing.assert_array_equal(read_scan(tmp_path / "b.nrrd", "axial").array, read_scan(named, "axial").array)


# --- wrong number of channels ---


@pytest.fixture
def colours(tmp_path):
    array = np.zeros((8, 8, 4), RGB)
    array["R"] = noise((8, 8, 4), np.uint8)
    return write(tmp_path / "rgb.nii.gz", array)


def test_wrong_number_of_channels_of_a_colour_picture(segment, command, colours, trained_run, tmp_path):
    words = ["3 channels (R, G, B)", "The model expects one channel per voxel, MR", "--channel 0 to --channel 2"]
    segment(3, "SAM-E0315", words, colours)
    chosen = ("-i", colours, "-m", trained_run, "-o", tmp_path / "red.nii.gz", "--channel", "0")
    assert command("segment", *chosen)[0] == 0


def test_wrong_number_of_channels_of_vectors(segment, tmp_path):
    path = write(tmp_path / "a.nii.gz", noise((8, 8, 4, 1, 3)))
    segment(3, "SAM-E0315", ["3 channels per voxel", "The model expects one channel", "--channel 0 to"], path)


def test_a_channel_or_frame_that_is_not_there(segment, tmp_path):
    path = write(tmp_path / "a.nii.gz")
    segment(3, "SAM-E0315", ["no number 9", "Leave --channel out"], path, "--channel", "9")
    segment(3, "SAM-E0304", ["no number 99", "Leave --frame out"], path, "--frame", "99")


# --- non-orthonormal affine ---


def sheared(mm):
    """A grid whose far corner is moved by so many mm along x."""
    affine = np.diag([2.0, 2.0, 5.0, 1.0])
    affine[0, 2] = mm / 5
    return affine


def test_non_orthonormal_affine_is_corrected_and_written_again(command, trained_run, tmp_path, caplog):
    scan = write(tmp_path / "a.nii.gz", affine=sheared(0.5))
    code, _ = command("segment", "-i", scan, "-m", trained_run, "-o", tmp_path / "b.nii.gz", "--no-preview", "--json")
    assert code == 0
    assert "not at right angles" in caplog.text
    np.testing.assert_allclose(nibabel.load(tmp_path / "b.nii.gz").affine, sheared(0.5), atol=1e-6)
    (warning,) = json.loads((tmp_path / "b.json").read_text())["warnings"]
    assert "moves a corner by" in warning


def test_non_orthonormal_affine_beyond_what_may_be_corrected(segment, command, trained_run, tmp_path):
    scan = write(tmp_path / "a.nii.gz", affine=sheared(20))
    segment(3, "SAM-E0319", ["sheared", "more than the 1 mm", "--resample"], scan)
    chosen = ("-i", scan, "-m", trained_run, "-o", tmp_path / "b.nii.gz", "--resample")
    assert command("segment", *chosen)[0] == 0


def test_an_affine_of_one_plane_is_refused(segment, tmp_path):
    path = patch(write(tmp_path / "a.nii"), srow_x=[2, 2, 0, 0], srow_y=[0, 0, 0, 0], srow_z=[0, 0, 5, 0])
    segment(3, "SAM-E0314", ["singular affine", "from its source"], path)


# --- qform / sform ---


def test_qform_and_sform_that_disagree_are_told_with_the_angle(command, tmp_path):
    turned = np.diag([2.0, 2.0, 5.0, 1.0])
    angle = np.radians(5)
    turned[:2, :2] = 2 * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])

    def edit(image):
        image.set_sform(image.affine, code=1)
        image.set_qform(turned, code=1)

    code, output = command("info", write(tmp_path / "a.nii.gz", edit=edit))
    assert code == 0
    assert "sform and qform differ by 5.0 degrees" in output
    assert "the sform is taken" in output


def test_qform_and_sform_unset(segment, command, trained_run, tmp_path):
    path = patch(write(tmp_path / "a.nii"), qform_code=0, sform_code=0)
    segment(3, "SAM-E0320", ["sform and qform unset", "left and right could be swapped", "--assume-spacing"], path)
    chosen = ("-i", path, "-m", trained_run, "-o", tmp_path / "b.nii.gz", "--assume-spacing", "--no-preview")
    assert command("segment", *chosen)[0] == 0


# --- zero, negative or absurd spacing ---


@pytest.mark.parametrize("length", [0.0, -2.0, 1e4, 1e-5, float("nan"), 999.0])
def test_zero_negative_or_absurd_spacing(segment, tmp_path, length):
    path = write(tmp_path / "a.nii")
    pixdim = nibabel.load(path).header["pixdim"].copy()
    pixdim[3] = length
    words = ["spacing", f"2 x 2 x {length:g} mm", "correct the header"]
    segment(3, "SAM-E0314", [*words, *(["flat picture"] if length == 999 else [])], patch(path, pixdim=pixdim))


def test_fake_spacing_of_a_flat_picture_is_told(command, tmp_path):
    code, output = command("info", write(tmp_path / "a.nii.gz", noise((40, 32, 1))))
    assert code == 0
    assert "its thickness is only what the header says" in output
    code, output = command("info", write(tmp_path / "b.nii.gz", noise((256, 256, 4)), np.eye(4)))
    assert code == 0
    assert "as if it was lost in a conversion" in output


# --- NaN / Inf voxels ---


def test_nan_and_inf_above_the_limit(segment, tmp_path):
    array = noise()
    array[3, 4, 5], array[10:20] = np.inf, np.nan
    words = ["1921 of 7680 voxels (25.01%)", "NaN or infinite", "index (3, 4, 5)", "above 0.1%", "Export the scan"]
    segment(3, "SAM-E0305", words, write(tmp_path / "a.nii.gz", array))


def test_nan_and_inf_below_the_limit_are_mended_and_recorded(command, trained_run, tmp_path):
    array = noise()
    array[3, 4, 5] = np.nan
    scan = write(tmp_path / "a.nii.gz", array)
    chosen = ("-i", scan, "-m", trained_run, "-o", tmp_path / "b.nii.gz", "--json", "--no-preview")
    assert command("segment", *chosen)[0] == 0
    (warning,) = json.loads((tmp_path / "b.json").read_text())["warnings"]
    for words in ("1 of 7680 voxels (0.01%)", "index (3, 4, 5)", "set to the image's minimum"):
        assert words in warning


# --- constant / empty image ---


@pytest.mark.parametrize("value", [0, 7])
def test_constant_or_empty_image(segment, tmp_path, value):
    path = write(tmp_path / "a.nii.gz", np.full((8, 8, 4), value, np.int16))
    segment(3, "SAM-E0306", ["constant image", f"256 voxels are {value}", "Export the scan again"], path)


# --- 4D input ---


def test_four_axes(segment, command, trained_run, tmp_path):
    path = write(tmp_path / "a.nii.gz", noise((8, 8, 4, 3)))
    segment(3, "SAM-E0304", ["8 x 8 x 4 x 3", "3 volumes", "--frame 0 to --frame 2"], path)
    chosen = ("-i", path, "-m", trained_run, "-o", tmp_path / "b.nii.gz", "--frame", "2")
    assert command("segment", *chosen)[0] == 0


# --- structured dtype, complex, uint64 ---


def test_complex_numbers(segment, tmp_path):
    path = write(tmp_path / "a.nii.gz", noise((8, 8, 4)).astype(np.complex64))
    segment(3, "SAM-E0315", ["complex numbers", "magnitude"], path)


def test_64_bit_numbers_are_cast_where_they_fit_and_refused_where_not(segment, tmp_path):
    small = write(tmp_path / "small.nii", noise((8, 8, 4)).astype(np.uint64), dtype=np.uint64)
    np.testing.assert_array_equal(
        np.sort(read_scan(small).array, axis=None), np.sort(noise((8, 8, 4)).astype(np.uint64), axis=None)
    )
    beyond = write(tmp_path / "beyond.nii", noise((8, 8, 4)).astype(np.float64) * 1e40)
    segment(3, "SAM-E0305", ["NaN or infinite"], beyond)


def test_64_bit_labels_beyond_the_range(refused, tmp_path):
    labels = np.zeros((8, 8, 4), np.uint64)
    labels[0, 0, 0] = 2**40
    path, out = write(tmp_path / "a.nii", labels, dtype=np.uint64), tmp_path / "scores"
    words = ["whole numbers from 0 to 65535", "give its label map"]
    refused(3, "SAM-E0312", words, "evaluate", "-p", path, "-r", path, "-o", out, target=out)


# --- huge volume ---


@pytest.fixture
def huge(tmp_path):
    """Terabytes by its header and its length, and next to nothing on the disk."""
    path = patch(write(tmp_path / "huge.nii", noise((8, 8, 4), np.int16)), dim=[3, 12000, 12000, 6000, 1, 1, 1, 1])
    try:
        with path.open("r+b") as stream:
            stream.truncate(352 + 2 * 12000 * 12000 * 6000)
    except OSError:
        pytest.skip("this file system holds no file with holes")
    return path


def test_huge_volume_is_found_out_from_the_header(segment, huge):
    words = ["12000 x 12000 x 6000 voxels", "GB of memory", "one slice at a time"]
    segment(5, "SAM-E0501", words, huge)
    segment(5, "SAM-E0501", [*words, "--max-ram allows 2.00 GB", "Give --max-ram"], huge, "--max-ram", "2")


def test_huge_volume_is_not_read_by_the_other_verbs_either(refused, huge, tmp_path):
    target = tmp_path / "b.nrrd"
    refused(5, "SAM-E0501", ["1728.0 GB of memory"], "convert", "-i", huge, "-o", target, target=target)
    refused(5, "SAM-E0501", ["1728.0 GB of memory"], "info", huge)


def test_the_memory_that_may_be_used_can_be_said(segment, command, trained_run, tmp_path):
    path = write(tmp_path / "a.nii.gz")
    segment(5, "SAM-E0501", ["--max-ram allows 0.10 GB", "Give --max-ram"], path, "--max-ram", "0.1")
    chosen = ("-i", path, "-m", trained_run, "-o", tmp_path / "b.nii.gz", "--max-ram", "inf", "--no-preview")
    assert command("segment", *chosen)[0] == 0


# --- tiny volume ---


@pytest.mark.parametrize("shape", [(40, 32, 1), (1, 1, 2), (1, 32, 40)])
def test_tiny_volume_or_one_slice(command, trained_run, tmp_path, shape):
    scan, target = write(tmp_path / "a.nii.gz", noise(shape)), tmp_path / "b.nii.gz"
    assert command("segment", "-i", scan, "-m", trained_run, "-o", target)[0] == 0
    assert nibabel.load(target).shape == shape


# --- labels: float or scaled, more than 255 ---


def test_float_or_scaled_labels(refused, command, tmp_path):
    truth = np.zeros((8, 8, 4), np.uint8)
    truth[2:5, 2:5] = 3
    reference = write(tmp_path / "truth.nii.gz", truth)
    scaled = write(tmp_path / "scaled.nii", truth // 3, edit=lambda image: image.header.set_slope_inter(3, 0))
    nearly = write(tmp_path / "float.nii.gz", truth + np.float32(5e-4))
    for path in (scaled, nearly):
        code, output = command("evaluate", "-p", path, "-r", reference, "-o", tmp_path / "scores")
        assert (code, "1.000" in output) == (0, True)
    odd, out = write(tmp_path / "odd.nii.gz", truth + np.float32(0.4)), tmp_path / "none"
    words = ["256 values that are no whole numbers", "the first 0.4 at (0, 0, 0)", "resample it again by nearest"]
    refused(3, "SAM-E0312", words, "evaluate", "-p", odd, "-r", reference, "-o", out, target=out)


@pytest.mark.parametrize("ending", ["nii.gz", "nrrd", "mha"])
@pytest.mark.parametrize(("most", "dtype"), [(255, np.uint8), (256, np.uint16), (65535, np.uint16)])
def test_more_than_255_classes_are_written_in_the_smallest_type(tmp_path, most, dtype, ending):
    array = np.zeros((8, 8, 4), np.int32)
    array[1, 2, 3] = most
    labels = read_labels(write(tmp_path / "a.nii", array))
    labels.save(tmp_path / f"b.{ending}")
    again = read_labels(tmp_path / f"b.{ending}", labels.plane)
    assert (again.array.dtype, again.voxel_counts()) == (dtype, labels.voxel_counts())


def test_a_gzip_within_a_gzip_is_no_scan(segment, tmp_path):
    path = write(tmp_path / "a.nii.gz")
    path.write_bytes(gzip.compress(path.read_bytes()))
    segment(3, "SAM-E0302", ["is no scan that can be read"], path)
