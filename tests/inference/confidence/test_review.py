"""What a person should look at."""

import numpy as np
import pytest

from sautomed.inference.confidence.pooling import SignalCollector
from sautomed.inference.confidence.predictor import fit_predictor
from sautomed.inference.confidence.review import case_confidence
from sautomed.inference.confidence.shape import OrganSize
from sautomed.inference.confidence.values import SliceSignals
from sautomed.scans.grid import NativeGrid
from sautomed.scans.volume import LabelMap

from .test_pooling import Part

AFFINE = np.diag([5.0, 2.0, 2.0, 1.0])
ORGANS = {1: "liver", 2: "spleen"}


def labels_of(array):
    return LabelMap(array, AFFINE, NativeGrid(array.shape, AFFINE), "axial", ORGANS)


def whole():
    """Liver and spleen on each of ten slices, 16 voxels a slice: 3.2 ml."""
    array = np.zeros((10, 12, 12), np.uint8)
    array[:, 2:6, 2:6] = 1
    array[:, 7:11, 7:11] = 2
    return array


def collected(array, sure=None):
    """Signals of masks whose probability inside is 1, or for some slices of the liver another."""
    collector = SignalCollector(ORGANS)
    for t, part in enumerate(array):
        pixels = np.array([(part == value).sum() for value in ORGANS], float)
        overlap = pixels * np.array([(sure or {}).get(t, 1.0), 1.0])
        nothing = np.full(2, np.nan)
        collector.add(Part(t, SliceSignals(pixels, pixels, overlap, overlap, nothing, nothing)))
    return collector


def trained(volume_ml=3.2, extent_mm=50.0, organs=("liver", "spleen")):
    return [{organ: OrganSize(volume_ml, extent_mm) for organ in organs}] * 12


def review_of(array, sure=None, reference=None, predictor=None):
    return case_confidence(
        labels_of(array), collected(array, sure), trained() if reference is None else reference, predictor
    )


def predictor_of(cases):
    return fit_predictor([{"soft_dice": dice} for dice in (0.3, 0.95)], [0.3, 0.95], cases)


def test_a_sure_result_of_the_usual_size_has_nothing_to_review():
    found = review_of(whole(), predictor=predictor_of(12))
    assert found.review == ()
    assert 0.8 < found.least_sure <= 1
    assert (found.cases, found.calibrated) == (12, True)


def test_runs_of_unsure_slices_are_named_and_single_slices_are_not():
    found = review_of(whole(), {0: 0.2, 3: 0.5, 4: 0.41, 5: 0.6, 7: 0.6, 8: 0.6})
    assert found.review == ("liver: slices 3-5: confidence down to 0.41", "liver: slices 7-8: confidence down to 0.60")
    assert found.least_sure is None


def test_the_thin_end_of_an_organ_is_not_named():
    array = whole()
    array[:2][array[:2] == 1] = 0
    array[:2, 2, 2] = 1  # two of 130 voxels
    assert review_of(array, {0: 0.2, 1: 0.2}).review == ()


def test_a_low_predicted_dsc_says_when_it_is_uncalibrated():
    unsure = dict.fromkeys(range(10), 0.5)
    few, enough = (review_of(whole(), unsure, predictor=predictor_of(cases)) for cases in (3, 12))
    dsc = enough.predicted_dsc["liver"]
    assert dsc == enough.least_sure < 0.8
    assert f"liver: predicted DSC {dsc:.2f}" in enough.review
    assert few.review[0] == (f"liver: predicted DSC {dsc:.2f} (from 3 cases: uncalibrated, as these are fewer than 10)")
    assert few.calibrated is False


def test_an_organ_that_every_training_case_has_must_be_there():
    array = whole()
    array[array == 2] = 0
    found = review_of(array, predictor=predictor_of(12))
    assert found.review == ("spleen: not found, but in all 12 training cases",)
    assert found.predicted_dsc["spleen"] == found.least_sure == 0
    some_without = [*trained(), {"liver": OrganSize(3.2, 50.0)}]
    found = review_of(array, reference=some_without, predictor=predictor_of(12))
    assert found.review == ()
    assert found.predicted_dsc["spleen"] is None


def test_sizes_unlike_those_of_the_training_are_named():
    found = review_of(whole(), reference=trained(volume_ml=32.0))
    assert "liver: volume 3.2 ml, in training 32 to 32 ml" in found.review
    found = review_of(whole(), reference=trained(extent_mm=200.0))
    assert "spleen: extent 50 mm, in training 200 to 200 mm" in found.review
    assert review_of(whole(), reference=()).review == ()


def test_an_organ_in_pieces_is_named():
    array = whole()
    array[4:6][array[4:6] == 1] = 0
    assert "liver: 2 pieces, 50 % of it outside of the largest" in review_of(array).review


def test_an_empty_result_is_named():
    array = np.zeros((4, 12, 12), np.uint8)
    assert review_of(array, reference=()).review == ("no organ was found",)


@pytest.mark.parametrize("organ", ["liver", "spleen"])
def test_every_organ_has_a_predicted_dsc(organ):
    assert review_of(whole()).predicted_dsc[organ] is None
    assert review_of(whole(), predictor=predictor_of(3)).predicted_dsc[organ] > 0
