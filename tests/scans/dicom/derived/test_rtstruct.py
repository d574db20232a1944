import numpy as np
import pydicom
import pytest
import SimpleITK
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.path import Path as Polygon

from sautomed.errors import NoDicomSource, OutputMismatch
from sautomed.scans import write_labels
from sautomed.scans.dicom.derived import rtstruct
from sautomed.scans.dicom.derived.rtstruct import write_rtstruct
from sautomed.scans.grid import NativeGrid
from sautomed.scans.palette import colour_of

from ..build import make_multi_frame, make_series
from .labelled import ORIENTATIONS, grid_of, labels_on, some_labels

NAMES = {1: "right_kidney", 2: "liver"}


def contours_of(dataset):
    """Yield label value, contour and its vertices (n 3), LPS mm."""
    for region in dataset.ROIContourSequence:
        for contour in region.get("ContourSequence", []):
            points = np.array(contour.ContourData, dtype=float).reshape(-1, 3)
            yield int(region.ReferencedROINumber), contour, points


def rasterised(dataset, native: NativeGrid) -> np.ndarray:
    """Return label values in the axes of the scan: the union of the contours, filled by matplotlib at voxel centres."""
    to_index = np.linalg.inv(np.diag([-1, -1, 1, 1]) @ native.affine)
    found = np.zeros(native.shape, int)
    column, row = np.indices(native.shape[:2])
    centres = np.column_stack([column.ravel(), row.ravel()])
    for value, _, points in contours_of(dataset):
        index = points @ to_index[:3, :3].T + to_index[:3, 3]
        depth = index[:, 2].round().astype(int)
        np.testing.assert_allclose(index[:, 2], depth[0], atol=1e-3)
        closed = np.vstack([index[:, :2], index[:1, :2]])
        inside = Polygon(closed).contains_points(centres).reshape(native.shape[:2])
        found[:, :, depth[0]][inside] = value
    return found


@settings(max_examples=25, deadline=None)
@given(
    orientation=st.sampled_from(ORIENTATIONS),
    shape=st.tuples(st.integers(3, 4), st.integers(1, 9), st.integers(1, 9)),
    values=st.sampled_from([(1,), (1, 2), (2, 5, 9), (1, 300)]),
    plane=st.sampled_from(["axial", "coronal", "sagittal"]),
    seed=st.integers(0, 9),
)
def test_every_voxel_comes_back(tmp_path_factory, orientation, shape, values, plane, seed):
    folder = tmp_path_factory.mktemp("rt")
    native = grid_of(make_series(folder / "ct", shape, orientation=orientation).path)
    labels = labels_on(some_labels(shape, values, seed), native, {3: "spleen"}, plane)
    write_rtstruct(labels, folder / "out.dcm")
    np.testing.assert_array_equal(rasterised(pydicom.dcmread(folder / "out.dcm"), native), labels.to_native())


@pytest.fixture(scope="module")
def native(tmp_path_factory):
    patient = {"PatientName": "Müller^Jürgen", "PatientID": "P-1", "StudyDate": "20240301"}
    return grid_of(make_series(tmp_path_factory.mktemp("ct") / "series", (4, 9, 7), **patient).path)


@pytest.fixture(scope="module")
def labels(native):
    return labels_on(some_labels((4, 9, 7)), native, {**NAMES, 7: "something odd"})


def write(labels, folder):
    write_rtstruct(labels, folder / "out.dcm")
    return pydicom.dcmread(folder / "out.dcm")


def test_the_contours_enclose_the_volume_of_the_voxels(labels, tmp_path):
    volume_mm3 = dict.fromkeys(NAMES, 0.0)
    for value, _, points in contours_of(write(labels, tmp_path)):
        cross = np.cross(points - points[0], np.roll(points, -1, axis=0) - points[0]).sum(axis=0)
        volume_mm3[value] += np.linalg.norm(cross) / 2 * 2.5
    voxel_mm3 = 0.7 * 0.9 * 2.5
    for value in NAMES:
        assert volume_mm3[value] == pytest.approx(labels.voxel_counts()[value] * voxel_mm3, rel=1e-3)


