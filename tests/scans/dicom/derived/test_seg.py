import warnings
from dataclasses import replace

import highdicom
import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sautomed.errors import NoDicomSource, OutputMismatch
from sautomed.scans import write_labels
from sautomed.scans.dicom.derived import seg
from sautomed.scans.dicom.derived.seg import write_seg
from sautomed.scans.grid import NativeGrid
from sautomed.scans.palette import colour_of

from ..build import make_multi_frame, make_series, zip_of
from .labelled import ORIENTATIONS, grid_of, labels_on, some_labels

KINDS = ["binary", "labelmap"]
NAMES = {1: "right_kidney", 2: "liver"}


def read_by_pydicom(path, native: NativeGrid) -> np.ndarray:
    """Return label values in the axes of the scan, decoded by pydicom and placed by positions and affine alone."""
    dataset = pydicom.dcmread(path)
    frames = dataset.pixel_array.reshape(-1, dataset.Rows, dataset.Columns)
    tracked = {int(each.SegmentNumber): each.get("TrackingID", "label 0") for each in dataset.SegmentSequence}
    values = np.zeros(max(tracked) + 1, int)
    values[list(tracked)] = [int(text.removeprefix("label ")) for text in tracked.values()]
    shared = dataset.SharedFunctionalGroupsSequence[0]
    row_gap, column_gap = shared.PixelMeasuresSequence[0].PixelSpacing
    cosines = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient)
    to_index = np.linalg.inv(np.diag([-1, -1, 1, 1]) @ native.affine)
    found = np.zeros(native.shape, int)
    for frame, group in zip(frames, dataset.PerFrameFunctionalGroupsSequence, strict=True):
        numbers = frame.astype(int)
        if dataset.SegmentationType == "BINARY":
            which = group if "SegmentIdentificationSequence" in group else shared
            numbers *= which.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        row, column = np.nonzero(numbers)
        place = np.array(group.PlanePositionSequence[0].ImagePositionPatient)
        points = place + np.outer(column, column_gap * cosines[:3]) + np.outer(row, row_gap * cosines[3:])
        index = points @ to_index[:3, :3].T + to_index[:3, 3]
        np.testing.assert_allclose(index, index.round(), atol=1e-3)
        found[tuple(index.round().astype(int).T)] += values[numbers[row, column]]
    return found


@settings(max_examples=25, deadline=None)
@given(
    orientation=st.sampled_from(ORIENTATIONS),
    shape=st.tuples(st.integers(3, 4), st.integers(1, 7), st.integers(1, 7)),
    values=st.sampled_from([(1,), (1, 2), (2, 5, 9), (1, 300), (65535,)]),
    plane=st.sampled_from(["axial", "coronal", "sagittal"]),
    kind=st.sampled_from(KINDS),
    seed=st.integers(0, 9),
)
def test_every_voxel_comes_back(tmp_path_factory, orientation, shape, values, plane, kind, seed):
    folder = tmp_path_factory.mktemp("seg")
    native = grid_of(make_series(folder / "ct", shape, orientation=orientation).path)
    labels = labels_on(some_labels(shape, values, seed), native, {3: "spleen"}, plane)
    write_seg(labels, folder / "out.dcm", kind)
    np.testing.assert_array_equal(read_by_pydicom(folder / "out.dcm", native), labels.to_native())


@pytest.fixture(scope="module")
def native(tmp_path_factory):
    patient = {"PatientName": "Müller^Jürgen", "PatientID": "P-1", "StudyDate": "20240301", "AccessionNumber": "A 7"}
    return grid_of(make_series(tmp_path_factory.mktemp("ct") / "series", (4, 9, 7), **patient).path)


@pytest.fixture(scope="module")
def labels(native):
    return labels_on(some_labels((4, 9, 7)), native, {**NAMES, 7: "spleen"})


def write(labels, folder, kind="binary"):
    path = folder / "out.dcm"
    write_seg(labels, path, kind)
    return pydicom.dcmread(path)


