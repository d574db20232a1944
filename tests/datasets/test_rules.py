"""Rules for label maps that do not fit their dataset."""

import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sautomed import errors
from sautomed.datasets import read_dataset
from sautomed.datasets.layouts import read_label_names_of
from sautomed.datasets.rules import NO_RULES, LabelRules, cure_of_unknown_values, unusable_labels, with_rules
from sautomed.scans.grid import NativeGrid
from sautomed.scans.volume import LabelMap

from .block_dataset import LABELS, BlockDataset, organs


@pytest.fixture
def blocks(tmp_path):
    return BlockDataset(tmp_path / "Dataset001_Blocks", count=2)


def add_unknown_value(blocks, number=0, value=7):
    labels = organs(number)
    labels[20, 20, :3] = value
    blocks.write_label(number, labels)


def test_names_are_known_although_a_file_has_no_partner(blocks):
    blocks.label(0).unlink()
    assert set(read_label_names_of(blocks.folder).values()) == set(LABELS)


def test_a_label_that_another_value_is_mapped_onto_stays_although_its_own_is_ignored(blocks):
    dataset = read_dataset(blocks.folder)
    ruled = with_rules(dataset, LabelRules({2: 3}, frozenset({3})))
    assert ruled.labels == {1: "liver", 3: "left_kidney", 4: "spleen"}
    assert set(ruled.load(ruled.cases[0])[1].voxel_counts()) == {0, 1, 3, 4}


def test_only_a_dataset_with_a_description_is_told_to_name_values_in_it(blocks):
    add_unknown_value(blocks)
    dataset = read_dataset(blocks.folder)
    assert unusable_labels(dataset, dataset.cases).cure.endswith("--ignore 7, or name them in dataset.json.")
    (blocks.folder / "dataset.json").unlink()
    assert unusable_labels(dataset, dataset.cases).cure.endswith("--ignore 7.")


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
    found = rules.map_values(LabelMap(array, np.eye(4), native, "axial")).array
    assert found.ravel().tolist() == [0 if v in ignored else rules.map.get(v, v) for v in values]


def test_a_dataset_under_rules_is_a_dataset(blocks):
    add_unknown_value(blocks)
    dataset = read_dataset(blocks.folder)
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


def test_labels_that_are_ignored_or_mapped_away_lose_their_names(blocks):
    dataset = read_dataset(blocks.folder)
    ruled = with_rules(dataset, LabelRules({2: 3}, frozenset({4})))
    assert ruled.labels == {1: "liver", 3: "left_kidney"}
    exchanged = with_rules(dataset, LabelRules({2: 3, 3: 2}))
    assert exchanged.labels == dataset.labels


def test_a_rule_must_fit_the_dataset(blocks):
    dataset = read_dataset(blocks.folder)
    with pytest.raises(errors.UnknownSetting, match=r"--map.*11.*1 liver"):
        with_rules(dataset, LabelRules({7: 11}))
    with pytest.raises(errors.UnknownSetting, match="no label"):
        with_rules(dataset, LabelRules(ignore=frozenset(LABELS.values())))


def test_unknown_values_are_listed_with_voxels_and_cases(blocks):
    dataset = read_dataset(blocks.folder)
    assert unusable_labels(dataset, dataset.cases) is None
    add_unknown_value(blocks, 0)
    add_unknown_value(blocks, 1)
    add_unknown_value(blocks, 1, 9)
    fault = unusable_labels(dataset, dataset.cases)
    assert isinstance(fault, errors.UnknownLabels)
    for words in ("7 (3 voxels in 1 case: case_0)", "9 (3 voxels in 1 case: case_1)", "--map 7=", "--ignore 7"):
        assert words in str(fault)


def test_regridding_a_dataset_adds_a_warning(blocks):
    shorter = organs()[:, :, :-1]
    blocks.write_label(0, shorter)
    dataset = read_dataset(blocks.folder)
    with pytest.raises(errors.GridMismatch):
        dataset.load(dataset.cases[0])
    ruled = with_rules(dataset, LabelRules(regrid=True))
    volume, labels = ruled.load(ruled.cases[0])
    assert any("brought onto the scan's grid" in text for text in volume.warnings)
    np.testing.assert_array_equal(labels.to_native(), organs())  # the slice that was cut off held no label
    volume, _ = ruled.load(ruled.cases[1])
    assert volume.warnings == ()
    assert nibabel.load(blocks.label(0)).shape == shorter.shape


def test_label_maps_are_numbered_by_the_names_in_their_headers(blocks):
    dataset = read_dataset(blocks.folder)
    case, before = dataset.cases[0], dataset.load(dataset.cases[0])[1]
    numbers = np.array([0, 3, 1, 4, 2], np.uint8)
    blocks.name_labels(0, numbers[organs(0)], {3: "Liver", 1: "right kidney", 4: "Left-Kidney", 2: "Spleen"})
    for labels in (dataset.load(case)[1], dataset.read_label(case)):
        assert labels.names == before.names
        np.testing.assert_array_equal(labels.array, before.array)


def test_rules_give_names_in_headers_a_label(blocks):
    dataset = read_dataset(blocks.folder)
    case, before = dataset.cases[0], dataset.load(dataset.cases[0])[1]
    blocks.name_labels(0, organs(0), {1: "Leber", 2: "tumour", 3: "left kidney", 4: "spleen"})
    with pytest.raises(errors.UnmatchedNames, match=r"case case_0 .*Leber \(value 1\), tumour \(value 2\)"):
        dataset.load(case)
    fault = unusable_labels(dataset, dataset.cases)
    assert isinstance(fault, errors.UnmatchedNames)
    assert "Leber (1 case: case_0); tumour (1 case: case_0)" in fault.fault
    rules = LabelRules({3: 4}, names={"leber": 1, "tumour": 0})
    ruled = with_rules(dataset, rules)
    expected = np.array([0, 1, 0, 4, 4])[before.array]
    np.testing.assert_array_equal(ruled.load(case)[1].array, expected)
    assert ruled.labels == {1: "liver", 2: "right_kidney", 4: "spleen"}
    assert unusable_labels(ruled, ruled.cases) is None
    assert rules.key != LabelRules({3: 4}).key
    with pytest.raises(errors.UnknownSetting, match="maps onto 9"):
        with_rules(dataset, LabelRules(names={"leber": 9}))


def test_a_scan_in_place_of_a_label_map_gives_no_endless_cure():
    cure = cure_of_unknown_values(range(1, 3000), "dataset.json")
    assert cure.count("--ignore") == cure.count("--map") == 8
    assert "and so on" in cure


def test_a_name_is_given_a_label_before_labels_are_ignored(blocks):
    dataset = read_dataset(blocks.folder)
    blocks.name_labels(0, organs(0), {1: "Leber", 2: "right kidney", 3: "left kidney", 4: "spleen"})
    ruled = with_rules(dataset, LabelRules(ignore=frozenset({1}), names={"leber": 1}))
    assert set(ruled.load(dataset.cases[0])[1].voxel_counts()) == {0, 2, 3, 4}
    assert 1 not in ruled.labels
