"""Scores of simple geometry, laws of distances, and agreement with two other packages."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from sautomed.evaluation import CONVENTIONS, compare_labels, dice, hausdorff_mm, measure_surfaces, nsd

ISOTROPIC = (1.0, 1.0, 1.0)

spacings = st.tuples(*[st.sampled_from([0.5, 0.8, 1.0, 1.7, 3.0, 7.7])] * 3)
small_masks = arrays(bool, (4, 5, 6))


def cube(shape=(8, 16, 16), corner=(2, 4, 4), size=4):
    mask = np.zeros(shape, dtype=bool)
    mask[tuple(slice(start, start + size) for start in corner)] = True
    return mask


def organ(seed, shape):
    """Return a smooth, irregular body."""
    field = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), 3)
    steps = [np.linspace(-1, 1, length) for length in shape]
    radius = np.sqrt(sum(grid**2 for grid in np.meshgrid(*steps, indexing="ij")))
    return 0.15 * field / field.std() + 0.6 > radius


def organ_pair(seed):
    """Return two bodies that nearly agree, on a grid of random shape and spacing."""
    rng = np.random.default_rng(seed)
    shape = tuple(int(length) for length in rng.integers(16, 36, 3))
    spacing = tuple(float(length) for length in rng.choice([0.7, 1.0, 1.3, 2.0, 3.0, 5.0], 3))
    second = np.roll(organ(seed if seed % 2 else seed + 500, shape), tuple(rng.integers(-2, 3, 3)), axis=(0, 1, 2))
    return organ(seed, shape), second, spacing


def brute_force(first, second, spacing):
    """Return both directed distances, by comparing every surface voxel with every other."""
    surfaces = []
    for mask in (first, second):
        surface = mask & ~ndimage.binary_erosion(mask, ndimage.generate_binary_structure(3, 1), border_value=0)
        surfaces.append(np.argwhere(surface) * spacing)
    apart = np.linalg.norm(surfaces[0][:, None] - surfaces[1][None], axis=2)
    return apart.min(axis=1), apart.min(axis=0)


def all_scores(first, second, spacing=ISOTROPIC, tolerance=2.0):
    distances = measure_surfaces(first, second, spacing)
    hd95, hd = hausdorff_mm(distances, 95), hausdorff_mm(distances)
    return {"dsc": dice(first, second), "hd95_mm": hd95, "hd_mm": hd, "nsd": nsd(distances, tolerance)}


# --- geometry ---------------------------------------------------------------------------------------------------------


def test_a_cube_moved_by_one_slice_is_one_slice_spacing_away():
    distances = measure_surfaces(cube(), np.roll(cube(), 1, axis=0), spacing_mm=(5.0, 1.0, 1.0))
    assert hausdorff_mm(distances) == pytest.approx(5.0)


def test_one_voxel_against_another_is_as_far_as_their_centres():
    first, second = np.zeros((9, 9, 9), bool), np.zeros((9, 9, 9), bool)
    first[1, 1, 1], second[1, 4, 5] = True, True
    assert all_scores(first, second, (9.0, 1.0, 1.0)) == {"dsc": 0, "hd95_mm": 5, "hd_mm": 5, "nsd": 0}


def test_overlap_of_half_a_cube():
    assert dice(cube(), np.roll(cube(), 2, axis=1)) == 0.5


def test_hausdorff_is_the_worse_of_the_two_directions():
    reference = cube()
    far = reference.copy()
    far[7, 15, 15] = True  # far away from the reference, but the reference is near to it everywhere else
    distances = measure_surfaces(reference, far, ISOTROPIC)
    assert distances.to_second_mm.max() == 0
    expected = np.linalg.norm([2, 8, 8])
    assert hausdorff_mm(distances) == pytest.approx(expected)
    assert hausdorff_mm(measure_surfaces(far, reference, ISOTROPIC)) == pytest.approx(expected)
    assert hausdorff_mm(distances, 95) == 0


def test_the_inside_is_no_surface_and_the_edge_of_the_array_is():
    full = np.ones((5, 5, 5), bool)
    assert len(measure_surfaces(full, full, ISOTROPIC).to_first_mm) == 125 - 27


def test_a_diagonal_neighbour_outside_makes_no_surface():
    mask = np.ones((5, 5, 5), bool)
    mask[0, 0, 0] = False
    assert len(measure_surfaces(mask, mask, ISOTROPIC).to_first_mm) == 124 - 27


def test_tolerance_counts_surface_within_reach():
    moved = np.roll(cube(), 1, axis=0)
    distances = measure_surfaces(cube(), moved, spacing_mm=(2.0, 1.0, 1.0))
    assert nsd(distances, 2.0) == 1
    assert nsd(distances, 1.0) < 1


def test_the_tolerance_includes_distances_that_float32_affines_put_a_hair_above_it():
    distances = measure_surfaces(
        cube(), np.roll(cube(), 1, axis=0), spacing_mm=(float(np.float32(2.0000002)), 1.0, 1.0)
    )
    assert nsd(distances, 2.0) == 1


# --- empty masks ------------------------------------------------------------------------------------------------------


def test_two_empty_masks_have_no_score():
    empty = np.zeros((4, 4, 4), bool)
    assert all(np.isnan(score) for score in all_scores(empty, empty).values())


@pytest.mark.parametrize("swap", [False, True])
def test_one_empty_mask_has_no_overlap_and_no_distance(swap):
    pair = [np.zeros((8, 16, 16), bool), cube()]
    scores = all_scores(*(reversed(pair) if swap else pair))
    assert (scores["dsc"], scores["nsd"]) == (0, 0)
    assert np.isnan(scores["hd_mm"])
    assert np.isnan(scores["hd95_mm"])


# --- laws -------------------------------------------------------------------------------------------------------------


@given(small_masks, small_masks, spacings, st.sampled_from([0.0, 1.0, 2.0, 5.0]))
@settings(deadline=None)
def test_scores_are_symmetric(first, second, spacing, tolerance):
    there, back = (all_scores(*pair, spacing, tolerance) for pair in ((first, second), (second, first)))
    assert there == pytest.approx(back, nan_ok=True)


@given(small_masks.filter(np.any), small_masks.filter(np.any), spacings)
@settings(deadline=None)
def test_distances_agree_with_comparing_every_pair(first, second, spacing):
    distances = measure_surfaces(first, second, spacing)
    to_second, to_first = brute_force(first, second, spacing)
    np.testing.assert_allclose(distances.to_second_mm, to_second, atol=1e-9)
    np.testing.assert_allclose(distances.to_first_mm, to_first, atol=1e-9)


@given(small_masks.filter(np.any), small_masks.filter(np.any), spacings, st.floats(0.1, 10))
@settings(deadline=None)
def test_lengths_scale_with_the_spacing(first, second, spacing, factor):
    scaled = tuple(length * factor for length in spacing)
    once, twice = (hausdorff_mm(measure_surfaces(first, second, lengths)) for lengths in (spacing, scaled))
    assert twice == pytest.approx(once * factor)


@given(small_masks.filter(np.any), small_masks.filter(np.any), spacings)
@settings(deadline=None)
def test_percentiles_and_tolerances_are_monotonous(first, second, spacing):
    distances = measure_surfaces(first, second, spacing)
    by_percentile = [hausdorff_mm(distances, percentile) for percentile in (50, 95, 100)]
    by_tolerance = [nsd(distances, tolerance) for tolerance in (0.0, 1.0, 3.0, 100.0)]
    assert by_percentile == sorted(by_percentile)
    assert by_tolerance == sorted(by_tolerance)
    assert by_tolerance[-1] == 1


def test_labels_of_16_bits_are_compared():
    labels = np.zeros((4, 4, 4), np.uint16)
    labels[1:3, 1:3, 1:3] = 300
    assert [dice(pair.prediction, pair.reference) for _, pair in compare_labels(labels, labels, [300], ISOTROPIC)] == [
        1
    ]


# --- other packages ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(12))
def test_scores_agree_with_monai(seed):
    torch = pytest.importorskip("torch")
    metrics = pytest.importorskip("monai.metrics")
    first, second, spacing = organ_pair(seed)
    batch = [torch.tensor(mask)[None, None].float() for mask in (first, second)]
    distances = measure_surfaces(first, second, spacing)
    assert dice(first, second) == pytest.approx(float(metrics.compute_dice(*batch)), abs=1e-6)
    for percentile in (50, 95, 100):
        theirs = metrics.compute_hausdorff_distance(
            *batch, include_background=True, percentile=percentile, spacing=list(spacing)
        )
        assert hausdorff_mm(distances, percentile) == pytest.approx(float(theirs), abs=1e-3)
    for tolerance in (0.9, 2.1, 3.3):
        theirs = metrics.compute_surface_dice(*batch, [tolerance], include_background=True, spacing=list(spacing))
        assert nsd(distances, tolerance) == pytest.approx(float(theirs), abs=1e-6)


@pytest.mark.parametrize("seed", range(12))
def test_scores_agree_with_surface_distance_up_to_half_a_voxel(seed):
    """That package puts the surface between the voxels and weights it by area.

    So its NSD is ours at a tolerance that differs by at most half a voxel's diagonal, and its HD95 differs by at most a
    diagonal.
    """
    surface_distance = pytest.importorskip("surface_distance")
    first, second, spacing = organ_pair(seed)
    distances = measure_surfaces(first, second, spacing)
    theirs = surface_distance.compute_surface_distances(first, second, spacing)
    diagonal = float(np.linalg.norm(spacing))
    assert dice(first, second) == pytest.approx(surface_distance.compute_dice_coefficient(first, second))
    for percentile, slack in ((95, diagonal), (100, diagonal / 2)):
        distance = surface_distance.compute_robust_hausdorff(theirs, percentile)
        assert hausdorff_mm(distances, percentile) == pytest.approx(distance, abs=slack)
    for tolerance in (1.0, 2.0, 3.0):
        score = surface_distance.compute_surface_dice_at_tolerance(theirs, tolerance)
        assert nsd(distances, max(tolerance - diagonal / 2, 0)) - 0.02 <= score
        assert score <= nsd(distances, tolerance + diagonal / 2) + 0.02


def test_flat_surfaces_score_as_in_surface_distance():
    """Two facing slabs have the same area in any weighting, so here the two definitions agree."""
    surface_distance = pytest.importorskip("surface_distance")
    first, second = np.zeros((20, 12, 12), bool), np.zeros((20, 12, 12), bool)
    first[4:10], second[4:13] = True, True
    theirs = surface_distance.compute_surface_distances(first, second, (2.0, 1.0, 1.0))
    ours = measure_surfaces(first, second, (2.0, 1.0, 1.0))
    assert hausdorff_mm(ours) == surface_distance.compute_robust_hausdorff(theirs, 100) == 6


# --- misuse and size -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("percentile", [0, -5, 100.1])
def test_impossible_percentiles_are_refused(percentile):
    with pytest.raises(ValueError, match="percentile"):
        hausdorff_mm(measure_surfaces(cube(), cube(), ISOTROPIC), percentile)


def test_negative_tolerances_are_refused():
    with pytest.raises(ValueError, match="tolerance"):
        nsd(measure_surfaces(cube(), cube(), ISOTROPIC), -1)


def test_other_shapes_are_refused():
    with pytest.raises(ValueError, match="shapes"):
        measure_surfaces(cube(), cube()[1:], ISOTROPIC)
    with pytest.raises(ValueError, match="shapes"):
        list(compare_labels(cube().astype(int), cube()[1:].astype(int), [1], ISOTROPIC))


def test_thirteen_organs_of_a_whole_ct_are_scored_at_once():
    labels = np.zeros((150, 512, 512), np.uint8)
    for k in range(1, 14):
        depth, side = 20 + 5 * (k % 4), 40 + 10 * (k % 5)
        row, col = 90 * ((k - 1) % 5) + 10, 120 * ((k - 1) // 5) + 10
        labels[40 : 40 + depth, row : row + side, col : col + side] = k
    moved = np.roll(labels, (1, 3, 2), axis=(0, 1, 2))
    scores = [
        list(CONVENTIONS["ours"].scores(pair, 2.0).values())
        for _, pair in compare_labels(moved, labels, range(1, 14), (3.0, 0.8, 0.8))
    ]
    assert np.isfinite(scores).all()
