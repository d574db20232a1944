"""Rules for label maps that do not fit their dataset."""

import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sautomed import errors
from sautomed.datasets import read_dataset
from sautomed.datasets.layouts import read_label_names_of
from sautomed.datasets.rules import (
    NO_RULES,
    LabelRules,
    cure_of_unknown_values,
    parse_rules,
    unknown_labels,
    with_rules,
)
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


def test_rules_are_read_from_the_command_line():
    assert parse_rules() == NO_RULES
    assert not NO_RULES
    rules = parse_rules(["7=1", "2=3", "3=2"], ["9"], regrid=True)
    assert rules == LabelRules({7: 1, 2: 3, 3: 2}, frozenset({9}), True)
    assert rules


def test_labels_are_given_by_name_as_well(blocks):
    def read_names():
        return read_label_names_of(blocks.folder)

    assert parse_rules(["255=liver", "left_kidney = background"], ["spleen"], read_names=read_names) == parse_rules(
        [f"255={LABELS['liver']}", f"{LABELS['left_kidney']}=0"], [str(LABELS["spleen"])]
    )
    with pytest.raises(errors.UnknownSetting, match=r"no label 'livre'.*Did you mean liver\?.*0 background, 1 liver"):
        parse_rules(["255=livre"], read_names=read_names)
    with pytest.raises(errors.UnknownSetting, match="maps 7 twice"):
        parse_rules(["7=liver", "7=spleen"], read_names=read_names)
    with pytest.raises(errors.UnknownSetting, match="0 is the background"):
        parse_rules(["background=liver"], read_names=read_names)


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
    assert unknown_labels(dataset, dataset.cases).cure.endswith("--ignore 7, or name them in dataset.json.")
    (blocks.folder / "dataset.json").unlink()
    assert unknown_labels(dataset, dataset.cases).cure.endswith("--ignore 7.")


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
    assert unknown_labels(dataset, dataset.cases) is None
    add_unknown_value(blocks, 0)
    add_unknown_value(blocks, 1)
    add_unknown_value(blocks, 1, 9)
    fault = unknown_labels(dataset, dataset.cases)
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


def test_a_scan_in_place_of_a_label_map_gives_no_endless_cure():
    cure = cure_of_unknown_values(range(1, 3000), "dataset.json")
    assert cure.count("--ignore") == cure.count("--map") == 8
    assert "and so on" in cure
