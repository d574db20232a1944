"""Written label maps keep values, names and colours; a failed write leaves nothing behind.

Runs over all endings of the table WRITERS but those of DICOM, which needs a DICOM source (tests/scans/dicom).
"""

import nibabel
import numpy as np
import pytest
import SimpleITK

from sautomed import errors
from sautomed.scans import ReadOptions, read_labels, read_scan
from sautomed.scans.formats import FILE_ENDINGS, LABEL_ENDINGS
from sautomed.scans.grid import NativeGrid, orient
from sautomed.scans.palette import colour_of
from sautomed.scans.volume import LabelMap
from sautomed.scans.write import write_itksnap_labels, write_labels

AFFINE = np.array([[0, -1.5, 0, 3], [0.8, 0, 0, 4], [0, 0, 2.5, 5], [0, 0, 0, 1.0]])
OUTPUT_ENDINGS = [ending for ending in LABEL_ENDINGS if ending in FILE_ENDINGS]


def labels(largest=2, names=None, shape=(4, 5, 6)):
    array = np.zeros(shape, np.uint16)
    array[1, 2, 3], array[0, 0, 0] = 1, largest
    native = NativeGrid(shape, AFFINE)
    turned, affine = orient(array, native, "coronal")
    return LabelMap(turned, affine, native, "coronal", {1: "right_kidney", 2: "spleen"} if names is None else names)


@pytest.mark.parametrize("ending", OUTPUT_ENDINGS)
@pytest.mark.parametrize(("largest", "kind"), [(2, np.uint8), (255, np.uint8), (256, np.uint16), (65535, np.uint16)])
def test_labels_take_the_smallest_type(tmp_path, ending, largest, kind):
    written = labels(largest)
    write_labels(written, tmp_path / f"a{ending}")
    again = read_labels(tmp_path / f"a{ending}", "coronal")
    np.testing.assert_array_equal(again.array, written.array)
    assert again.array.dtype == kind
    np.testing.assert_allclose(again.affine, written.affine, atol=1e-5)


def test_a_grid_from_no_nifti_is_written_as_scanner_coordinates_in_mm(tmp_path):
    write_labels(labels(), tmp_path / "a.nii.gz")
    header = nibabel.load(tmp_path / "a.nii.gz").header
    assert (int(header["qform_code"]), int(header["sform_code"])) == (1, 1)
    assert header.get_xyzt_units()[0] == "mm"
    np.testing.assert_allclose(header.get_qform(), AFFINE, atol=1e-6)
    assert header.get_intent()[0] == "label"


@pytest.mark.parametrize("ending", [".nrrd", ".seg.nrrd"])
def test_slicer_finds_segments_with_names_values_and_colours(tmp_path, ending):
    write_labels(labels(7), tmp_path / f"a{ending}")
    image = SimpleITK.ReadImage(str(tmp_path / f"a{ending}"))
    metadata = {key: image.GetMetaData(key) for key in image.GetMetaDataKeys()}
    assert metadata["Segmentation_SourceRepresentation"] == "Binary labelmap"
    assert metadata["Segmentation_ContainedRepresentationNames"] == "Binary labelmap|"
    assert [metadata[f"Segment{i}_Name"] for i in range(3)] == ["right kidney", "spleen", "label 7"]
    assert [metadata[f"Segment{i}_LabelValue"] for i in range(3)] == ["1", "2", "7"]
    assert {metadata[f"Segment{i}_Layer"] for i in range(3)} == {"0"}
    assert len({metadata[f"Segment{i}_ID"] for i in range(3)}) == 3
    assert metadata["Segment0_Extent"] == "0 3 0 4 0 5"
    colour = [round(float(part) * 255) for part in metadata["Segment0_Color"].split()]
    assert "#{:02x}{:02x}{:02x}".format(*colour) == colour_of(1)


