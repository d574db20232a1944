import numpy as np
import pytest

from sautomed.errors import SeveralSeries
from sautomed.scans.dicom import series_table
from sautomed.scans.dicom.read import read_geometry, read_stored
from sautomed.scans.stored import ReadOptions

from .build import make_series

PLAIN = ReadOptions()
TWICE = [0, 2.5, 5, 7.5, 0, 2.5, 5, 7.5]


def dual(folder, **by_part):
    """Write eight images at four positions, with different elements in the first and the second four."""

    def edit(index, dataset):
        dataset.Modality = "MR"
        for keyword, values in by_part.items():
            setattr(dataset, keyword, values[index // 4])

    return make_series(folder, (8, 3, 4), offsets_mm=TWICE, edit=edit)


@pytest.mark.parametrize(
    ("keyword", "values", "labels"),
    [
        ("EchoTime", (2.3, 4.6), ("echo time 2.3", "echo time 4.6")),
        ("TemporalPositionIdentifier", (2, 10), ("time point 2", "time point 10")),
        ("AcquisitionNumber", (1, 2), ("acquisition 1", "acquisition 2")),
        ("ImageType", (["DERIVED", "WATER"], ["DERIVED", "FAT"]), ("DERIVED\\FAT", "DERIVED\\WATER")),
    ],
)
def test_two_images_at_each_position_are_two_volumes(tmp_path, keyword, values, labels):
    written = dual(tmp_path / "s", **{keyword: values})
    with pytest.raises(SeveralSeries, match="holds 2 series"):
        read_geometry(written.path, PLAIN)
    rows = series_table(written.path)
    assert [label in row.description for label, row in zip(labels, rows, strict=True)] == [True, True]
    assert rows[0].uid == rows[1].uid
    swapped = keyword == "ImageType"
    for number in (1, 2):
        part = (number - 1) ^ swapped
        found = read_stored(written.path, ReadOptions(series=labels[number - 1]))
        np.testing.assert_array_equal(found.voxels, written.voxels[:, :, 4 * part : 4 * part + 4])


def test_two_elements_together_may_distinguish_four_volumes(tmp_path):
    def edit(index, dataset):
        part = index // 3
        dataset.EchoTime, dataset.FlipAngle = 2 + part % 2, 10 + 5 * (part // 2)

    written = make_series(tmp_path / "s", (12, 2, 2), offsets_mm=[0, 1, 2] * 4, edit=edit)
    found = [row.description for row in series_table(written.path)]
    assert found == [f"Abdomen (echo time {echo}, flip angle {angle})" for echo in (2, 3) for angle in (10, 15)]


def test_numbers_that_change_along_one_volume_do_not_split_it(tmp_path):
    def edit(index, dataset):
        dataset.AcquisitionNumber, dataset.EchoTime = index % 2, 80 + index % 3

    written = make_series(tmp_path / "s", edit=edit)
    assert len(series_table(written.path)) == 1


def test_series_without_uid_are_distinguished_by_their_folders(tmp_path):
    for name in ("first", "second"):
        make_series(tmp_path / name, SeriesInstanceUID=None, SeriesDescription=None)
    assert [row.description for row in series_table(tmp_path)] == ["first", "second"]
    assert read_geometry(tmp_path, ReadOptions(series="second")).shape == (6, 5, 4)
