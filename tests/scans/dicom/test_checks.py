import numpy as np
import pytest

from sautomed.errors import (
    BadGeometry,
    DuplicateSlices,
    GantryTilt,
    MixedOrientation,
    MixedSlices,
    NotAVolume,
    TooFewSlices,
    TruncatedFile,
    UnevenGaps,
    UnsupportedVoxels,
)
from sautomed.scans.dicom.read import read_geometry
from sautomed.scans.stored import ReadOptions

from .build import CORONAL, make_series, set_tag

PLAIN = ReadOptions()


def geometry_of(written):
    return read_geometry(written.path, PLAIN)


def edit_slice(number, **tags):
    """Return an `edit` that changes elements of one slice."""

    def edit(index, dataset):
        for keyword, value in tags.items() if index == number else ():
            set_tag(dataset, keyword, value)

    return edit


def test_a_missing_slice_is_named_with_its_neighbours(tmp_path):
    written = make_series(tmp_path / "s", (8, 2, 2), edit=lambda index, _: index != 3)
    with pytest.raises(UnevenGaps, match=r"2\.5 mm apart, but 5 mm between .*1 slice missing.*--resample") as fault:
        geometry_of(written)
    assert written.files[2].name in str(fault.value)
    assert written.files[3].name in str(fault.value)


def test_two_missing_slices_in_one_gap_are_counted(tmp_path):
    with pytest.raises(UnevenGaps, match=r"7\.5 mm between .*2 slices missing"):
        geometry_of(make_series(tmp_path / "s", (9, 2, 2), edit=lambda index, _: index not in (4, 5)))


def test_uneven_distances_that_are_no_missing_slices_are_refused_where_they_are(tmp_path):
    with pytest.raises(UnevenGaps, match=r"most lie 2 mm apart, but 3\.1 mm between .* mm\)\. Give") as fault:
        geometry_of(make_series(tmp_path / "s", (5, 2, 2), offsets_mm=[0, 2, 4, 7.1, 9.1]))
    assert "missing" not in str(fault.value)


def test_distances_that_drift_are_refused_even_if_each_is_nearly_right(tmp_path):
    places = np.cumsum([1.0] * 60 + [1.04] * 60)
    with pytest.raises(UnevenGaps, match="drift"):
        geometry_of(make_series(tmp_path / "s", (120, 1, 1), offsets_mm=places))


@pytest.mark.parametrize("decimals", [1, 2, 3])
def test_positions_that_were_rounded_are_still_one_volume(tmp_path, decimals):
    places = np.round(np.arange(12) * 0.625, decimals)
    assert geometry_of(make_series(tmp_path / "s", (12, 2, 2), offsets_mm=places)).spacing_mm[2] == pytest.approx(
        0.625, abs=0.01
    )


def test_a_tilted_gantry_is_refused_with_its_angle(tmp_path):
    tilt = np.radians(14)
    orientation = (1, 0, 0, 0, np.cos(tilt), -np.sin(tilt))
    along = np.array([0, 0, 2.5])

    def edit(index, dataset):
        dataset.ImagePositionPatient = [*(np.array([-100.0, -80, 30]) + index * along)]

    with pytest.raises(GantryTilt, match=r"gantry tilt of 14\.0 degrees \(the header gives -14\).*--resample"):
        geometry_of(make_series(tmp_path / "s", orientation=orientation, edit=edit, GantryDetectorTilt=-14))


def test_slices_shifted_without_a_common_direction_are_refused_too(tmp_path):
    def edit(index, dataset):
        dataset.ImagePositionPatient = [5.0 * (index in (2, 4)) * (-1) ** (index == 2), 0, 2.5 * index]

    with pytest.raises(GantryTilt, match="shifted against each other by up to 5"):
        geometry_of(make_series(tmp_path / "s", (7, 2, 2), edit=edit))


def test_a_tilt_in_the_header_alone_is_a_warning(tmp_path):
    (warning,) = geometry_of(make_series(tmp_path / "s", GantryDetectorTilt=7)).warnings
    assert "tilt of 7 degrees" in warning


def test_slices_of_two_directions_are_refused_and_the_odd_one_is_named(tmp_path):
    written = make_series(tmp_path / "s", edit=edit_slice(2, ImageOrientationPatient=list(CORONAL)))
    with pytest.raises(MixedOrientation, match=r"1 of 4 images are turned.*by 90\.0 degrees") as fault:
        geometry_of(written)
    assert written.files[2].name in str(fault.value)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (["ORIGINAL", "PRIMARY", "LOCALIZER"], "localiser"),
        (["DERIVED", "PRIMARY", "MOSAIC"], "Siemens mosaic"),
    ],
)
def test_kinds_of_images_that_are_no_slices_are_refused(tmp_path, kind, words):
    with pytest.raises(NotAVolume, match=words):
        geometry_of(make_series(tmp_path / "s", ImageType=kind))


