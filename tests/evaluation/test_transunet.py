"""TransUNet's scores agree bit for bit with a slow implementation of their definition."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from sautomed.evaluation import CONVENTIONS, compare, compare_labels, hausdorff_mm
from sautomed.evaluation.transunet import transunet_hd95_voxels

TRANSUNET = CONVENTIONS["transunet"]
ANISOTROPIC = (5.0, 0.7, 0.7)  # must not matter


def directed_distances(first, second):
    """From each surface voxel of the first to the nearest of the second, by distance transform of the whole volume."""
    faces = ndimage.generate_binary_structure(3, 1)
    surfaces = [mask ^ ndimage.binary_erosion(mask, structure=faces, iterations=1) for mask in (first, second)]
    return ndimage.distance_transform_edt(~surfaces[1])[surfaces[0]]


def by_definition(prediction, reference):
    if prediction.sum() > 0 and reference.sum() > 0:
        pooled = np.hstack([directed_distances(prediction, reference), directed_distances(reference, prediction)])
        shared = np.count_nonzero(prediction & reference)
        return 2.0 * shared / float(prediction.sum() + reference.sum()), np.percentile(pooled, 95)
    return (1, 0) if prediction.sum() > 0 else (0, 0)


def dsc_and_hd95(pair):
    scores = TRANSUNET.scores(pair, 2.0)
    return scores["dsc"], scores["hd95_voxels"]


def scores(prediction, reference, spacing_mm=ANISOTROPIC):
    return dsc_and_hd95(compare(prediction, reference, spacing_mm))


def organ(rng, shape):
    field = ndimage.gaussian_filter(rng.normal(size=shape), 2)
    return field > np.quantile(field, 0.85)


@given(arrays(bool, (5, 6, 7)), arrays(bool, (5, 6, 7)))
@settings(deadline=None, max_examples=80)
def test_any_two_masks_score_bit_for_bit_as_defined(prediction, reference):
    assert scores(prediction, reference) == by_definition(prediction, reference)


@given(st.integers(0, 10**6), st.tuples(*[st.integers(6, 24)] * 3))
@settings(deadline=None, max_examples=40)
def test_bodies_score_bit_for_bit_as_defined(seed, shape):
    rng = np.random.default_rng(seed)
    prediction, reference = organ(rng, shape), organ(rng, shape)
    assert scores(prediction, reference) == by_definition(prediction, reference)


@given(st.integers(0, 10**6))
@settings(deadline=None, max_examples=20)
def test_boxes_around_each_class_change_no_bit(seed):
    rng = np.random.default_rng(seed)
    prediction, reference = (sum(k * organ(rng, (12, 20, 20)) for k in (1, 2)) for _ in range(2))
    for k, pair in compare_labels(prediction, reference, (1, 2, 3, 7), ANISOTROPIC):
        assert dsc_and_hd95(pair) == by_definition(prediction == k, reference == k)


@pytest.mark.parametrize(
    ("predicted", "there", "expected"),
    [(True, False, (1, 0)), (False, True, (0, 0)), (False, False, (0, 0)), (True, True, (1, 0))],
)
def test_empty_masks_have_fixed_scores(predicted, there, expected):
    cube = np.zeros((6, 6, 6), bool)
    cube[2:4, 2:4, 2:4] = True
    assert scores(cube & predicted, cube & there) == expected


def test_both_directions_are_pooled_before_the_percentile():
    """A spike of two voxels on a cube is more than 5 % of one surface, but much less of the two together."""
    reference = np.zeros((9, 9, 20), bool)
    reference[3:6, 3:6, 3:6] = True
    prediction = reference.copy()
    prediction[4, 4, 6:8] = True  # its foot is inside now, and 1 away from the surface around it
    pair = compare(prediction, reference, (1.0, 1.0, 1.0))
    assert hausdorff_mm(pair.distances, 95) == np.percentile([0] * 25 + [1, 2], 95)
    assert transunet_hd95_voxels(pair, 2.0) == np.percentile([0] * 50 + [1, 1, 2], 95)


def test_the_spacing_does_not_matter():
    rng = np.random.default_rng(4)
    pair = organ(rng, (10, 12, 14)), organ(rng, (10, 12, 14))
    assert scores(*pair, (9.0, 0.1, 3.0)) == scores(*pair, (1.0, 1.0, 1.0))
