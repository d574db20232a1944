"""Scans whose intensities are far from those of the training: faults are named, and crops are no faults."""

import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sautomed.inference.intensity_check import FREE_SHIFT_HU, intensity_warning
from sautomed.inference.percentiles import IntensityPercentiles, percentiles_of
from sautomed.scans import read_scan

PERCENTILES = st.sampled_from([-30_000, 0]).flatmap(
    lambda least: st.lists(st.integers(least, 40_000), min_size=9, max_size=9).map(
        lambda values: IntensityPercentiles(*(value / 10 for value in sorted(values)))
    )
)
TRAINED = st.lists(PERCENTILES, min_size=1, max_size=4)


def patient(seed=0, shape=(12, 60, 60)):
    """An abdomen in HU: fat around muscle and organs, a spine, some gas, air around it."""
    rng = np.random.default_rng(seed)
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    hu = np.full(shape, -1000.0)
    hu[x**2 / 0.8 + y**2 / 0.5 < 1] = -100
    hu[x**2 / 0.6 + y**2 / 0.35 < 1] = 50
    hu[(x - 0.3) ** 2 + y**2 < 0.05] = 120
    hu[x**2 + (y - 0.4) ** 2 < 0.02] = 400
    hu[(x + 0.4) ** 2 + (y + 0.2) ** 2 + z**2 < 0.01] = -900
    return (hu + rng.normal(0, 12 + seed, shape)).clip(-1024, 3071).astype(np.float32)


def mr(seed=0, shape=(12, 60, 60)):
    """The same patient as T2 shows it: fat and fluid bright, most of it dark, zero around it."""
    hu = patient(seed, shape)
    image = np.select([hu < -500, hu < -50, hu < 90, hu < 200], [0, 500, 120, 300], 800)
    noise = np.random.default_rng(seed).normal(0, 20, shape)
    return np.where(image, np.abs(image + noise), 0).astype(np.float32)


CT = [percentiles_of(patient(seed), "ct") for seed in range(3)]
MR = [percentiles_of(mr(seed), "other") for seed in range(3)]


def padded(array, value):
    """A circular field of view in a square, as scanners write it."""
    y, x = np.ogrid[-1 : 1 : array.shape[1] * 1j, -1 : 1 : array.shape[2] * 1j]
    return np.where(x**2 + y**2 > 1, np.float32(value), array)


def with_metal(array):
    array = array.copy()
    array[:, 28:32, 28:32] = 3071
    return array


def normalised(array):
    return (array - array.mean()) / array.std()


def as_bytes(array, low, high):
    return np.rint((array.clip(low, high) - low) / (high - low) * 255)


# --- what is no fault ---


@given(TRAINED, st.sampled_from(["ct", "other"]), st.data())
def test_no_training_scan_is_reported(trained, modality, data):
    assert intensity_warning(data.draw(st.sampled_from(trained)), trained, modality) is None


@given(TRAINED, st.floats(-FREE_SHIFT_HU, FREE_SHIFT_HU), st.data())
def test_no_ct_that_is_shifted_a_little_is_reported(trained, shift, data):
    assert intensity_warning(data.draw(st.sampled_from(trained)).plus(shift), trained, "ct") is None


@given(TRAINED, st.floats(1e-3, 1e3), st.data())
def test_other_scans_have_no_unit(trained, factor, data):
    assert intensity_warning(data.draw(st.sampled_from(trained)).times(factor), trained, "other") is None


@given(PERCENTILES, st.sampled_from(["ct", "other"]))
def test_nothing_is_reported_if_the_training_is_unknown(found, modality):
    assert intensity_warning(found, (), modality) is None


