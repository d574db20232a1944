"""DICOM segmentations are read as label maps, with the names of their segments."""

from dataclasses import replace

import highdicom as hd
import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.sr.codedict import codes

from sautomed import errors
from sautomed.scans import read_geometry, read_labels, read_scan
from sautomed.scans.dicom.derived.seg import write_seg
from sautomed.scans.dicom.segmentation import is_segmentation
from sautomed.scans.partial import complete

from .build import make_series
from .derived.labelled import ORIENTATIONS, grid_of, labels_on, some_labels


@settings(max_examples=20, deadline=None)
@given(
    orientation=st.sampled_from(ORIENTATIONS),
    shape=st.tuples(st.integers(3, 5), st.integers(3, 7), st.integers(3, 7)),
    values=st.sampled_from([(1,), (1, 2), (2, 5, 9), (1, 300), (65535,)]),
    empty=st.sets(st.integers(0, 4), max_size=3),
    kind=st.sampled_from(["binary", "labelmap"]),
    seed=st.integers(0, 9),
)
def test_what_is_written_is_read(tmp_path_factory, orientation, shape, values, empty, kind, seed):
    folder = tmp_path_factory.mktemp("seg")
    series = make_series(folder / "ct", shape, orientation=orientation).path
    frames = some_labels(shape, values, seed)
    frames[[number for number in empty if number < shape[0]]] = 0
    labels = labels_on(frames, grid_of(series), {value: f"organ {value} of it" for value in values})
    write_seg(labels, folder / "a.seg.dcm", kind)
    scan = read_scan(series, "axial")
    found = complete(read_labels(folder / "a.seg.dcm", "axial"), scan)
    assert {value: found.names[value] for value in values} == labels.names
    np.testing.assert_array_equal(found.array, labels.array)
    np.testing.assert_allclose(found.affine, scan.affine, atol=1e-3)


@pytest.fixture
def series(tmp_path):
    return make_series(tmp_path / "ct", (5, 9, 7)).path


@pytest.fixture
def labels(series):
    frames = np.zeros((5, 9, 7), np.uint8)
    frames[1:3, 2:5, 1:4], frames[3, 6:8, 4:6] = 1, 5
    return labels_on(frames, grid_of(series), {1: "liver", 5: "left_kidney"})


def test_slices_without_labels_are_left_out(labels, tmp_path):
    labels.save(tmp_path / "a.seg.dcm")
    geometry = read_geometry(tmp_path / "a.seg.dcm", labels=True)
    assert (geometry.shape, geometry.partial) == ((7, 9, 3), True)
    assert geometry.names == {1: "liver", 5: "left kidney"}
    assert "leave out slices without labels: the 3 slices" in geometry.warnings[0]


def test_values_go_by_name(labels, tmp_path):
    labels.save(tmp_path / "a.labelmap.dcm")
    found = read_labels(tmp_path / "a.labelmap.dcm", names={5: "Liver", 1: "left kidney"})
    assert found.voxel_counts() == {0: found.array.size - 22, 5: 18, 1: 4}


def test_a_segmentation_is_no_scan(labels, series, tmp_path):
    labels.save(tmp_path / "a.seg.dcm")
    assert is_segmentation(tmp_path / "a.seg.dcm")
    assert not is_segmentation(next(series.iterdir()))
    assert not is_segmentation(series)
    with pytest.raises(errors.NotAVolume):
        read_scan(tmp_path / "a.seg.dcm")
    with pytest.raises(errors.NotAVolume):
        read_geometry(tmp_path / "a.seg.dcm")
    assert read_geometry(series, labels=True).shape == (7, 9, 5)  # a label map may be a series, too


# What highdicom copies from the images, and the series of the tests need not have.
_NEEDED = ("AccessionNumber", "StudyID", "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyDate",
           "StudyTime", "ReferringPhysicianName", "PositionReferenceIndicator")  # fmt: skip