@pytest.mark.parametrize("kind", KINDS)
def test_each_frame_refers_to_the_image_of_its_slice(labels, tmp_path, kind):
    dataset = write(labels, tmp_path, kind)
    images = {header.SOPInstanceUID: header for header in labels.native.source.headers()}
    for group in dataset.PerFrameFunctionalGroupsSequence:
        (item,) = group.DerivationImageSequence[0].SourceImageSequence
        image = images[item.ReferencedSOPInstanceUID]
        assert item.ReferencedSOPClassUID == image.SOPClassUID
        assert group.PlanePositionSequence[0].ImagePositionPatient == image.ImagePositionPatient
    (series,) = dataset.ReferencedSeriesSequence
    assert {each.ReferencedSOPInstanceUID for each in series.ReferencedInstanceSequence} == set(images)
    assert series.SeriesInstanceUID == image.SeriesInstanceUID
    assert dataset.FrameOfReferenceUID == image.FrameOfReferenceUID


def test_the_patient_is_the_scans(labels, tmp_path):
    dataset = write(labels, tmp_path)
    header = next(labels.native.source.headers())
    assert str(dataset.PatientName) == "Müller^Jürgen"
    for keyword in ("PatientID", "StudyInstanceUID", "StudyDate", "AccessionNumber"):
        assert dataset[keyword].value == header[keyword].value
    assert dataset.SeriesInstanceUID != header.SeriesInstanceUID


@pytest.mark.parametrize("kind", KINDS)
def test_segments_are_described_with_or_without_voxels(labels, tmp_path, kind):
    described = {each.SegmentLabel: each for each in write(labels, tmp_path, kind).SegmentSequence}
    kidney = described["right kidney"]
    assert kidney.SegmentedPropertyTypeCodeSequence[0].CodeMeaning == "Kidney"
    modifier = kidney.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence[0]
    assert modifier.CodeMeaning == "Right"
    assert kidney.SegmentAlgorithmType == "AUTOMATIC"
    assert kidney.SegmentAlgorithmName == "sautomed"
    assert described["spleen"].TrackingID == "label 7"
    assert described["spleen"].SegmentNumber == (3 if kind == "binary" else 7)
    shown = highdicom.color.CIELabColor(0, 0, 0).from_dicom_value(kidney.RecommendedDisplayCIELabValue)
    wanted = [int(colour_of(1)[place : place + 2], 16) for place in (1, 3, 5)]
    np.testing.assert_allclose(shown.to_rgb(clip=True), wanted, atol=2)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("names", [NAMES, {}])
def test_an_empty_label_map_is_written_too(native, tmp_path, kind, names):
    empty = labels_on(np.zeros((4, 9, 7), np.uint8), native, names)
    dataset = write(empty, tmp_path, kind)
    assert not dataset.pixel_array.any()
    assert {each.SegmentLabel for each in dataset.SegmentSequence} >= {
        name.replace("_", " ") for name in names.values()
    }


@pytest.mark.parametrize("ending", [".seg.dcm", ".labelmap.dcm", ".rtstruct.dcm"])
def test_a_name_that_no_encoding_has_is_no_fault_of_the_series(native, tmp_path, ending):
    labels_on(some_labels((4, 9, 7)), native, {1: "Milz\udcff"}).save(tmp_path / f"out{ending}")
    dataset = pydicom.dcmread(tmp_path / f"out{ending}")
    assert "Milz" in str(dataset.get("SegmentSequence") or dataset.StructureSetROISequence)


@pytest.mark.parametrize("kind", KINDS)
def test_highdicom_reads_the_same_volume(labels, tmp_path, kind):
    write_seg(labels, tmp_path / "out.dcm", kind)
    volume = highdicom.seg.segread(tmp_path / "out.dcm").get_volume(combine_segments=True)
    np.testing.assert_allclose(np.abs(np.linalg.det(volume.affine[:3, :3])), np.prod(labels.spacing_mm), rtol=1e-6)
    wanted = labels.to_native().transpose(2, 1, 0)
    assert np.array_equal(volume.array, wanted) or np.array_equal(volume.array[::-1], wanted)


