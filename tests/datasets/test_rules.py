"""Rules for label maps that do not fit their dataset: values, and grids."""

import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sautomed import errors
from sautomed.datasets import read_dataset
from sautomed.datasets.regrid import regrid_labels
from sautomed.datasets.rules import NO_RULES, LabelRules, parse_rules, unknown_labels, with_rules
from sautomed.scans.grid import PLANES, NativeGrid, orient
from sautomed.scans.volume import LabelMap

from .sick import LABELS, SPACING, Sick, affine, organs


@pytest.fixture
def sick(tmp_path):
    return Sick(tmp_path / "Dataset001_Sick", count=2)


def stranger(sick, number=0, value=7):
    labels = organs(number)
    labels[20, 20, :3] = value
    sick.write_label(number, labels)


# --- values ---


def test_rules_are_read_from_the_command_line():
    assert parse_rules() == NO_RULES
    assert not NO_RULES
    rules = parse_rules(["7=1", "2=3", "3=2"], ["9"], regrid=True)
    assert rules == LabelRules({7: 1, 2: 3, 3: 2}, frozenset({9}), True)
    assert rules


@pytest.mark.parametrize(
    ("maps", "ignore", "words"),
    [
        (["7"], [], "--map.*'7'.*OLD=NEW"),
        (["7=liver"], [], "--map.*7=liver"),
        (["-7=1"], [], "--map.*-7=1"),
        (["7=1", "7=2"], [], "maps 7 twice"),
        (["7=1"], ["7"], "7 is both mapped and ignored"),
        (["0=1"], [], "0 is the background"),
        ([], ["0"], "0 is the background"),
        ([], ["99999"], "--ignore.*99999"),
    ],
)
def test_rules_that_make_no_sense_are_refused(maps, ignore, words):
    with pytest.raises(errors.UnknownSetting, match=words):
        parse_rules(maps, ignore)


@settings(max_examples=40, deadline=None)
@given(
    values=st.lists(st.integers(0, 300), min_size=1, max_size=24),
    mapped=st.dictionaries(st.integers(1, 300), st.integers(0, 300), max_size=5),
    ignored=st.frozensets(st.integers(1, 300), max_size=3),
)
def test_values_are_mapped_one_by_one_and_all_at_once(values, mapped, ignored):
    rules = LabelRules({old: new for old, new in mapped.items() if old not in ignored}, ignored)
    array = np.array(values, np.uint16).reshape(1, 1, -1)
    native = NativeGrid((len(values), 1, 1), np.eye(4))
    found = rules.values(LabelMap(array, np.eye(4), native, "axial")).array
    assert found.ravel().tolist() == [0 if v in ignored else rules.map.get(v, v) for v in values]


def test_a_dataset_under_rules_is_a_dataset(sick):
    stranger(sick)
    dataset = read_dataset(sick.folder)
    with pytest.raises(errors.UnknownLabels):
        dataset.load(dataset.cases[0])
    for rules, expected in ((LabelRules({7: 1}), 1), (LabelRules(ignore=frozenset({7})), 0)):
        ruled = with_rules(dataset, rules)
        _, labels = ruled.load(ruled.cases[0])
        before = dataset.read_label(dataset.cases[0]).array
        np.testing.assert_array_equal(labels.array, np.where(before == 7, expected, before))
        assert ruled.labels == {value: name for name, value in LABELS.items()}
        np.testing.assert_array_equal(ruled.read_label(ruled.cases[0]).array, labels.array)
    assert with_rules(dataset, NO_RULES) is dataset


def test_labels_that_are_ignored_or_mapped_away_lose_their_names(sick):
    dataset = read_dataset(sick.folder)
    ruled = with_rules(dataset, LabelRules({2: 3}, frozenset({4})))
    assert ruled.labels == {1: "liver", 3: "left_kidney"}
    exchanged = with_rules(dataset, LabelRules({2: 3, 3: 2}))
    assert exchanged.labels == dataset.labels


def test_a_rule_must_fit_the_dataset(sick):
    dataset = read_dataset(sick.folder)
    with pytest.raises(errors.UnknownSetting, match=r"--map.*11.*1 liver"):
        with_rules(dataset, LabelRules({7: 11}))
    with pytest.raises(errors.UnknownSetting, match="no label"):
        with_rules(dataset, LabelRules(ignore=frozenset(LABELS.values())))