@settings(deadline=None, max_examples=50)
@given(st.integers(10, 13), st.data())
def test_no_crop_is_reported(seed, data):
    """Down to half of each side, and trained on one scan."""
    whole = patient(seed), mr(seed)
    parts = []
    for length in whole[0].shape:
        size = data.draw(st.integers(length // 2, length))
        start = data.draw(st.integers(0, length - size))
        parts.append(slice(start, start + size))
    assert intensity_warning(percentiles_of(whole[0][tuple(parts)], "ct"), CT[:1], "ct") is None
    assert intensity_warning(percentiles_of(whole[1][tuple(parts)], "other"), MR[:1], "other") is None


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda hu: padded(hu, -2000), id="padding of -2000"),
        pytest.param(lambda hu: padded(hu, -3024), id="padding of -3024"),
        pytest.param(with_metal, id="metal"),
        pytest.param(lambda hu: np.pad(hu, ((0, 0), (60, 60), (60, 60)), constant_values=-1000), id="more air"),
        pytest.param(lambda hu: hu[:, 20:40, 20:40], id="no air"),
        pytest.param(lambda hu: hu.clip(-160, 240), id="cut to a window, still in HU"),
    ],
)
def test_what_scanners_and_crops_do_to_ct_is_not_reported(change):
    assert intensity_warning(percentiles_of(change(patient(9)), "ct"), CT, "ct") is None


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda image: 37.5 * image, id="factor"),
        pytest.param(lambda image: as_bytes(image, 0, 800), id="0 to 255"),
        pytest.param(lambda image: image / image.max(), id="0 to 1"),
        pytest.param(normalised, id="mean and deviation"),
        pytest.param(lambda image: image + 500, id="offset"),
        pytest.param(lambda image: padded(image, 0), id="padding"),
    ],
)
def test_units_of_other_scans_are_not_reported(change):
    assert intensity_warning(percentiles_of(change(mr(9)), "other"), MR, "other") is None


# --- faults ---

WINDOW = "the model applies its own window"
RESCALE = "with its rescale slope and intercept applied"
ANOTHER = "Use a model for that kind of scan"


@pytest.mark.parametrize(
    ("change", "cause", "cure"),
    [
        pytest.param(lambda hu: hu + 1024, "Hounsfield units + 1024", RESCALE, id="+ 1024"),
        pytest.param(lambda hu: (hu + 1000).clip(0), "Hounsfield units + 1024", RESCALE, id="+ 1000, unsigned"),
        pytest.param(lambda hu: (hu + 1024).clip(0, 4095), "Hounsfield units + 1024", RESCALE, id="12 bits"),
        pytest.param(lambda hu: padded(hu, -3024) + 1024, "Hounsfield units + 1024", RESCALE, id="padded, + 1024"),
        pytest.param(lambda hu: hu[:, 15:45, 15:45] + 1024, "Hounsfield units + 1024", RESCALE, id="crop, + 1024"),
        pytest.param(lambda hu: hu + 8192, "Hounsfield units + 8192", RESCALE, id="+ 8192"),
        pytest.param(lambda hu: hu + 32768, "Hounsfield units + 32768", RESCALE, id="+ 32768"),
        pytest.param(lambda hu: hu - 1024, "intercept applied twice", RESCALE, id="- 1024"),
        pytest.param(lambda hu: (hu + 1024) * 10 - 1024, "no CT in Hounsfield units", RESCALE, id="slope of 0.1 lost"),
        pytest.param(
            lambda hu: (hu + 1024) / 2 - 1024, "nothing is as bright as tissue", RESCALE, id="slope of 2 lost"
        ),
        pytest.param(lambda hu: (hu.clip(-160, 240) + 160) / 400, "scaled to 0 to 1", WINDOW, id="window, 0 to 1"),
        pytest.param(lambda hu: (hu - hu.min()) / np.ptp(hu), "scaled to 0 to 1", WINDOW, id="whole range, 0 to 1"),
        pytest.param(lambda hu: as_bytes(hu, -160, 240), "stored as 0 to 255", WINDOW, id="window, 0 to 255"),
        pytest.param(lambda hu: as_bytes(hu, -1024, 3071), "nothing is below 0", ANOTHER, id="whole range, bytes"),
        pytest.param(lambda hu: hu / 1000, "divided by 1000", "multiply it by 1000", id="/ 1000"),
        pytest.param(normalised, "normalised", WINDOW, id="mean and deviation"),
        pytest.param(lambda hu: -hu, "inverted", "air is -1000", id="negative"),
        pytest.param(lambda hu: hu.max() - hu, "inverted", "air is -1000", id="maximum minus x"),
        pytest.param(lambda hu: hu % 65536, "nothing is below 0", "If it is CT", id="sign lost"),
        pytest.param(lambda hu: hu.clip(0), "nothing is below 0", "If it is CT", id="cut at 0"),
        pytest.param(
            lambda hu: np.full_like(hu, -1000), "nearly all of its voxels have one value", "viewer", id="empty"
        ),
        pytest.param(lambda hu: hu[:, :2], "like air alone", "viewer", id="air"),
        pytest.param(lambda hu: mr(9), "like MR, PET or another scan", ANOTHER, id="MR"),
        pytest.param(lambda hu: 1.5 * mr(9), "like MR, PET or another scan", ANOTHER, id="MR, its negative like CT"),
    ],
)
def test_a_fault_of_ct_is_named_with_its_cure(change, cause, cure):
    text = intensity_warning(percentiles_of(change(patient(9)).astype(np.float32), "ct"), CT, "ct")
    assert cause in text.split("The scan looks ")[1].split(", so the result is probably wrong.")[0]
    assert cure in text.split("probably wrong.")[1]