@pytest.mark.parametrize("kind", KINDS)
def test_frames_of_a_multi_frame_file_are_named_by_number(tmp_path, kind):
    written = make_multi_frame(tmp_path / "enhanced.dcm", (4, 5, 6), order=[2, 0, 3, 1])
    labels = labels_on(np.ones((4, 5, 6), np.uint8), grid_of(written.path))
    dataset = write(labels, tmp_path, kind)
    source = pydicom.dcmread(written.path)
    places = [each.PlanePositionSequence[0].ImagePositionPatient for each in source.PerFrameFunctionalGroupsSequence]
    for group in dataset.PerFrameFunctionalGroupsSequence:
        (item,) = group.DerivationImageSequence[0].SourceImageSequence
        assert item.ReferencedSOPInstanceUID == source.SOPInstanceUID
        assert group.PlanePositionSequence[0].ImagePositionPatient == pytest.approx(
            places[item.ReferencedFrameNumber - 1]
        )
    (image,) = dataset.ReferencedSeriesSequence[0].ReferencedInstanceSequence
    assert "ReferencedFrameNumber" not in image


@pytest.mark.filterwarnings("ignore:.*VR")  # pydicom's, while the test writes them
@pytest.mark.parametrize(
    "odd",
    [
        {"PatientID": None, "StudyDate": None},
        {"PatientSex": "unknown", "PatientBirthDate": "1970", "StudyTime": "noon"},
        {"FrameOfReferenceUID": None},
        {"PatientID": "x" * 80, "StudyID": "much too long for its field"},
        {"SeriesInstanceUID": "", "StudyInstanceUID": ""},
    ],
)
def test_objects_are_written_for_odd_headers(tmp_path, odd):
    native = grid_of(make_series(tmp_path / "ct", **odd).path)
    dataset = write(labels_on(some_labels((4, 5, 6)), native), tmp_path)
    for keyword in ("StudyInstanceUID", "FrameOfReferenceUID"):
        assert dataset[keyword].value


def test_orientations_that_differ_in_the_last_digit_are_one(tmp_path):
    def edit(index, dataset):
        dataset.ImageOrientationPatient = [1, index * 1e-9, 0, 0, 1, 0]

    native = grid_of(make_series(tmp_path / "ct", edit=edit).path)
    write(labels_on(some_labels((4, 5, 6)), native), tmp_path)


def test_images_without_sop_instance_uid_are_named_by_their_file_meta(tmp_path):
    # As some anonymisers leave them.
    series = make_series(tmp_path / "ct", SOPInstanceUID="", SOPClassUID="")
    dataset = write(labels_on(some_labels((4, 5, 6)), grid_of(series.path)), tmp_path)
    named = {each.ReferencedSOPInstanceUID for each in dataset.ReferencedSeriesSequence[0].ReferencedInstanceSequence}
    assert named == {pydicom.dcmread(file).file_meta.MediaStorageSOPInstanceUID for file in series.files}


def test_a_zipped_series_is_referred_to_as_well(tmp_path):
    series = make_series(tmp_path / "ct")
    zipped = zip_of(series.path, tmp_path / "ct.zip")
    dataset = write(labels_on(some_labels((4, 5, 6)), grid_of(zipped)), tmp_path)
    named = {each.ReferencedSOPInstanceUID for each in dataset.ReferencedSeriesSequence[0].ReferencedInstanceSequence}
    assert named == {pydicom.dcmread(file).SOPInstanceUID for file in series.files}


def test_a_scan_that_is_no_dicom_series_is_refused(labels, tmp_path):
    native = NativeGrid(labels.native.shape, labels.native.affine)
    with pytest.raises(NoDicomSource, match=r"the scan came from none.*\.nii\.gz"):
        write_seg(labels_on(some_labels((4, 9, 7)), native), tmp_path / "out.dcm")
    assert not list(tmp_path.iterdir())


