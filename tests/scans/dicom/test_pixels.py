import warnings

import numpy as np
import pytest
from pydicom.uid import (
    JPEG2000,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from sautomed.errors import DamagedDicom, TruncatedFile, UnsupportedVoxels
from sautomed.scans.dicom.read import read_geometry, read_stored
from sautomed.scans.stored import ReadOptions

from .build import PLAIN as PLAIN_SYNTAXES
from .build import make_series, to_jpeg

PLAIN = ReadOptions()
LOSSLESS = (JPEG2000Lossless, JPEGLSLossless, RLELossless)


def smooth(dtype=np.uint16, low=0, high=4000):
    """Return smooth images, which lossy compression changes little."""
    planes = np.linspace(low, high, 3 * 40 * 36).reshape(3, 40, 36)
    return planes.astype(dtype)


@pytest.mark.parametrize("syntax", [*PLAIN_SYNTAXES, *LOSSLESS], ids=lambda uid: uid.name)
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16])
def test_every_syntax_gives_the_same_numbers(tmp_path, syntax, dtype):
    limits = np.iinfo(dtype)
    stored = np.random.default_rng(0).integers(limits.min, limits.max, (3, 40, 36), endpoint=True).astype(dtype)
    if syntax == JPEGLSLossless and dtype == np.int16:  # the encoder refuses signed numbers; the format does not
        written = make_series(tmp_path / "s", stored.view(np.uint16), syntax=syntax, PixelRepresentation=1)
    else:
        written = make_series(tmp_path / "s", stored, syntax=syntax)
    found = read_stored(written.path, PLAIN)
    np.testing.assert_array_equal(found.voxels, stored.astype(np.int32).transpose(2, 1, 0) - 1024)
    assert found.voxels.dtype.kind == "i"


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16])
def test_lossless_jpeg_is_read(tmp_path, dtype):
    limits = np.iinfo(dtype)
    written = make_series(tmp_path / "s", smooth(dtype, limits.min, limits.max))
    for file in written.files:
        to_jpeg(file)
    found = read_stored(written.path, PLAIN)
    assert "JPEG Lossless" in found.geometry.format
    np.testing.assert_array_equal(found.voxels, written.voxels)


def test_jpeg_of_12_bits_is_read(tmp_path):
    written = make_series(tmp_path / "s", smooth(), BitsStored=12, HighBit=11)
    for file in written.files:
        to_jpeg(file, "JPEGExtendedProcess2_4")
    found = read_stored(written.path, PLAIN)
    assert "JPEG Extended" in found.geometry.format
    np.testing.assert_allclose(found.voxels, written.voxels, atol=4)


def test_jpeg_of_8_bits_is_read(tmp_path):
    written = make_series(tmp_path / "s", smooth(np.uint8, 0, 255))
    for file in written.files:
        to_jpeg(file, "JPEGBaselineProcess1")
    found = read_stored(written.path, PLAIN)
    assert "JPEG Baseline" in found.geometry.format
    np.testing.assert_allclose(found.voxels, written.voxels, atol=4)


def test_damaged_lossless_jpeg_is_a_fault_of_its_file_although_it_ends_the_decoder(tmp_path, capfd):
    written = make_series(tmp_path / "s", smooth())
    for file in written.files:
        to_jpeg(file)
    content = bytearray(written.files[1].read_bytes())
    table = content.rindex(b"\xff\xc4")
    content[table + 5 : table + 21] = b"\xff" * 16  # how many codes there are of each length
    written.files[1].write_bytes(content)
    with pytest.raises(DamagedDicom, match=f"{written.files[1].name} has pixels that cannot be decoded"):
        read_stored(written.path, PLAIN)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("syntax", [JPEG2000, JPEGLSNearLossless], ids=lambda uid: uid.name)
def test_lossy_syntaxes_are_read(tmp_path, syntax):
    options = {"jls_error": 2} if syntax == JPEGLSNearLossless else {"j2k_psnr": [110]}

    def edit(index, dataset):
        dataset.compress(syntax, generate_instance_uid=False, **options)

    written = make_series(tmp_path / "s", smooth(), edit=edit)
    assert np.abs(read_stored(written.path, PLAIN).voxels - written.voxels).max() < 5


@pytest.mark.parametrize(
    ("stored", "slope", "intercept", "expected"),
    [
        (smooth(np.uint16, 0, 4095), 1, 0, np.uint16),
        (smooth(np.uint16, 0, 4095), 1, -1024, np.int16),
        (smooth(np.int16, -2000, 3000), 1, 0, np.int16),
        (smooth(np.uint16, 0, 65535), 1, -1024, np.int32),
        (smooth(np.uint8, 0, 255), 1, 0, np.uint8),
        (smooth(np.uint16, 0, 4095), 0.5, 0, np.float32),
        (smooth(np.uint16, 0, 4095), 1, 0.25, np.float32),
        (smooth(np.float32, -1, 1), 1, 0, np.float32),
        (smooth(np.int32, -100000, 100000), 1, 0, np.int32),
    ],
)
def test_whole_numbers_stay_whole_in_the_smallest_type_that_holds_them(tmp_path, stored, slope, intercept, expected):
    written = make_series(tmp_path / "s", stored, slope=slope, intercept=intercept)
    found = read_stored(written.path, PLAIN)
    assert found.voxels.dtype == expected
    assert found.geometry.dtype == expected
    assert (found.slope, found.intercept) == (1, 0)
    np.testing.assert_allclose(found.voxels, written.voxels, rtol=1e-6)


