"""Conventions differ for empty masks; on others, MONAI's scores agree with ours."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from sautomed.errors import UsageError
from sautomed.evaluation import CONVENTIONS, METRICS, compare, compare_labels, convention_named

masks = arrays(bool, (4, 5, 6))
spacings = st.tuples(*[st.sampled_from([0.5, 0.8, 1.0, 1.7, 3.0, 7.7])] * 3)


def scores(name, prediction, reference, spacing_mm=(1.0, 1.0, 1.0), tolerance_mm=2.0):
    return CONVENTIONS[name].scores(compare(prediction, reference, spacing_mm), tolerance_mm)


def cube(there=True):
    mask = np.zeros((8, 9, 10), bool)
    mask[2:6, 3:7, 4:8] = there
    return mask


@pytest.mark.parametrize("name", CONVENTIONS)
def test_a_convention_has_its_name_the_dsc_first_distances_in_one_unit_and_one_sentence_of_notes(name):
    convention = CONVENTIONS[name]
    assert convention.name == name
    assert convention.metrics[0] == "dsc"
    assert len({METRICS[metric].unit for metric in convention.metrics} - {""}) == 1
    assert convention.notes.endswith(".")
    assert convention.notes.count(".") == 1


def test_published_columns_keep_their_names_and_order():
    assert list(CONVENTIONS) == ["ours", "transunet", "monai"]
    assert CONVENTIONS["ours"].metrics[:4] == CONVENTIONS["monai"].metrics[:4] == ("dsc", "hd95_mm", "hd_mm", "nsd")
    assert CONVENTIONS["transunet"].metrics[:2] == ("dsc", "hd95_voxels")


@pytest.mark.parametrize("name", ["Ours", "medpy", ""])
def test_an_unknown_name_is_refused_with_the_known_ones(name):
    with pytest.raises(UsageError, match="ours, transunet, monai"):
        convention_named(name)


nan = math.nan
EMPTY = {  # convention, in the prediction, in the reference: as `notes` says
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
def test_empty_masks_score_as_the_notes_of_the_convention_say(name, predicted, there):
    expected = EMPTY[name, predicted, there]
    found = scores(name, cube(predicted), cube(there))
    assert {metric: found[metric] for metric in expected} == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize("name", CONVENTIONS)
def test_a_class_without_voxels_scores_as_two_empty_masks(name):
    labels = cube().astype(np.uint8)
    ((_, pair),) = compare_labels(labels, labels, [5], (1.0, 1.0, 1.0))
    assert CONVENTIONS[name].scores(pair, 2.0) == pytest.approx(scores(name, cube(False), cube(False)), nan_ok=True)


def assert_monai_agrees(prediction, reference, spacing_mm, tolerance_mm):
    """Up to float32."""
    monai, ours = (scores(name, prediction, reference, spacing_mm, tolerance_mm) for name in ("monai", "ours"))
    assert monai == pytest.approx({metric: ours[metric] for metric in monai}, abs=1e-4)


@given(masks.filter(np.any), masks.filter(np.any), spacings, st.sampled_from([0.3, 0.9, 2.3, 4.1]))
@settings(deadline=None, max_examples=60)
def test_monai_agrees_with_ours_on_masks_with_voxels(prediction, reference, spacing, tolerance):
    # None of the tolerances is a distance of two voxels with these spacings.
    assert_monai_agrees(prediction, reference, spacing, tolerance)


@pytest.mark.parametrize("seed", range(6))
def test_monai_agrees_with_ours_on_organs(seed):
    rng = np.random.default_rng(seed)
    fields = [ndimage.gaussian_filter(rng.normal(size=(24, 40, 36)), 4) for _ in range(2)]
    prediction, reference = (field > np.quantile(field, 0.9) for field in fields)
    assert_monai_agrees(prediction, reference, (3.0, 0.9, 0.9), 2.1)