def test_a_resampled_scan_is_refused(labels, tmp_path):
    native = replace(labels.native, source=replace(labels.native.source, regular=False))
    with pytest.raises(NoDicomSource, match="resampled"):
        write_seg(labels_on(some_labels((4, 9, 7)), native), tmp_path / "out.dcm")


AMBIGUOUS = {
    "the same SOPInstanceUID": lambda index, dataset: setattr(dataset, "SOPInstanceUID", "1.2.3"),
    "have the same SOPInstanceUID": lambda index, dataset: setattr(dataset, "SOPInstanceUID", f"1.2.{index // 2}"),
    "4 different values of FrameOfReferenceUID": lambda index, dataset: setattr(
        dataset, "FrameOfReferenceUID", f"1.2.{index}"
    ),
    "2 different values of StudyInstanceUID": lambda index, dataset: setattr(
        dataset, "StudyInstanceUID", f"1.2.{index // 2}"
    ),
    "several values of SOPInstanceUID": lambda index, dataset: setattr(dataset, "SOPInstanceUID", ["1.2", f"{index}"]),
    "several values of StudyInstanceUID": lambda index, dataset: setattr(dataset, "StudyInstanceUID", ["1.2", "3"]),
    "several values of SeriesInstanceUID": lambda index, dataset: setattr(dataset, "SeriesInstanceUID", ["1.2", "3"]),
    "several values of FrameOfReferenceUID": lambda index, dataset: setattr(
        dataset, "FrameOfReferenceUID", ["1.2", "3"]
    ),
}


@pytest.mark.parametrize("ending", [".seg.dcm", ".labelmap.dcm", ".rtstruct.dcm"])
@pytest.mark.parametrize("fault", AMBIGUOUS)
def test_a_series_whose_images_cannot_be_told_apart_is_read_but_not_referred_to(tmp_path, fault, ending):
    series = make_series(tmp_path / "ct", edit=AMBIGUOUS[fault])
    labels = labels_on(some_labels((4, 5, 6)), grid_of(series.path))
    with pytest.raises(NoDicomSource, match=rf"{fault}.*\.nii\.gz"):
        labels.save(tmp_path / f"out{ending}")
    labels.save(tmp_path / "out.nii.gz")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ct", "out.nii.gz"]


@pytest.mark.parametrize("ending", [".seg.dcm", ".labelmap.dcm", ".rtstruct.dcm"])
def test_warnings_of_libraries_do_not_reach_the_user(tmp_path, ending):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        series = make_series(tmp_path / "ct", SpecificCharacterSet="unknown", PatientName="a")
    labels = labels_on(some_labels((4, 5, 6)), grid_of(series.path))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        labels.save(tmp_path / f"out{ending}")


def test_images_that_became_alike_since_they_were_read_are_refused(tmp_path):
    series = make_series(tmp_path / "ct")
    labels = labels_on(some_labels((4, 5, 6)), grid_of(series.path))
    for file in series.files:
        dataset = pydicom.dcmread(file)
        dataset.FrameOfReferenceUID = pydicom.uid.generate_uid()
        dataset.save_as(file)
    with pytest.raises(NoDicomSource, match="4 different values of FrameOfReferenceUID"):
        write_seg(labels, tmp_path / "out.dcm")


def test_images_without_any_sop_instance_uid_are_refused(tmp_path):
    series = make_series(tmp_path / "ct", SOPInstanceUID="")
    dataset = pydicom.dcmread(series.files[2])
    del dataset.file_meta.MediaStorageSOPInstanceUID
    dataset.save_as(series.files[2])
    labels = labels_on(some_labels((4, 5, 6)), grid_of(series.path))
    with pytest.raises(NoDicomSource, match="no SOPInstanceUID"):
        write_seg(labels, tmp_path / "out.dcm")