def foreign(series, segments, kind="BINARY"):
    """Return a segmentation as another program makes it.

    Args:
        segments: (slices rows columns segments), 0 or 1.
    """
    sources = sorted(
        (pydicom.dcmread(path) for path in series.iterdir()), key=lambda item: float(item.ImagePositionPatient[2])
    )
    for number, source in enumerate(sources, start=1):
        source.InstanceNumber, source.SliceThickness = number, 1
        for keyword in _NEEDED:
            if keyword not in source:
                setattr(source, keyword, "")
    described = [
        hd.seg.SegmentDescription(
            segment_number=number,
            segment_label=f"Organ {chr(64 + number)}",
            segmented_property_category=codes.SCT.Organ,
            segmented_property_type=codes.SCT.Liver,
            algorithm_type=hd.seg.SegmentAlgorithmTypeValues.MANUAL,
            tracking_id=f"label {10 * number}",
            tracking_uid=hd.UID(),
        )
        for number in range(1, segments.shape[3] + 1)
    ]
    return hd.seg.Segmentation(
        source_images=sources,
        pixel_array=segments if kind == "BINARY" else segments.astype(np.float32),
        segmentation_type=kind,
        segment_descriptions=described,
        series_instance_uid=hd.UID(),
        series_number=7,
        sop_instance_uid=hd.UID(),
        instance_number=1,
        manufacturer="another",
        manufacturer_model_name="another",
        software_versions="1",
        device_serial_number="1",
    )


def test_segments_of_other_programs_have_their_numbers_and_labels(series, tmp_path):
    segments = np.zeros((5, 9, 7, 2), np.uint8)
    segments[1:4, 2:5, 1:4, 0], segments[0, 6:8, 4:6, 1] = 1, 1
    foreign(series, segments).save_as(tmp_path / "a.dcm")
    found = complete(read_labels(tmp_path / "a.dcm", "axial"), read_scan(series, "axial"))
    assert found.names == {1: "Organ A", 2: "Organ B"}
    expected = labels_on(segments[..., 0] + 2 * segments[..., 1], grid_of(series))
    np.testing.assert_array_equal(found.array, expected.array)


def test_overlapping_segments_and_probabilities_are_refused(series, tmp_path):
    segments = np.zeros((5, 9, 7, 2), np.uint8)
    segments[1:4, 2:5, 1:4] = 1
    foreign(series, segments).save_as(tmp_path / "a.dcm")
    with pytest.raises(errors.NotThreeD, match="segments that overlap"):
        read_labels(tmp_path / "a.dcm")
    foreign(series, segments[..., :1], "FRACTIONAL").save_as(tmp_path / "b.dcm")
    with pytest.raises(errors.UnsupportedVoxels, match="holds probabilities"):
        read_labels(tmp_path / "b.dcm")


def test_damaged_segmentations_are_refused(labels, tmp_path):
    labels.save(tmp_path / "a.seg.dcm")
    dataset = pydicom.dcmread(tmp_path / "a.seg.dcm")
    del dataset.SharedFunctionalGroupsSequence
    dataset.save_as(tmp_path / "b.dcm")
    for damage in (lambda content: content[:-40], lambda content: content[:1500]):
        (tmp_path / "c.dcm").write_bytes(damage((tmp_path / "a.seg.dcm").read_bytes()))
        for path in (tmp_path / "b.dcm", tmp_path / "c.dcm"):
            with pytest.raises(errors.DataError):
                read_labels(path)


def test_a_segmentation_without_an_index_of_its_frames_is_damaged(labels, tmp_path):
    """highdicom keeps the index in a database, which raises errors of its own."""
    labels.save(tmp_path / "a.seg.dcm")
    dataset = pydicom.dcmread(tmp_path / "a.seg.dcm")
    del dataset.DimensionIndexSequence
    dataset.save_as(tmp_path / "a.seg.dcm")
    with pytest.raises(errors.DamagedDicom, match="frames that cannot be read"):
        read_labels(tmp_path / "a.seg.dcm")


def test_a_segmentation_without_rows_is_no_volume(labels, tmp_path):
    labels.save(tmp_path / "a.seg.dcm")
    dataset = pydicom.dcmread(tmp_path / "a.seg.dcm")
    dataset.Rows = 0
    dataset.save_as(tmp_path / "a.seg.dcm")
    for read in (read_labels, lambda path: read_geometry(path, labels=True)):
        with pytest.raises(errors.NotAVolume, match="no regular stack"):
            read(tmp_path / "a.seg.dcm")


def test_a_mask_of_another_patient_is_not_completed(labels, series, tmp_path):
    labels.save(tmp_path / "a.seg.dcm")
    found, scan = read_labels(tmp_path / "a.seg.dcm", "axial"), read_scan(series, "axial")
    shifted = replace(found, affine=found.affine + np.outer([1, 0, 0, 0], [0, 0, 0, 0.5]))
    assert complete(shifted, scan) is shifted
    assert complete(replace(found, partial=False), scan).array.shape == (3, 9, 7)