@pytest.mark.parametrize("keyword", ["ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"])
@pytest.mark.parametrize("value", [None, ""])
def test_images_without_a_position_are_refused_with_the_missing_element(tmp_path, keyword, value):
    with pytest.raises(NotAVolume, match=rf"1 of 4 images have no .*{keyword}"):
        geometry_of(make_series(tmp_path / "s", edit=edit_slice(1, **{keyword: value})))


def test_images_at_one_position_are_no_volume(tmp_path):
    with pytest.raises(NotAVolume, match="all 4 images have the same position"):
        geometry_of(make_series(tmp_path / "s", offsets_mm=[0, 0, 0, 0]))


@pytest.mark.parametrize("count", [1, 2])
def test_fewer_than_three_slices_are_refused(tmp_path, count):
    with pytest.raises(TooFewSlices, match=rf"has {count} slice.*at least 3"):
        geometry_of(make_series(tmp_path / "s", (count, 2, 2)))


def test_a_single_slice_given_as_a_file_is_refused_with_advice_to_give_the_folder(tmp_path):
    file = make_series(tmp_path / "s").files[1]
    with pytest.raises(TooFewSlices, match=r"single slice of a series.*Give the folder"):
        read_geometry(file, PLAIN)


def test_two_images_at_one_position_are_refused_if_no_element_distinguishes_them(tmp_path):
    written = make_series(tmp_path / "s", (5, 2, 2), offsets_mm=[0, 2, 4, 4, 6])
    with pytest.raises(DuplicateSlices, match=r"several images at one position \(1 too many\)") as fault:
        geometry_of(written)
    assert written.files[3].name in str(fault.value)


@pytest.mark.parametrize(
    ("tags", "words"),
    [
        ({"Rows": 6, "Columns": 5, "PixelData": bytes(60)}, r"differ in size.*3 of 4 have 6 x 5 pixels.*has 5 x 6"),
        ({"PixelSpacing": [0.7, 0.95]}, r"differ in spacing.*0\.9 x 0\.7 mm.*has 0\.95 x 0\.7 mm"),
        ({"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}, "differ in pixel format.*16 bits.*has 8 bits"),
    ],
)
def test_slices_that_differ_are_refused_and_the_odd_one_is_named(tmp_path, tags, words):
    written = make_series(tmp_path / "s", edit=edit_slice(1, **tags))
    with pytest.raises(MixedSlices, match=words) as fault:
        geometry_of(written)
    assert written.files[1].name in str(fault.value)


@pytest.mark.parametrize(
    ("tags", "words"),
    [
        ({"PixelSpacing": [0, 0]}, "pixel spacing of 0"),
        ({"PixelSpacing": [0.001, 0.001]}, "absurd spacing"),
        ({"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]}, "no unit vectors at a right angle"),
        ({"ImageOrientationPatient": [0, 0, 0, 0, 0, 0]}, "no unit vectors"),
    ],
)
def test_impossible_geometry_is_refused(tmp_path, tags, words):
    with pytest.raises(BadGeometry, match=words):
        geometry_of(make_series(tmp_path / "s", **tags))


@pytest.mark.parametrize(
    ("tags", "words"),
    [
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "colours.*PALETTE COLOR"),
        ({"PhotometricInterpretation": "RGB", "SamplesPerPixel": 3, "PlanarConfiguration": 0}, "colours.*RGB, 3"),
        ({"BitsStored": 12, "HighBit": 15}, "upper end"),
        ({"BitsStored": 24}, "24 bits in each 16"),
        ({"BitsAllocated": 1, "BitsStored": 1, "HighBit": 0}, "pixels of 1 bits"),
    ],
)
def test_pixels_that_are_no_grey_values_are_refused(tmp_path, tags, words):
    with pytest.raises(UnsupportedVoxels, match=words):
        geometry_of(make_series(tmp_path / "s", **tags))


def test_a_header_that_promises_more_than_its_file_is_refused_before_any_memory_is_taken(tmp_path):
    with pytest.raises(TruncatedFile, match="promises 8589672450 bytes"):
        geometry_of(make_series(tmp_path / "s", Rows=65535, Columns=65535))
