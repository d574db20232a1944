import numpy as np
import pytest
from pydicom.dataset import Dataset

from sautomed.errors import DamagedDicom, NotAVolume
from sautomed.scans.dicom.read import read_geometry, read_stored
from sautomed.scans.stored import ReadOptions

from .build import CORONAL, make_multi_frame, make_series

PLAIN = ReadOptions()


def test_a_multi_frame_file_is_sorted_by_the_positions_of_its_frames(tmp_path):
    written = make_multi_frame(tmp_path / "scan", (5, 3, 4), orientation=CORONAL, order=[3, 0, 4, 1, 2])
    stored = read_stored(written.path, PLAIN)
    np.testing.assert_array_equal(stored.voxels, written.voxels)
    np.testing.assert_allclose(stored.geometry.affine, written.affine, atol=1e-9)
    source = stored.geometry.native.source
    assert source.frames == (1, 3, 4, 0, 2)
    assert source.members == ("scan",) * 5
    assert [header.NumberOfFrames for header in source.headers()] == [5]
    assert stored.geometry.format == "DICOM MR, 1 file of 5 frames, Explicit VR Little Endian"


def test_a_frame_may_override_the_shared_groups(tmp_path):
    def edit(dataset):
        own = Dataset()
        own.RescaleSlope, own.RescaleIntercept = 3, -5
        dataset.PerFrameFunctionalGroupsSequence[2].PixelValueTransformationSequence = [own]

    written = make_multi_frame(tmp_path / "scan", edit=edit)
    found = read_stored(written.path, PLAIN).voxels
    np.testing.assert_array_equal(found[:, :, 1], written.voxels[:, :, 1])
    np.testing.assert_array_equal(found[:, :, 2], (written.voxels[:, :, 2] - 10) / 2 * 3 - 5)


def test_frames_that_are_not_described_are_refused(tmp_path):
    def edit(dataset):
        del dataset.PerFrameFunctionalGroupsSequence[1]

    with pytest.raises(DamagedDicom, match="NumberOfFrames is 4, but 3 frames are described"):
        read_geometry(make_multi_frame(tmp_path / "scan", edit=edit).path, PLAIN)


def test_a_film_is_refused_since_its_frames_have_no_positions(tmp_path):
    written = make_multi_frame(tmp_path / "film", PerFrameFunctionalGroupsSequence=None)
    with pytest.raises(NotAVolume, match="4 frames without a position for each"):
        read_geometry(written.path, PLAIN)


def test_time_points_of_a_multi_frame_file_are_chosen_one_by_one(tmp_path):
    def edit(dataset):
        for index, frame in enumerate(dataset.PerFrameFunctionalGroupsSequence):
            frame.FrameContentSequence = [Dataset()]
            frame.FrameContentSequence[0].TemporalPositionIndex = 1 + index // 3

    stored = np.arange(6 * 2 * 2, dtype=np.uint16).reshape(6, 2, 2)
    order = [0, 1, 2, 0, 1, 2]
    written = make_multi_frame(tmp_path / "scan", stored, order=order, edit=edit)
    second = read_stored(written.path, ReadOptions(series="time point 2"))
    assert second.geometry.native.source.frames == (3, 4, 5)
    np.testing.assert_array_equal(second.voxels, written.voxels[:, :, :3])


def rewrite(file, before, after):
    """Replace bytes of a file, to values that pydicom would not write."""
    content = file.read_bytes()
    assert before in content
    file.write_bytes(content.replace(before, after))


def test_a_decimal_comma_is_read(tmp_path):
    written = make_series(tmp_path / "s")
    for file in written.files:
        rewrite(file, b"0.7\\0.9", b"0,7\\0,9")
    stored = read_stored(written.path, PLAIN)
    assert stored.geometry.spacing_mm == pytest.approx((0.9, 0.7, 2.5))
    np.testing.assert_array_equal(stored.voxels, written.voxels)


@pytest.mark.parametrize("keyword", ["SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "Modality", "ImageType"])
@pytest.mark.parametrize("value", [None, ""])
def test_elements_that_an_anonymiser_removes_are_not_needed(tmp_path, keyword, value):
    written = make_series(tmp_path / "s", **{keyword: value})
    np.testing.assert_array_equal(read_stored(written.path, PLAIN).voxels, written.voxels)


@pytest.mark.parametrize("value", [b"nan\\nan", b"abc\\0.9", b"0.7    ", b"0\\7\\0.9", b"1e300\\1"])
def test_a_broken_number_that_is_needed_is_named_with_its_file(tmp_path, value):
    written = make_series(tmp_path / "s")
    rewrite(written.files[1], b"0.7\\0.9", value)
    with pytest.raises(DamagedDicom, match="PixelSpacing") as fault:
        read_geometry(written.path, PLAIN)
    assert written.files[1].name in str(fault.value)


def test_control_characters_of_a_header_do_not_reach_the_terminal(tmp_path):
    make_series(tmp_path / "a" / "1", SeriesDescription="\x1b[31mred\x07")
    make_series(tmp_path / "a" / "2", SeriesDescription="plain")
    with pytest.raises(Exception, match="red") as fault:
        read_geometry(tmp_path / "a", PLAIN)
    assert "\x1b" not in str(fault.value)
    assert "\x07" not in str(fault.value)