def test_a_ring_is_one_contour_per_slice_so_that_no_program_fills_its_hole(native, tmp_path):
    frames = np.zeros((4, 9, 7), np.uint8)
    frames[:, 2:7, 1:6] = 1
    frames[:, 4, 3] = 0
    dataset = write(labels_on(frames, native), tmp_path)
    assert len(list(contours_of(dataset))) == 4
    np.testing.assert_array_equal(rasterised(dataset, native), frames.transpose(2, 1, 0))


def test_each_contour_refers_to_the_image_of_its_slice(labels, tmp_path):
    dataset = write(labels, tmp_path)
    images = {header.SOPInstanceUID: header for header in labels.native.source.headers()}
    for _, contour, points in contours_of(dataset):
        (item,) = contour.ContourImageSequence
        image = images[item.ReferencedSOPInstanceUID]
        assert item.ReferencedSOPClassUID == image.SOPClassUID
        across = np.cross(image.ImageOrientationPatient[:3], image.ImageOrientationPatient[3:])
        np.testing.assert_allclose((points - image.ImagePositionPatient) @ across, 0, atol=1e-3)
        assert contour.ContourGeometricType == "CLOSED_PLANAR"
        assert contour.NumberOfContourPoints == len(points)
    (place,) = dataset.ReferencedFrameOfReferenceSequence
    series = place.RTReferencedStudySequence[0].RTReferencedSeriesSequence[0]
    assert {each.ReferencedSOPInstanceUID for each in series.ContourImageSequence} == set(images)
    assert series.SeriesInstanceUID == image.SeriesInstanceUID
    assert place.FrameOfReferenceUID == image.FrameOfReferenceUID


def test_regions_have_name_colour_and_code(labels, tmp_path):
    dataset = write(labels, tmp_path)
    assert str(dataset.PatientName) == "Müller^Jürgen"
    regions = {int(each.ROINumber): each for each in dataset.StructureSetROISequence}
    observed = {int(each.ReferencedROINumber): each for each in dataset.RTROIObservationsSequence}
    assert {value: each.ROIName for value, each in regions.items()} == {
        1: "right kidney",
        2: "liver",
        7: "something odd",
    }
    assert {each.ROIGenerationAlgorithm for each in regions.values()} == {"AUTOMATIC"}
    kidney = observed[1].RTROIIdentificationCodeSequence[0]
    assert kidney.CodeMeaning == "Kidney"
    assert kidney.SegmentedPropertyTypeModifierCodeSequence[0].CodeMeaning == "Right"
    assert [observed[value].RTROIInterpretedType for value in (1, 7)] == ["ORGAN", ""]
    shown = dataset.ROIContourSequence[0].ROIDisplayColor
    assert "#{:02x}{:02x}{:02x}".format(*map(int, shown)) == colour_of(1)


@pytest.mark.parametrize("names", [NAMES, {}])
def test_an_empty_label_map_is_written_too(native, tmp_path, names):
    dataset = write(labels_on(np.zeros((4, 9, 7), np.uint8), native, names), tmp_path)
    assert not list(contours_of(dataset))
    assert len(dataset.StructureSetROISequence) == max(len(names), 1)


def test_a_contour_may_be_longer_than_explicit_vr_allows(tmp_path):
    comb = np.zeros((3, 40, 120), np.uint8)
    comb[:, :, ::2] = comb[:, ::13] = 1
    native = grid_of(make_series(tmp_path / "ct", comb.shape).path)
    dataset = write(labels_on(comb, native), tmp_path)
    assert len(dataset.ROIContourSequence[0].ContourSequence[0].ContourData) * 8 > 2**16 / 4
    np.testing.assert_array_equal(rasterised(dataset, native), comb.transpose(2, 1, 0))