@pytest.mark.parametrize(
    ("image", "cause"),
    [
        pytest.param(patient(9), "like CT in Hounsfield units", id="CT"),
        pytest.param(mr(9).max() - mr(9), "inverted", id="maximum minus x"),
        pytest.param(-mr(9), "inverted", id="negative"),
        pytest.param(np.full((12, 60, 60), 7.0), "nearly all of its voxels have one value", id="empty"),
    ],
)
def test_a_fault_of_another_scan_is_named(image, cause):
    text = intensity_warning(percentiles_of(image, "other"), MR, "other")
    assert cause in text.split("The scan looks ")[1].split(", so the result is probably wrong.")[0]


@pytest.mark.parametrize(
    "percentiles",
    [
        (0, 35.9, 143.5, 493.3, 771.4, 1031.5, 1219.9, 1327.5, 3264.9),  # like HU + 1024, but for its middle
        (0, 20.9, 90.7, 279.1, 467.6, 669.9, 774.6, 837.4, 1479.4),  # like inverted CT, but for its middle
    ],
)
def test_mr_as_bright_as_faulty_ct_is_told_by_what_no_tissue_has(percentiles):
    """Two scans of MSD Hippocampus; the model was trained on phantoms in CT."""
    trained = [IntensityPercentiles(-1024, -1024, -1018, -950, -900, 10, 200, 320, 1100)]
    assert ANOTHER in intensity_warning(IntensityPercentiles(*map(float, percentiles)), trained, "ct")


@pytest.mark.parametrize("unit", [lambda hu: hu + 1024, lambda hu: (hu + 1024) / 4095, normalised])
def test_a_model_of_ct_in_another_unit_expects_that_unit(unit):
    trained = [percentiles_of(unit(patient(seed)), "ct") for seed in range(3)]
    assert intensity_warning(percentiles_of(unit(patient(9)), "ct"), trained, "ct") is None
    text = intensity_warning(percentiles_of(patient(9), "ct"), trained, "ct")
    assert "Give the scan in the unit of the training scans" in text


def test_both_ranges_are_in_the_text():
    text = intensity_warning(percentiles_of(patient(9) + 1024, "ct"), CT, "ct")
    assert text.startswith("the intensities are unlike those that the model was trained on: 0 (0.5 %), ")
    assert ", in training -1024 (0.5 %), " in text


# --- real scans ---


def test_real_mr_scans_are_alike_and_no_ct(shared_data):
    """Trained on any one of them, every other is silent, and the CT is not."""
    scans = sorted((shared_data / "Dataset001_CHAOST2" / "imagesTr").glob("*.nii.gz"))[:6]
    rows = [percentiles_of(np.asarray(nibabel.load(path).dataobj), "other") for path in scans]
    assert len(rows) == 6
    assert [intensity_warning(found, [one], "other") for found in rows for one in rows] == [None] * 36
    ct = read_scan(shared_data / "totalsegmentator" / "ct_3mm.nii.gz").array
    assert "like CT in Hounsfield units" in intensity_warning(percentiles_of(ct, "other"), rows, "other")
    for path in scans:
        found = percentiles_of(np.asarray(nibabel.load(path).dataobj), "ct")
        assert "like MR" in intensity_warning(found, [percentiles_of(ct, "ct")], "ct")


def test_real_ct_scans_are_alike(shared_data):
    folder = shared_data / "totalsegmentator"
    rows = [percentiles_of(read_scan(folder / name).array, "ct") for name in ("ct_3mm.nii.gz", "ct_dicom")]
    assert [intensity_warning(found, [one], "ct") for found in rows for one in rows] == [None] * 4
