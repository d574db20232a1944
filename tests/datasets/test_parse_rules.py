"""Label rules as they are given on the command line."""

import numpy as np
import pytest

from sautomed import errors
from sautomed.datasets.layouts import read_label_names_of
from sautomed.datasets.parse_rules import parse_rules, rules_for
from sautomed.datasets.rules import NO_RULES, LabelRules

from .block_dataset import LABELS, BlockDataset, organs


@pytest.fixture
def blocks(tmp_path):
    return BlockDataset(tmp_path / "Dataset001_Blocks", count=2)


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


def test_names_that_only_label_maps_give_are_known_too(blocks):
    blocks.name_labels(0, np.minimum(organs(0), 2), {1: "Leber (grau)", 2: "right kidney"})

    def parse(maps=(), ignore=()):
        return rules_for(blocks.folder, "auto", maps, ignore)

    assert parse(["leber grau=liver"], ["spleen"]) == LabelRules(ignore=frozenset({4}), names={"leber grau": 1})
    assert parse(ignore=["Leber (grau)"]).names == {"leber grau": 0}
    with pytest.raises(errors.UnknownSetting, match=r"Did you mean Leber.*The label maps name: Leber \(grau\), right"):
        parse(["Leber grauu=liver"])
    with pytest.raises(errors.UnknownSetting, match="maps leber grau twice"):
        parse(["Leber (grau)=liver", "leber grau=spleen"])
    with pytest.raises(errors.UnknownSetting, match="leber grau is both mapped and ignored"):
        parse(["Leber (grau)=liver"], ["leber grau"])


def test_a_name_may_hold_the_sign_that_separates_it():
    rules = parse_rules(["a=b=1"], read_names=lambda: {1: "liver"}, read_file_names=lambda: ["a=b"])
    assert rules.names == {"a b": 1}
