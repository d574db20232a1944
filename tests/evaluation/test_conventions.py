"""Whatever the convention: each metric is described, is a number or nan, and MONAI's agree with ours on two bodies."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from sautomed.errors import UsageError
from sautomed.evaluation import CONVENTIONS, DISPLAYS, METRICS, compare, compare_labels, convention_named

masks = arrays(bool, (4, 5, 6))
spacings = st.tuples(*[st.sampled_from([0.5, 0.8, 1.0, 1.7, 3.0, 7.7])] * 3)


def scores(name, prediction, reference, spacing_mm=(1.0, 1.0, 1.0), tolerance_mm=2.0):
    measured = compare(prediction, reference, spacing_mm)
    return {metric: score(measured, tolerance_mm) for metric, score in CONVENTIONS[name].metrics.items()}


def cube(there=True):
    mask = np.zeros((8, 9, 10), bool)
    mask[2:6, 3:7, 4:8] = there
    return mask


def test_the_tables_name_what_they_hold():
    assert list(CONVENTIONS) == ["ours", "transunet", "monai"]
    for name, convention in CONVENTIONS.items():
        assert convention.name == name
        assert next(iter(convention.metrics)) == "dsc"
        assert set(convention.metrics) <= set(DISPLAYS)
        assert {DISPLAYS[metric].unit for metric in convention.metrics} == {"", convention.unit}
        assert convention.notes.endswith(".")
        assert convention.notes.count(".") == 1
    keys = [display.key for display in DISPLAYS.values()]
    assert len(set(keys)) == len(keys)


def test_ours_is_what_is_counted_without_a_name():
    assert METRICS is CONVENTIONS["ours"].metrics
    assert list(METRICS) == ["dsc", "hd95_mm", "hd_mm", "nsd"]


def test_a_display_has_a_label():
    assert DISPLAYS["dsc"].label(2.0) == "DSC"
    assert DISPLAYS["hd95_voxels"].label() == "HD95 (voxels)"
    assert (DISPLAYS["nsd"].label(1.5), DISPLAYS["nsd"].label()) == ("NSD at 1.5 mm", "NSD")


@pytest.mark.parametrize("name", ["Ours", "medpy", ""])
def test_an_unknown_name_is_refused_with_those_there_are(name):
    with pytest.raises(UsageError, match="ours, transunet, monai"):
        convention_named(name)


@pytest.mark.parametrize("name", CONVENTIONS)
@given(prediction=masks, reference=masks, spacing=spacings)
@settings(deadline=None, max_examples=15)
def test_scores_are_numbers_in_their_range_or_nan(name, prediction, reference, spacing):
    for metric, value in scores(name, prediction, reference, spacing).items():
        assert isinstance(value, float)
        assert math.isnan(value) or (0 <= value <= 1 if DISPLAYS[metric].higher_is_better else 0 <= value < math.inf)


@pytest.mark.parametrize("name", CONVENTIONS)
def test_a_perfect_mask_is_perfect(name):
    assert scores(name, cube(), cube()) == {
        metric: float(DISPLAYS[metric].higher_is_better) for metric in CONVENTIONS[name].metrics
    }


nan = math.nan
EMPTY = {  # convention, predicted, in the reference: as `notes` says
    ("ours", True, False): {"dsc": 0, "hd95_mm": nan, "hd_mm": nan, "nsd": 0},
    ("ours", False, True): {"dsc": 0, "hd95_mm": nan, "hd_mm": nan, "nsd": 0},
    ("ours", False, False): {"dsc": nan, "hd95_mm": nan, "hd_mm": nan, "nsd": nan},
    ("transunet", True, False): {"dsc": 1, "hd95_voxels": 0},
    ("transunet", False, True): {"dsc": 0, "hd95_voxels": 0},
    ("transunet", False, False): {"dsc": 0, "hd95_voxels": 0},
    ("monai", True, False): {"dsc": nan, "hd95_mm": nan, "hd_mm": nan, "nsd": 0},
    ("monai", False, True): {"dsc": 0, "hd95_mm": nan, "hd_mm": nan, "nsd": 0},
    ("monai", False, False): {"dsc": nan, "hd95_mm": nan, "hd_mm": nan, "nsd": nan},
}


@pytest.mark.parametrize(("name", "predicted", "there"), EMPTY)
def test_empty_masks_score_as_each_convention_says(name, predicted, there):
    expected = EMPTY[name, predicted, there]
    assert scores(name, cube(predicted), cube(there)) == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize("name", CONVENTIONS)
def test_a_class_that_is_nowhere_is_scored_from_no_voxels(name):
    """Its box holds none."""
    labels = cube().astype(np.uint8)
    ((_, measured),) = compare_labels(labels, labels, [5], (1.0, 1.0, 1.0))
    found = {metric: score(measured, 2.0) for metric, score in CONVENTIONS[name].metrics.items()}
    assert found == pytest.approx(EMPTY[name, False, False], nan_ok=True)


@given(masks.filter(np.any), masks.filter(np.any), spacings, st.sampled_from([0.3, 0.9, 2.3, 4.1]))
@settings(deadline=None, max_examples=60)
def test_monais_agree_with_ours_on_masks_that_hold_voxels(prediction, reference, spacing, tolerance):
    """Up to float32; the tolerances are no distance of two voxels of these spacings."""
    theirs, ours = (scores(name, prediction, reference, spacing, tolerance) for name in ("monai", "ours"))
    assert theirs == pytest.approx(ours, abs=1e-4)


@pytest.mark.parametrize("seed", range(6))
def test_monais_agree_with_ours_on_bodies(seed):
    rng = np.random.default_rng(seed)
    fields = [ndimage.gaussian_filter(rng.normal(size=(24, 40, 36)), 4) for _ in range(2)]
    prediction, reference = (field > np.quantile(field, 0.9) for field in fields)
    theirs, ours = (scores(name, prediction, reference, (3.0, 0.9, 0.9), 2.1) for name in ("monai", "ours"))
    assert theirs == pytest.approx(ours, abs=1e-4)
