"""Labels computed voxel by voxel from a scan are saved where its voxels are, as other libraries confirm.

Runs over all endings of the tables in `scans.formats`.
"""

import itertools

import nibabel
import numpy as np
import pytest
import SimpleITK
from hypothesis import given, settings
from hypothesis import strategies as st

from sautomed.cli.convert import convert_file
from sautomed.scans import read_labels, read_scan, read_stored
from sautomed.scans.formats import FILE_ENDINGS, FORMATS, IMAGE_ENDINGS, LABEL_ENDINGS
from sautomed.scans.grid import NativeGrid, corner_gap_mm
from sautomed.scans.volume import LabelMap
from sautomed.scans.write import write_image

ORIENTATIONS = [
    (order, signs) for order in itertools.permutations(range(3)) for signs in itertools.product((1, -1), repeat=3)
]
PEERS = {"nifti": "nibabel", "nrrd": "SimpleITK", "metaimage": "SimpleITK"}  # formats without one are only ours
OUTPUT_ENDINGS = tuple(ending for ending in LABEL_ENDINGS if ending in FILE_ENDINGS)  # DICOM needs a DICOM source
DTYPES = ("u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8")
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
PLANES = ("axial", "coronal", "sagittal", "auto")


def peer_of(path):
    name = next(name for name, entry in FORMATS.items() if path.name.endswith(entry.endings or ("no ending",)))
    return PEERS.get(name)


def write_with_peer(path, array, affine, packed=True):
    """Write a scan with the other library of its format; array axes are (x y z) of the file."""
    if peer_of(path) is None:
        write_image(array, NativeGrid(array.shape, affine), path)
        return path
    if peer_of(path) == "nibabel":
        image = nibabel.Nifti1Image(array, affine, dtype=array.dtype)
        image.header.set_xyzt_units("mm")
        nibabel.save(image, path)
        return path
    lps = LPS @ affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    image = SimpleITK.GetImageFromArray(array.transpose(2, 1, 0))
    image.SetSpacing(spacing.tolist())
    image.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    SimpleITK.WriteImage(image, str(path), useCompression=packed)
    return path


def read_with_peer(path):
    """Return the array, (x y z) of the file, and its affine to RAS mm."""
    if peer_of(path) is None:
        stored = read_stored(path)
        return stored.voxels, stored.geometry.native.affine_to_write
    if peer_of(path) == "nibabel":
        image = nibabel.load(path)
        return np.asarray(image.dataobj), image.affine
    image = SimpleITK.ReadImage(str(path))
    lps = np.eye(4)
    lps[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    lps[:3, 3] = image.GetOrigin()
    return SimpleITK.GetArrayFromImage(image).transpose(2, 1, 0), LPS @ lps


def content(shape, dtype, seed=0):
    """Return values over the whole range of a type, different for each seed and not constant."""
    rng = np.random.default_rng(seed)
    kind = np.dtype(dtype)
    if kind.kind == "f":
        values = rng.normal(0, 1000, shape).astype(kind)
    else:
        limits = np.iinfo(kind)
        values = rng.integers(limits.min, limits.max, shape, dtype=kind, endpoint=True)
    values.flat[0], values.flat[-1] = 3, 100
    return values


def segmented(scan):
    """Stand in for a model: each label follows from its voxel alone."""
    return ((scan > 0) + 2 * (scan > 50)).astype(np.uint8)


def check_round_trip(folder, array, affine, ending_in, ending_out, plane):
    scan = write_with_peer(folder / f"scan{ending_in}", array, affine)
    stored = read_stored(scan)
    assert stored.voxels.dtype == array.dtype
    np.testing.assert_array_equal(stored.voxels, array)
    assert corner_gap_mm(stored.geometry.affine, affine, array.shape) < 1e-3

    volume = read_scan(scan, plane)
    labels = LabelMap(segmented(volume.array), volume.affine, volume.native, volume.plane, {1: "a", 3: "b"})
    labels.save(folder / f"labels{ending_out}")

    found, found_affine = read_with_peer(folder / f"labels{ending_out}")
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, segmented(array.astype(np.float32)))
    assert corner_gap_mm(found_affine, affine, array.shape) < 1e-3
    again = read_labels(folder / f"labels{ending_out}", volume.plane)
    np.testing.assert_array_equal(again.array, labels.array)


def axis_affine(order, signs, spacing, origin):
    affine = np.zeros((4, 4))
    for axis in range(3):
        affine[order[axis], axis] = signs[axis] * spacing[axis]
    affine[:3, 3] = origin
    affine[3, 3] = 1
    return affine