def test_contours_in_a_multi_frame_file_name_its_frame(tmp_path):
    written = make_multi_frame(tmp_path / "enhanced.dcm", (4, 5, 6), order=[2, 0, 3, 1])
    labels = labels_on(np.ones((4, 5, 6), np.uint8), grid_of(written.path))
    source = pydicom.dcmread(written.path)
    places = [each.PlanePositionSequence[0].ImagePositionPatient for each in source.PerFrameFunctionalGroupsSequence]
    for _, contour, points in contours_of(write(labels, tmp_path)):
        assert points[0, 2] == pytest.approx(places[contour.ContourImageSequence[0].ReferencedFrameNumber - 1][2])


def test_a_scan_that_is_no_dicom_series_is_refused(labels, tmp_path):
    native = NativeGrid(labels.native.shape, labels.native.affine)
    with pytest.raises(NoDicomSource, match=r"the scan came from none.*\.nii\.gz"):
        write_rtstruct(labels_on(some_labels((4, 9, 7)), native), tmp_path / "out.dcm")
    assert not list(tmp_path.iterdir())


def first_contour(dataset):
    return dataset.ROIContourSequence[0].ContourSequence[0]


def move_vertices(contour, move):
    """The vertices are bytes until they are written."""
    points = np.array(contour.ContourData.split(b"\\"), dtype=float).reshape(-1, 3)
    move(points)
    contour.ContourData = "\\".join(f"{number:8.3f}" for number in points.ravel()).encode() + b" " * (
        points.size % 2 == 0
    )


def shift_a_contour(dataset):
    def move(points):
        points[:, 0] += 0.9

    move_vertices(first_contour(dataset), move)


def tilt_a_contour(dataset):
    def move(points):
        points[0, 2] += 1

    move_vertices(first_contour(dataset), move)


def lose_a_contour(dataset):
    del dataset.ROIContourSequence[0].ContourSequence[0]


def repeat_a_contour(dataset):
    dataset.ROIContourSequence[0].ContourSequence.append(first_contour(dataset))


def swap_two_regions(dataset):
    first, second = dataset.ROIContourSequence[:2]
    first.ReferencedROINumber, second.ReferencedROINumber = second.ReferencedROINumber, first.ReferencedROINumber


@pytest.mark.parametrize(
    "damage", [shift_a_contour, tilt_a_contour, lose_a_contour, repeat_a_contour, swap_two_regions]
)
def test_a_file_that_reads_back_otherwise_is_not_kept(labels, tmp_path, monkeypatch, damage):
    make = rtstruct._structure_set

    def damaged(*arguments):
        dataset = make(*arguments)
        damage(dataset)
        return dataset

    monkeypatch.setattr(rtstruct, "_structure_set", damaged)
    path = tmp_path / "out.dcm"
    path.write_bytes(b"what was there before")
    with pytest.raises(OutputMismatch, match="reads back"):
        write_rtstruct(labels, path)
    assert path.read_bytes() == b"what was there before"
    assert list(tmp_path.iterdir()) == [path]


def test_the_name_chooses_the_format(labels, tmp_path):
    write_labels(labels, tmp_path / "a.rtstruct.dcm")
    assert pydicom.dcmread(tmp_path / "a.rtstruct.dcm").Modality == "RTSTRUCT"


@pytest.mark.parametrize("name", ["dicom_series/siemens_mr", "dicom_series/non_isotropic"])
def test_contours_enclose_the_voxels_where_another_library_has_them(shared_data, tmp_path, name):
    native = grid_of(shared_data / name)
    frames = np.zeros(native.shape[::-1], np.uint8)
    frames[:, 3:20, 5:26] = 1
    frames[:, 9, 9:12] = 0
    dataset = write(labels_on(frames, native), tmp_path)
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(shared_data / name)))
    scan = reader.Execute()
    found = np.zeros(scan.GetSize()[::-1], int)
    row, column = np.indices(found.shape[1:])
    centres = np.column_stack([column.ravel(), row.ravel()])
    for value, _, points in contours_of(dataset):
        index = np.array([scan.TransformPhysicalPointToContinuousIndex(point.tolist()) for point in points])
        inside = Polygon(np.vstack([index[:, :2], index[:1, :2]])).contains_points(centres)
        found[round(index[0, 2])][inside.reshape(row.shape)] = value
    np.testing.assert_array_equal(found, frames)
