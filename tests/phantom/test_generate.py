"""Whole cases: reproducible, anatomically plausible, and oriented as their affine says."""

from functools import cache

import numpy as np
import pytest

from sautomed.errors import UnknownSetting
from sautomed.phantom import KINDS, make_phantom
from sautomed.phantom.generate import PhantomCase
from sautomed.phantom.parts import Variation
from sautomed.phantom.patient import make_patient

# Generous ranges for adults in ml: of whole organs, and for vessels of the part within the field of view.
ADULT_ML = {
    "spleen": (60, 480), "right_kidney": (80, 300), "left_kidney": (80, 300), "gallbladder": (2, 90),
    "liver": (900, 2500), "stomach": (60, 800), "inferior_vena_cava": (25, 150), "portal_and_splenic_vein": (4, 35),
    "pancreas": (25, 150), "right_adrenal_gland": (1.2, 9), "left_adrenal_gland": (1.2, 9), "heart": (200, 900),
    "trachea": (8, 70),
}  # fmt: skip
OPTIONAL = {"gallbladder", "right_kidney", "left_kidney"}
TUBES_ML = {
    ("abdomen-ct", "aorta"): (25, 130), ("thorax-ct", "aorta"): (60, 380),
    ("abdomen-ct", "esophagus"): (1, 45), ("thorax-ct", "esophagus"): (15, 100),
}  # fmt: skip
SOLID = ("spleen", "liver", "right_kidney", "aorta", "inferior_vena_cava", "pancreas")
SEEDS = (0, 1)


@cache
def case(kind: str, seed: int) -> PhantomCase:
    return make_phantom(kind, seed, index=2)


def label_of(scan: PhantomCase, name: str) -> int:
    return next(label for label, known in scan.names.items() if known == name)


def centre_mm(scan: PhantomCase, name: str) -> np.ndarray:
    """Return the centroid in RAS mm."""
    places = np.argwhere(scan.labels == label_of(scan, name))
    return scan.affine[:3, :3] @ places.mean(axis=0) + scan.affine[:3, 3]


def test_a_case_is_the_same_on_every_call_and_unlike_its_neighbours():
    first, again, other = case("abdomen-ct", 0), make_phantom("abdomen-ct", 0, index=2), case("abdomen-ct", 1)
    assert np.array_equal(first.image, again.image)
    assert np.array_equal(first.labels, again.labels)
    assert np.array_equal(first.affine, again.affine)
    assert first.image.shape != other.image.shape or not np.array_equal(first.labels, other.labels)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", KINDS)
def test_volumes_are_those_of_adults(kind, seed):
    scan = case(kind, seed)
    voxel_ml = np.prod(scan.spacing_mm) / 1000
    for label, name in scan.names.items():
        low, high = ADULT_ML.get(name) or TUBES_ML[kind.removesuffix("-unenhanced"), name]
        volume = (scan.labels == label).sum() * voxel_ml
        assert low < volume < high or (name in OPTIONAL and volume == 0), f"{name}: {volume:.1f} ml"


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", KINDS)
def test_arrays_affine_and_spacing_agree(kind, seed):
    scan = case(kind, seed)
    assert scan.image.shape == scan.labels.shape
    assert scan.image.dtype == np.int16
    assert scan.labels.dtype == np.uint8
    assert set(np.unique(scan.labels)) <= {0, *scan.names}
    assert np.allclose(np.linalg.norm(scan.affine[:3, :3], axis=0), scan.spacing_mm)
    assert 24 <= scan.image.shape[2] <= 40
    assert scan.spacing_mm[2] > 2 * scan.spacing_mm[0]