def test_each_slice_is_scaled_by_its_own_slope(tmp_path):
    stored = smooth()

    def edit(index, dataset):
        dataset.RescaleSlope, dataset.RescaleIntercept = index + 1, 10 * index

    found = read_stored(make_series(tmp_path / "s", stored, edit=edit).path, PLAIN).voxels
    for index in range(3):
        np.testing.assert_array_equal(found[:, :, index].T, stored[index].astype(int) * (index + 1) + 10 * index)


def test_bits_above_the_stored_ones_are_not_part_of_the_number(tmp_path):
    stored = smooth(np.uint16, 0, 4095)

    def edit(index, dataset):
        dataset.BitsStored, dataset.HighBit = 12, 11
        dataset.PixelData = (stored[index] | 0xF000).astype("<u2").tobytes()

    written = make_series(tmp_path / "s", stored, edit=edit)
    np.testing.assert_array_equal(read_stored(written.path, PLAIN).voxels, written.voxels)


def test_a_slope_of_zero_is_refused(tmp_path):
    with pytest.raises(UnsupportedVoxels, match="RescaleSlope of 0"):
        read_stored(make_series(tmp_path / "s", slope=0).path, PLAIN)


def test_padding_is_kept_with_a_warning(tmp_path):
    stored = smooth(np.int16, 0, 1000)
    stored[:, :4] = -2000
    found = read_stored(make_series(tmp_path / "s", stored, PixelPaddingValue=-2000, intercept=0).path, PLAIN)
    assert found.voxels.min() == -2000
    assert any(
        "432 of 4320 voxels (10.0%)" in note and "padding value -2000" in note for note in found.geometry.warnings
    )


def test_inverted_display_and_unscaled_ct_give_warnings(tmp_path):
    def edit(index, dataset):
        del dataset.RescaleSlope, dataset.RescaleIntercept

    written = make_series(tmp_path / "s", edit=edit, PhotometricInterpretation="MONOCHROME1")
    notes = " ".join(read_stored(written.path, PLAIN).geometry.warnings)
    assert "MONOCHROME1" in notes
    assert "without a rescale to HU" in notes


@pytest.mark.parametrize("kept", [0.3, 0.7, 0.95])
def test_a_file_cut_short_is_named_with_its_bytes(tmp_path, kept):
    written = make_series(tmp_path / "s", smooth())
    content = written.files[1].read_bytes()
    written.files[1].write_bytes(content[: int(kept * len(content))])
    with pytest.raises(TruncatedFile, match=written.files[1].name):
        read_stored(written.path, PLAIN)


def test_a_file_without_pixels_is_named(tmp_path):
    def edit(index, dataset):
        if index == 2:
            del dataset.PixelData
            dataset.PatientComments = "x" * 5000  # so that the file is long enough for them

    written = make_series(tmp_path / "s", smooth(), edit=edit)
    with pytest.raises(TruncatedFile, match=rf"{written.files[2].name} has no pixels"):
        read_stored(written.path, PLAIN)


@pytest.mark.parametrize("syntax", LOSSLESS, ids=lambda uid: uid.name)
def test_a_damaged_compressed_image_is_named_with_its_syntax(tmp_path, syntax, capfd):
    written = make_series(tmp_path / "s", smooth(), syntax=syntax)
    content = bytearray(written.files[0].read_bytes())
    at = len(content) - 40
    written.files[0].write_bytes(
        content[: len(content) // 2 + 300] if syntax == RLELossless else content[: at // 2 + 350]
    )
    with pytest.raises((DamagedDicom, TruncatedFile), match=written.files[0].name):
        read_stored(written.path, PLAIN)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("syntax", LOSSLESS, ids=lambda uid: uid.name)
def test_a_compressed_image_of_another_size_than_in_the_header_is_refused_before_decoding(tmp_path, syntax):
    written = make_series(tmp_path / "s", smooth(), syntax=syntax, Rows=60000, Columns=60000)
    with pytest.raises(DamagedDicom, match="60000 x 60000"):
        read_stored(written.path, PLAIN)


def test_an_unknown_syntax_is_named(tmp_path):
    def edit(index, dataset):
        dataset.compress(RLELossless, generate_instance_uid=False)
        dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.100"

    with pytest.raises(DamagedDicom, match="compressed as MPEG2"):
        read_stored(make_series(tmp_path / "s", smooth(), edit=edit).path, PLAIN)


def test_the_header_alone_needs_no_pixels(tmp_path):
    written = make_series(tmp_path / "s", smooth(), syntax=JPEG2000Lossless)
    geometry = read_geometry(written.path, PLAIN)
    assert geometry.format == "DICOM CT, 3 files, JPEG 2000 Lossless"
    assert geometry.shape == (36, 40, 3)
    assert geometry.dtype == np.int32  # 16 bits less 1024


def test_warnings_of_libraries_do_not_reach_the_user(tmp_path):
    def edit(index, dataset):
        dataset.PixelData += b"\0\0\0\0"  # excess padding, which pydicom warns of

    written = make_series(tmp_path / "s", smooth(), edit=edit, syntax=ExplicitVRLittleEndian)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(read_stored(written.path, PLAIN).voxels, written.voxels)
