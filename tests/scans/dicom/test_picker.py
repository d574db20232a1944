import numpy as np
import pytest

from sautomed.errors import NotAVolume, NoUsableSeries, SeveralSeries
from sautomed.scans.dicom import series_table
from sautomed.scans.dicom.read import read_geometry, read_stored
from sautomed.scans.stored import ReadOptions

from .build import CORONAL, make_series

PLAIN = ReadOptions()


@pytest.fixture
def study(tmp_path):
    """Folder with a localiser, a series with a gap, and two volumes, as scanners export them."""
    folder = tmp_path / "study"
    localizer = {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"], "SeriesDescription": "Topogram", "SeriesNumber": 1}
    make_series(folder, (2, 9, 8), prefix="a", **localizer)
    make_series(folder, (5, 3, 4), prefix="b", seed=1, SeriesDescription="Arterial 3.0", SeriesNumber=3)
    make_series(folder, (6, 3, 4), prefix="c", seed=2, SeriesDescription="Portal venous 3.0", SeriesNumber=10)
    gap = {"SeriesDescription": "Thin", "SeriesNumber": 11, "edit": lambda index, _: index != 2}
    make_series(folder, (7, 3, 4), prefix="d", seed=3, **gap)
    return folder


def test_the_table_describes_each_series_and_why_it_is_not_usable(study):
    rows = series_table(study)
    assert [row.number for row in rows] == [1, 2, 3, 4]
    assert [row.description for row in rows] == ["Topogram", "Arterial 3.0", "Portal venous 3.0", "Thin"]
    assert [row.usable for row in rows] == [False, True, True, False]
    assert [row.slices for row in rows] == [2, 5, 6, 6]
    assert rows[0].size == (8, 9)
    assert rows[0].spacing_mm is None
    assert rows[1].spacing_mm == pytest.approx((0.9, 0.7, 2.5))
    assert rows[1].modality == "CT"
    assert "localiser" in rows[0].reason
    assert "5 mm between" in rows[3].reason
    assert str(rows[1]) == "2: CT Arterial 3.0, 4 x 3 x 5, 0.9 x 0.7 x 2.5 mm, usable"
    assert series_table(study, resample=True)[3].usable


def test_several_volumes_are_refused_with_the_table(study):
    with pytest.raises(SeveralSeries, match=r"holds 4 series, and 2 of them are volumes") as fault:
        read_geometry(study, PLAIN)
    for row in series_table(study):
        assert str(row) in str(fault.value)
    assert "--series" in fault.value.cure


@pytest.mark.parametrize("wanted", ["3", "portal", " Portal venous 3.0", "uid"])
def test_a_series_is_chosen_by_number_description_or_uid(study, wanted):
    wanted = series_table(study)[2].uid if wanted == "uid" else wanted
    assert read_geometry(study, ReadOptions(series=wanted)).shape == (4, 3, 6)


def test_a_name_that_fits_several_series_is_refused(study):
    with pytest.raises(SeveralSeries, match=r"2 of them named '3\.0'"):
        read_geometry(study, ReadOptions(series="3.0"))


def test_a_name_that_fits_no_series_is_refused_with_the_table(study):
    with pytest.raises(SeveralSeries, match=r"(?s)holds no series 'delayed'.*Topogram"):
        read_geometry(study, ReadOptions(series="delayed"))


def test_a_named_series_that_is_no_volume_is_refused_with_the_reason(study):
    with pytest.raises(NotAVolume, match="localiser"):
        read_geometry(study, ReadOptions(series="1"))


def test_the_only_volume_is_taken_with_a_warning(tmp_path):
    make_series(tmp_path, (2, 3, 4), prefix="a", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"], SeriesNumber=1)
    written = make_series(tmp_path, prefix="b")
    stored = read_stored(tmp_path, PLAIN)
    np.testing.assert_array_equal(stored.voxels, written.voxels)
    assert "series 2 is taken, the only volume of 2 series" in stored.geometry.warnings[0]


def test_a_localiser_within_a_series_is_left_out(tmp_path):
    def edit(index, dataset):
        if index == 4:
            dataset.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
            dataset.ImageOrientationPatient = list(CORONAL)

    written = make_series(tmp_path / "s", (5, 3, 4), edit=edit)
    np.testing.assert_array_equal(read_stored(written.path, PLAIN).voxels, written.voxels[:, :, :4])


def test_several_series_of_which_none_is_a_volume_are_listed_with_reasons(tmp_path):
    make_series(tmp_path, (2, 3, 4), prefix="a")
    make_series(tmp_path, (1, 3, 4), prefix="b")
    with pytest.raises(NoUsableSeries, match=r"(?s)none of them is a volume.*has 2 slices") as fault:
        read_geometry(tmp_path, PLAIN)
    assert "has 1 slice," in str(fault.value)