def test_odd_names_stay_on_their_line(tmp_path):
    write_labels(labels(names={1: "a\nsizes: 9 9 9\\", 2: "Milz ü"}), tmp_path / "a.nrrd")
    image = SimpleITK.ReadImage(str(tmp_path / "a.nrrd"))
    assert image.GetSize() == (4, 5, 6)
    assert read_labels(tmp_path / "a.nrrd").voxel_counts() == {0: 118, 1: 1, 2: 1}


def test_names_that_no_encoding_has_are_written_as_escapes(tmp_path):
    # From file names that are no UTF-8, or from JSON; programs in C end a text at a zero byte.
    write_labels(labels(names={1: "a\0b", 2: "Milz\udcff"}), tmp_path / "a.seg.nrrd")
    image = SimpleITK.ReadImage(str(tmp_path / "a.seg.nrrd"))
    assert [image.GetMetaData(f"Segment{number}_Name") for number in (0, 1)] == ["ab", r"Milz\udcff"]


def test_itksnap_finds_values_colours_and_names(tmp_path):
    write_itksnap_labels({2: "spleen", 1: 'right_"kidney"'}, tmp_path / "a.txt")
    lines = [line.split(maxsplit=7) for line in (tmp_path / "a.txt").read_text().splitlines() if line[0] != "#"]
    assert [(line[0], line[7]) for line in lines] == [
        ("0", '"Clear Label"'),
        ("1", "\"right 'kidney'\""),
        ("2", '"spleen"'),
    ]
    assert "#{:02x}{:02x}{:02x}".format(*map(int, lines[1][1:4])) == colour_of(1)
    assert lines[1][4:7] == ["1.00", "1", "1"]


@pytest.mark.parametrize("ending", OUTPUT_ENDINGS)
def test_the_same_labels_give_the_same_bytes_and_no_other_file(tmp_path, ending):
    for name in ("a", "b"):
        write_labels(labels(), tmp_path / f"{name}{ending}")
    assert (tmp_path / f"a{ending}").read_bytes() == (tmp_path / f"b{ending}").read_bytes()
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("ending", OUTPUT_ENDINGS)
def test_a_target_that_cannot_be_written_is_named_and_nothing_is_left(tmp_path, ending):
    (tmp_path / f"a{ending}").mkdir()
    with pytest.raises(errors.UnwritableTarget) as caught:
        write_labels(labels(), tmp_path / f"a{ending}")
    assert caught.value.where == str(tmp_path / f"a{ending}")
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("ending", OUTPUT_ENDINGS)
def test_a_full_disk_is_named_and_nothing_is_left(tmp_path, ending, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(errors.UnwritableTarget, match="No space left"):
        write_labels(labels(), tmp_path / f"a{ending}")
    assert list(tmp_path.iterdir()) == []


def test_the_ending_counts_whatever_its_case(tmp_path):
    write_labels(labels(), tmp_path / "A.NII.GZ")
    assert read_labels(tmp_path / "A.NII.GZ").voxel_counts() == {0: 118, 1: 1, 2: 1}


def test_labels_of_one_volume_of_a_series_are_three_dimensional(tmp_path):
    image = nibabel.Nifti1Image(np.arange(480, dtype=np.int16).reshape(4, 5, 6, 4), AFFINE)
    nibabel.save(image, tmp_path / "a.nii.gz")
    volume = read_scan(tmp_path / "a.nii.gz", options=ReadOptions(frame=2))
    LabelMap((volume.array > 300).astype(np.uint8), volume.affine, volume.native, volume.plane, {1: "a"}).save(
        tmp_path / "b.nii.gz"
    )
    again = nibabel.load(tmp_path / "b.nii.gz")
    assert again.shape == (4, 5, 6)
    np.testing.assert_array_equal(np.asarray(again.dataobj), image.dataobj[..., 2] > 300)
    np.testing.assert_allclose(again.affine, AFFINE, atol=1e-6)