@pytest.mark.parametrize("seed", SEEDS)
def test_left_is_left_and_up_is_up(seed):
    scan = case("abdomen-ct", seed)
    liver, spleen, aorta = (centre_mm(scan, name) for name in ("liver", "spleen", "aorta"))
    assert liver[0] > aorta[0] + 20, "the liver lies to the patient's right, where x grows"
    assert spleen[0] < aorta[0] - 30
    assert centre_mm(scan, "inferior_vena_cava")[0] > aorta[0]
    assert centre_mm(scan, "pancreas")[1] > aorta[1], "the pancreas lies in front of the aorta"
    assert centre_mm(scan, "esophagus")[2] > centre_mm(scan, "pancreas")[2]
    assert centre_mm(scan, "right_adrenal_gland")[0] > centre_mm(scan, "left_adrenal_gland")[0]


def test_the_chest_is_laid_out():
    scan = case("thorax-ct", 0)
    heart, trachea, esophagus = (centre_mm(scan, name) for name in ("heart", "trachea", "esophagus"))
    assert heart[0] < trachea[0], "the heart points to the left"
    assert trachea[2] > heart[2] + 30
    assert esophagus[1] < heart[1], "the esophagus runs behind the heart"


def test_ct_brightness_is_portal_venous():
    scan = case("abdomen-ct", 0)
    median = {name: np.median(scan.image[scan.labels == label]) for label, name in scan.names.items()}
    assert 70 < median["liver"] < 140
    assert median["right_kidney"] > median["liver"]
    assert median["aorta"] > median["liver"]
    assert scan.image.min() < -900
    assert scan.image.max() > 300


def test_without_contrast_agent_organs_are_nearly_as_bright_as_each_other():
    plain, enhanced = (
        {name: np.median(scan.image[scan.labels == label_of(scan, name)]) for name in SOLID}
        for scan in (case("abdomen-ct-unenhanced", 0), case("abdomen-ct", 0))
    )
    assert 40 < plain["liver"] < 75
    assert np.std(list(plain.values())) < 0.6 * np.std(list(enhanced.values()))
    assert max(plain.values()) < min(enhanced.values()), "contrast agent is left in an organ"


def test_mr_is_positive_with_bright_kidneys():
    scan = case("abdomen-mr", 0)
    median = {name: np.median(scan.image[scan.labels == label]) for label, name in scan.names.items()}
    assert scan.image.min() >= 0
    assert median["right_kidney"] > 1.3 * median["liver"]


def test_files_come_in_several_orientations():
    seen = {tuple(np.sign(np.diag(case(kind, seed).affine)[:3])) for kind in KINDS for seed in SEEDS}
    assert len(seen) > 1


def test_some_patients_lack_a_gallbladder_or_one_kidney_but_never_both():
    patients = [
        {part.structure for part in make_patient(Variation(np.random.default_rng(seed)))} for seed in range(120)
    ]
    without_gallbladder = sum("gallbladder" not in names for names in patients)
    without_a_kidney = sum(len({"right_kidney", "left_kidney"} & names) == 1 for names in patients)
    assert 5 < without_gallbladder < 36
    assert 1 <= without_a_kidney < 18
    assert all({"right_kidney", "left_kidney"} & names for names in patients)
    assert all({"liver", "aorta", "heart", "trachea"} <= names for names in patients)


def test_labels_follow_the_public_data_sets():
    assert KINDS["abdomen-ct"].labels[0] == "spleen"
    assert KINDS["abdomen-ct"].labels[5] == "liver"
    assert len(KINDS["abdomen-ct"].labels) == 13
    assert KINDS["abdomen-mr"].labels == ("liver", "right_kidney", "left_kidney", "spleen")
    assert KINDS["thorax-ct"].labels == ("esophagus", "heart", "trachea", "aorta")


@pytest.mark.parametrize(
    ("kind", "seed", "index"), [("abdomen-pet", 0, 0), ("abdomen-ct", -1, 0), ("abdomen-ct", 0, -1)]
)
def test_what_cannot_be_made_is_refused_by_name(kind, seed, index):
    with pytest.raises(UnknownSetting, match=r"abdomen-pet|negative"):
        make_phantom(kind, seed, index)