def test_a_frame_of_reference_that_only_some_images_name_is_theirs(tmp_path):
    def edit(index, dataset):
        dataset.FrameOfReferenceUID = "1.2.3" if index == 2 else ""

    dataset = write(labels_on(some_labels((4, 5, 6)), grid_of(make_series(tmp_path / "ct", edit=edit).path)), tmp_path)
    assert dataset.FrameOfReferenceUID == "1.2.3"


def test_a_series_that_is_gone_is_refused(tmp_path):
    series = make_series(tmp_path / "ct")
    labels = labels_on(some_labels((4, 5, 6)), grid_of(series.path))
    series.files[1].unlink()
    with pytest.raises(NoDicomSource, match="No such file"):
        write_seg(labels, tmp_path / "out.dcm")


def test_a_series_that_was_moved_meanwhile_is_refused(tmp_path):
    series = make_series(tmp_path / "ct")
    labels = labels_on(some_labels((4, 5, 6)), grid_of(series.path))
    for file in series.files:
        dataset = pydicom.dcmread(file)
        dataset.ImagePositionPatient[0] += 40
        dataset.save_as(file)
    with pytest.raises(NoDicomSource, match="40 mm from the voxels"):
        write_seg(labels, tmp_path / "out.dcm")


def flip_a_voxel(dataset):
    stored = bytearray(dataset.PixelData)
    stored[0] ^= 1
    dataset.PixelData = bytes(stored)


def move_a_frame(dataset):
    dataset.PerFrameFunctionalGroupsSequence[0].PlanePositionSequence[0].ImagePositionPatient[0] += 5


def swap_segments(dataset):
    first, second = dataset.SegmentSequence[-2:]
    first.TrackingID, second.TrackingID = second.TrackingID, first.TrackingID


def turn_the_frames(dataset):
    orientation = dataset.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0]
    orientation.ImageOrientationPatient = [-1, 0, 0, 0, -1, 0]


def lose_the_pixels(dataset):
    del dataset.PixelData


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("damage", [flip_a_voxel, move_a_frame, swap_segments, turn_the_frames, lose_the_pixels])
def test_a_file_that_reads_back_otherwise_is_not_kept(native, tmp_path, monkeypatch, kind, damage):
    labels = labels_on(some_labels((4, 9, 7)), native, NAMES)
    make = seg._segmentation

    def damaged(*arguments):
        dataset = make(*arguments)
        damage(dataset)
        return dataset

    monkeypatch.setattr(seg, "_segmentation", damaged)
    path = tmp_path / "out.dcm"
    path.write_bytes(b"what was there before")
    with pytest.raises(OutputMismatch, match="reads back"):
        write_seg(labels, path, kind)
    assert path.read_bytes() == b"what was there before"
    assert list(tmp_path.iterdir()) == [path]


def test_each_file_has_its_own_uid(labels, tmp_path):
    assert write(labels, tmp_path).SOPInstanceUID != write(labels, tmp_path).SOPInstanceUID


@pytest.mark.parametrize(("name", "kind"), [("a.seg.dcm", "BINARY"), ("a.labelmap.dcm", "LABELMAP")])
def test_the_name_chooses_the_kind(labels, tmp_path, name, kind):
    write_labels(labels, tmp_path / name)
    assert pydicom.dcmread(tmp_path / name).SegmentationType == kind


@pytest.mark.parametrize("name", ["dicom_series/siemens_mr", "dicom_series/non_isotropic", "totalsegmentator/ct_dicom"])
def test_real_series(shared_data, tmp_path, name):
    native = grid_of(shared_data / name)
    frames = np.zeros(native.shape[::-1], np.uint8)
    frames[:, 3:20, 5:26] = 1
    frames[1:3, 7:9, 10:20] = 9
    labels = labels_on(frames, native, {1: "liver", 9: "lesion"})
    for kind in KINDS:
        write_seg(labels, tmp_path / "out.dcm", kind)
        np.testing.assert_array_equal(read_by_pydicom(tmp_path / "out.dcm", native), labels.to_native())