def rotation(angles):
    a, b, c = angles
    x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return x @ y @ z


@pytest.mark.parametrize(("number", "orientation"), enumerate(ORIENTATIONS))
def test_all_orientations_come_back_in_every_format(tmp_path, number, orientation):
    array = content((4, 3, 5), DTYPES[number % len(DTYPES)], number)
    affine = axis_affine(*orientation, (0.7, 1.3, 2.9), (-81.5, 33.25, 210.0))
    for turn in range(3):
        ending_in = FILE_ENDINGS[(number + 2 * turn) % len(FILE_ENDINGS)]
        ending_out = OUTPUT_ENDINGS[(number + turn) % len(OUTPUT_ENDINGS)]
        check_round_trip(tmp_path, array, affine, ending_in, ending_out, PLANES[(number + turn) % 4])


@pytest.mark.parametrize("ending_in", FILE_ENDINGS)
@pytest.mark.parametrize("ending_out", OUTPUT_ENDINGS)
def test_every_type_comes_back_in_every_combination_of_formats(tmp_path, ending_in, ending_out):
    affine = axis_affine((2, 0, 1), (-1, 1, 1), (0.7, 1.3, 2.9), (-81.5, 33.25, 210.0))
    affine[:3, :3] = rotation((0.2, -0.3, 0.1)) @ affine[:3, :3]
    for dtype in DTYPES:
        check_round_trip(tmp_path, content((3, 4, 2), dtype), affine, ending_in, ending_out, "auto")


@given(
    orientation=st.sampled_from(ORIENTATIONS),
    angles=st.tuples(*[st.floats(-0.5, 0.5)] * 3),
    spacing=st.tuples(*[st.floats(0.3, 8)] * 3),
    origin=st.tuples(*[st.floats(-500, 500)] * 3),
    shape=st.tuples(*[st.integers(1, 6)] * 3).filter(lambda shape: np.prod(shape) > 1),
    dtype=st.sampled_from(DTYPES),
    ending_in=st.sampled_from(FILE_ENDINGS),
    ending_out=st.sampled_from(OUTPUT_ENDINGS),
    plane=st.sampled_from(PLANES),
)
@settings(max_examples=60, deadline=None)
def test_oblique_grids_and_odd_shapes_come_back(
    tmp_path_factory, orientation, angles, spacing, origin, shape, dtype, ending_in, ending_out, plane
):
    affine = axis_affine(*orientation, spacing, origin)
    affine[:3, :3] = rotation(angles) @ affine[:3, :3]
    check_round_trip(tmp_path_factory.mktemp("trip"), content(shape, dtype), affine, ending_in, ending_out, plane)


@pytest.mark.parametrize("ending_in", FILE_ENDINGS)
@pytest.mark.parametrize("ending_out", OUTPUT_ENDINGS)
def test_labels_of_a_slightly_sheared_scan_lie_where_its_file_says(tmp_path, ending_in, ending_out):
    affine = axis_affine((0, 1, 2), (-1, 1, 1), (1, 1, 2), (10, 20, 30))
    affine[0, 1] = 0.01
    array = content((40, 30, 6), "i2")
    scan = write_with_peer(tmp_path / f"scan{ending_in}", array, affine)
    volume = read_scan(scan, "axial")
    assert any("not at right angles" in warning for warning in volume.warnings)
    axes = volume.affine[:3, :3] / volume.spacing_mm
    np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=1e-9)
    path = tmp_path / f"labels{ending_out}"
    LabelMap(segmented(volume.array), volume.affine, volume.native, "axial").save(path)
    found, found_affine = read_with_peer(path)
    np.testing.assert_array_equal(found, segmented(array.astype(np.float32)))
    assert corner_gap_mm(found_affine, affine, array.shape) < 1e-3


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("ending_in", "ending_out"), itertools.product(FILE_ENDINGS, IMAGE_ENDINGS))
def test_conversion_changes_neither_values_nor_place(tmp_path, dtype, ending_in, ending_out):
    array = content((3, 1, 4), dtype)
    affine = axis_affine((1, 0, 2), (1, 1, -1), (1.5, 1, 3), (5, -6, 7))
    scan = write_with_peer(tmp_path / f"scan{ending_in}", array, affine, packed=False)
    geometry = convert_file(scan, tmp_path / f"out{ending_out}")
    found, found_affine = read_with_peer(tmp_path / f"out{ending_out}")
    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found, array)
    assert corner_gap_mm(found_affine, affine, array.shape) < 1e-4
    assert geometry.shape == array.shape
