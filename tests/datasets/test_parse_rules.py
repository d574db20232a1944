"""Label rules as they are given on the command line."""

import pytest

from sautomed import errors
from sautomed.datasets.layouts import read_label_names_of
from sautomed.datasets.parse_rules import parse_rules
from sautomed.datasets.rules import NO_RULES, LabelRules

from .block_dataset import LABELS, BlockDataset


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
