from statistics import fmean

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra.numpy import arrays

from sautomed.study.report.cases import open_dataset, read_label_maps, systems_of
from sautomed.study.report.grouping import comparable_groups
from sautomed.study.report.runs import read_study
from sautomed.study.report.slice_errors import BINS, CAUSES, measure_errors, near_surface, slice_dsc, split_errors

SPACING_MM = (5.0, 1.0, 1.0)
masks = arrays(bool, (4, 5, 6))


def cube(slices=slice(3, 7), rows=slice(10, 30), columns=slice(10, 30)) -> np.ndarray:
    mask = np.zeros((10, 40, 40), dtype=bool)
    mask[slices, rows, columns] = True
    return mask


def causes_of(truth, found) -> dict[str, int]:
    counts = split_errors(truth, found, near_surface(truth, SPACING_MM))
    return {cause: count for cause, count in counts.items() if count}


@given(truth=masks, found=masks)
@settings(max_examples=60, deadline=None)
def test_every_wrong_voxel_has_one_cause(truth, found):
    counts = split_errors(truth, found, near_surface(truth, SPACING_MM))
    assert set(counts) == set(CAUSES)
    assert sum(counts.values()) == (truth ^ found).sum()
    assert min(counts.values()) >= 0


def test_two_equal_masks_have_no_error():
    assert causes_of(cube(), cube()) == {}


def test_false_organ_past_its_last_slice():
    assert causes_of(cube(), cube(slices=slice(3, 9))) == {"beyond": 2 * 400}


def test_slices_within_the_organ_on_which_nothing_was_found():
    found = cube()
    found[4] = False
    assert causes_of(cube(), found) == {"missed_slices": 400}


def test_an_organ_that_was_not_found_and_one_that_is_not_there():
    nothing = np.zeros_like(cube())
    assert causes_of(cube(), nothing) == {"missed": 4 * 400}
    assert causes_of(nothing, cube()) == {"invented": 4 * 400}


def test_a_shift_by_one_voxel_is_a_matter_of_the_outline():
    assert set(causes_of(cube(), np.roll(cube(), 1, axis=2))) == {"boundary"}


def test_a_false_piece_beside_the_organ_lies_farther_off():
    found = cube()
    found[4, 10:12, 36:39] = True  # 6 mm and more from column 29
    assert causes_of(cube(), found) == {"inner": 6}


@pytest.mark.parametrize(("distance", "is_near"), [(1, True), (5, True), (6, False)])
def test_near_is_measured_in_mm(distance, is_near):
    near = near_surface(cube(), SPACING_MM)
    assert near[4, 20, 29 + distance] == is_near


def test_a_voxel_beside_the_outline_is_near_however_large_it_is():
    near = near_surface(cube(), (5.0, 20.0, 20.0))
    assert near[4, 20, 30]
    assert not near[4, 20, 31]


def test_dsc_of_a_slice_is_known_where_the_truth_has_the_organ():
    found = cube(rows=slice(10, 20))
    found[4] = False
    dsc = slice_dsc(cube(), found)
    assert np.isnan(dsc[[0, 2, 7]]).all()
    assert dsc[3] == pytest.approx(2 / 3)
    assert dsc[4] == 0


@pytest.fixture(scope="module")
def measured(fake_study):
    """The errors of all systems, and the (truth, found, spacing) of every organ of every case of each."""
    group = comparable_groups(read_study(fake_study))[0]
    systems, masks = systems_of(group), {}
    dataset = open_dataset(systems)
    for case in group.patients:
        truth, found = read_label_maps(dataset, case, systems)
        for name, labels in found.items():
            masks.setdefault(name, []).extend(
                (k, truth.array == k, labels.array == k, truth.spacing_mm) for k in group.labels
            )
    return measure_errors(dataset, group.patients, systems, group.labels), masks


def test_errors_are_millilitres_per_case_and_add_up(measured):
    errors, masks = measured
    for name, found in errors.items():
        wrong = [(k, (a ^ b).sum() * np.prod(spacing_mm) / 1000) for k, a, b, spacing_mm in masks[name]]
        assert found.cases == 8
        for k, causes in found.ml.items():
            assert sum(causes.values()) == pytest.approx(sum(ml for of, ml in wrong if of == k) / 8)
        assert sum(map(found.total_ml, CAUSES)) == pytest.approx(sum(ml for _, ml in wrong) / 8)


def test_places_are_those_of_a_slow_count(measured):
    errors, masks = measured
    for name, found in errors.items():
        places = {place: [] for place in found.places}
        tenths = [[] for _ in range(BINS)]
        for _, truth, predicted, _ in masks[name]:
            dsc = slice_dsc(truth, predicted)
            having = [t for t in range(len(dsc)) if truth[t].any()]
            if not having:
                continue
            places["first"].append(dsc[having[0]])
            places["last"].append(dsc[having[-1]])
            third = len(having) / 3
            places["middle"].append(fmean(dsc[t] for i, t in enumerate(having) if third < i + 0.5 < 2 * third))
            if 5 in having:  # of ten slices the walk begins with the upper of the two in the middle
                places["walk_first"].append(dsc[5])
                places["walk_near"].append(fmean(dsc[t] for t in (2, 3, 4, 6, 7, 8) if t in having))
            for i, t in enumerate(having):
                tenths[int((i + 0.5) / len(having) * 10)].append(dsc[t])
        assert dict(found.places) == pytest.approx({place: fmean(values) for place, values in places.items()})
        expected = [fmean(values) if values else np.nan for values in tenths]
        assert found.along == pytest.approx(np.array(expected), nan_ok=True)
