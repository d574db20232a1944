import nibabel
import numpy as np
import pytest
from scipy import ndimage

from sautomed.errors import GantryTilt, MixedOrientation, NotAVolume, SautomedError, TooFewSlices, UnevenGaps
from sautomed.scans.dicom import series_table
from sautomed.scans.read import read_geometry, read_labels, read_scan, read_stored
from sautomed.scans.stored import ReadOptions
from sautomed.scans.volume import corner_distance_mm

from .build import make_series, zip_of

READABLE = ("ge_mr_implicit", "jpeg2000", "non_isotropic", "rle", "siemens_mr")
REFUSED = {
    "gantry_tilt": (GantryTilt, r"gantry tilt of 14\.0 degrees.*--resample"),
    "mixed_orientation": (MixedOrientation, r"2 of 4 images are turned against the others.*97\.5 degrees"),
    "not_a_volume": (NotAVolume, "all 4 images have the same position"),
    "slice_count": (TooFewSlices, "has 2 slices, but a volume needs at least 3"),
    "uneven_gap": (UnevenGaps, r"most lie 5 mm apart, but 10 mm between .*0009.*0010.*1 slice missing.*--resample"),
}


def in_ras(voxels, affine):
    return nibabel.as_closest_canonical(nibabel.Nifti1Image(np.asarray(voxels, dtype=np.float64), affine))


@pytest.mark.parametrize("name", READABLE)
def test_real_series_equal_the_output_of_another_converter(shared_data, name):
    stored = read_stored(shared_data / "dicom_series" / name)
    ours = in_ras(stored.voxels, stored.geometry.affine)
    image = nibabel.load(shared_data / "dicom_series" / "reference" / f"{name}.nii.gz")
    theirs = in_ras(image.get_fdata(), image.affine)
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours.affine, theirs.affine, atol=1e-3)
    np.testing.assert_allclose(ours.get_fdata(), theirs.get_fdata(), atol=1e-4)  # scaled ones are float32


@pytest.mark.parametrize("name", REFUSED)
def test_real_series_that_are_no_regular_volume_are_refused_with_the_reason(shared_data, name):
    fault, words = REFUSED[name]
    with pytest.raises(fault, match=words):
        read_geometry(shared_data / "dicom_series" / "refuse" / name)


@pytest.mark.parametrize("name", ["gantry_tilt", "uneven_gap"])
def test_real_series_that_resampling_cures(shared_data, name):
    volume = read_scan(shared_data / "dicom_series" / "refuse" / name, options=ReadOptions(resample=True))
    assert not volume.native.source.regular
    assert volume.array.min() >= -1024


def test_a_real_ct_is_aligned_with_its_labels(shared_data):
    folder = shared_data / "totalsegmentator"
    volume = read_scan(folder / "ct_dicom")
    labels = read_labels(folder / "ct_dicom_labels.nii.gz")
    assert corner_distance_mm(volume, labels) < 1e-3
    tissue = volume.array > -500
    parts, _ = ndimage.label(tissue)
    sizes = np.bincount(parts.ravel())
    body = parts == sizes[1:].argmax() + 1
    body = np.array([ndimage.binary_fill_holes(plane) for plane in body])
    arms = np.isin(labels.array, (69, 70))  # the humeri, apart from the trunk in these slices
    organs = (labels.array > 0) & ~arms
    assert (organs & body).sum() / organs.sum() > 0.999
    liver = volume.array[labels.array == 5]
    assert (liver.mean(), liver.std()) == (pytest.approx(89, abs=1), pytest.approx(22, abs=1))
    for axis in (1, 2):  # turned over, the liver lies on other tissue
        turned = np.flip(labels.array, axis) == 5
        assert volume.array[turned].std() > 100


def test_a_folder_of_many_real_series_is_a_table(shared_data):
    rows = series_table(shared_data / "dicom_series")
    assert len(rows) == 10
    assert sum(row.usable for row in rows) == 5


def test_a_zip_is_read_as_its_folder(tmp_path):
    written = make_series(tmp_path / "s", (5, 8, 7))
    packed = zip_of(written.path, tmp_path / "scan.dat")
    for path in (written.path, packed):
        volume = read_scan(path)
        assert volume.plane == "axial"
        assert volume.array.shape == (5, 8, 7)
        np.testing.assert_array_equal(volume.array, written.voxels.transpose(2, 1, 0))


def test_randomly_damaged_files_raise_only_our_errors(tmp_path):
    written = make_series(tmp_path / "s", (3, 6, 5))
    content = written.files[1].read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(150):
        damaged = bytearray(content)
        for place in rng.integers(0, len(content) - 60, 3):
            damaged[place] = rng.integers(256)
        written.files[1].write_bytes(damaged[: rng.integers(200, 2 * len(damaged))])
        try:
            read_stored(written.path)
        except SautomedError:
            continue
