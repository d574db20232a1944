"""A fold that cannot teach a class is refused; what validation cannot score is said."""

import logging
from dataclasses import dataclass

import numpy as np
import pytest

from sautomed.errors import ClassMissing
from sautomed.training.classes import require_classes

LABELS = {1: "liver", 5: "spleen"}


@dataclass
class Prepared:
    id: str
    shown: tuple[bool, ...]

    @property
    def presence(self):
        return np.array([(False,) * len(self.shown), self.shown])


BOTH, LIVER, NOTHING = (True, True), (True, False), (False, False)


def test_a_fold_with_every_class_is_taken_without_a_word(caplog):
    require_classes([Prepared("a", LIVER), Prepared("b", BOTH)], [Prepared("c", BOTH)], LABELS, "0")
    require_classes([Prepared("b", BOTH)], [], LABELS, "all")
    assert caplog.text == ""


def test_a_class_that_only_validation_shows_is_refused():
    with pytest.raises(ClassMissing, match=r"fold 0.*5 spleen has no voxel in its 2 training cases \(a, b\).*--seed"):
        require_classes([Prepared("a", LIVER), Prepared("b", LIVER)], [Prepared("c", BOTH)], LABELS, "0")


def test_a_class_that_no_case_shows_is_refused_with_another_cure():
    with pytest.raises(ClassMissing, match=r"5 spleen.*--ignore 5.*image_size") as caught:
        require_classes([Prepared("a", LIVER)], [Prepared("c", LIVER)], LABELS, "2")
    assert caught.value.exit_code == 3


def test_what_validation_lacks_and_empty_label_maps_are_warned_of(caplog):
    with caplog.at_level(logging.WARNING):
        require_classes([Prepared("a", BOTH), Prepared("b", NOTHING)], [Prepared("c", LIVER)], LABELS, "1")
    assert "no validation case shows 5 spleen" in caplog.text
    assert "case b: its label map is empty" in caplog.text