def test_unknown_values_are_listed_with_voxels_and_cases(sick):
    dataset = read_dataset(sick.folder)
    assert unknown_labels(dataset, dataset.cases) is None
    stranger(sick, 0)
    stranger(sick, 1)
    stranger(sick, 1, 9)
    fault = unknown_labels(dataset, dataset.cases)
    assert isinstance(fault, errors.UnknownLabels)
    for words in ("7 (3 voxels in 1 case: case_0)", "9 (3 voxels in 1 case: case_1)", "--map 7=", "--ignore 7"):
        assert words in str(fault)


# --- grids ---


def label_map(array, matrix, plane="axial"):
    native = NativeGrid(array.shape, matrix)
    turned, turned_affine = orient(array, native, plane)
    return LabelMap(np.ascontiguousarray(turned), turned_affine, native, plane)


@settings(max_examples=25, deadline=None)
@given(
    flips=st.tuples(*[st.sampled_from([-1, 1])] * 3),
    order=st.permutations(range(3)),
    plane=st.sampled_from(PLANES),
    seed=st.integers(0, 99),
)
def test_a_grid_that_is_only_turned_gives_the_same_voxels(flips, order, plane, seed):
    """The label map is stored along other axes; nearest neighbour finds every voxel again."""
    array = np.random.default_rng(seed).integers(0, 4, (5, 6, 7)).astype(np.uint8)
    matrix = np.diag([2.0, 3.0, 4.0, 1.0])
    matrix[:3, 3] = (5, -7, 11)
    wanted = label_map(array, matrix, plane)
    turn = np.zeros((4, 4))
    turn[3, 3] = 1
    stored = array.transpose(order)[tuple(slice(None, None, flip) for flip in flips)]
    for axis, (source, flip) in enumerate(zip(order, flips, strict=True)):
        turn[source, axis] = flip
        turn[source, 3] = 0 if flip > 0 else array.shape[source] - 1
    found, done = regrid_labels(label_map(stored, matrix @ turn, plane), wanted.native, plane)
    np.testing.assert_array_equal(found.array, wanted.array)
    assert (done.method, done.outside) == ("none", 0)


def test_a_coarser_label_map_fills_the_finer_scan():
    coarse = np.zeros((4, 4, 4), np.uint8)
    coarse[1:3, 1:3, 1:3] = 2
    matrix = np.diag([2.0, 2.0, 2.0, 1.0])
    fine = np.diag([1.0, 1.0, 1.0, 1.0])
    fine[:3, 3] = -0.5  # the two small voxels lie within the large one
    found, done = regrid_labels(label_map(coarse, matrix), NativeGrid((8, 8, 8), fine), "axial")
    np.testing.assert_array_equal(found.to_native(), coarse.repeat(2, 0).repeat(2, 1).repeat(2, 2))
    assert (done.method, done.voxels_before, done.voxels_after) == ("resampled", 8, 64)


def test_a_shift_of_less_than_half_a_voxel_moves_no_label():
    array = organs()
    moved = affine()
    moved[:3, 3] += 0.3 * np.array(SPACING)
    found, done = regrid_labels(label_map(array, moved), NativeGrid(array.shape, affine()), "axial")
    np.testing.assert_array_equal(found.to_native(), array)
    assert done.method == "resampled"


def test_a_label_map_without_a_header_takes_that_of_its_scan():
    array = organs()
    found, done = regrid_labels(label_map(array, np.eye(4)), NativeGrid(array.shape, affine()), "axial")
    np.testing.assert_array_equal(found.to_native(), array)
    np.testing.assert_array_equal(found.native.affine, affine())
    assert done.method == "header taken from the scan"


def test_a_label_map_elsewhere_in_the_patient_is_refused():
    array = organs()
    far = affine()
    far[0, 3] += 200
    with pytest.raises(errors.GridMismatch, match=r"labelled voxels.*field of view"):
        regrid_labels(label_map(array, far), NativeGrid(array.shape, affine()), "axial", where="case 1")


def test_regridding_a_dataset_leaves_a_note(sick):
    shorter = organs()[:, :, :-1]
    sick.write_label(0, shorter)
    dataset = read_dataset(sick.folder)
    with pytest.raises(errors.GridMismatch):
        dataset.load(dataset.cases[0])
    ruled = with_rules(dataset, LabelRules(regrid=True))
    volume, labels = ruled.load(ruled.cases[0])
    assert any("brought onto the scan's grid" in text for text in volume.warnings)
    np.testing.assert_array_equal(labels.to_native(), organs())  # the slice that was cut off held no label
    volume, _ = ruled.load(ruled.cases[1])
    assert volume.warnings == ()
    assert nibabel.load(sick.label(0)).shape == shorter.shape
