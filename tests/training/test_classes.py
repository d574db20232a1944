"""A fold without examples of a class is refused; classes that validation cannot score are reported."""

import logging

import numpy as np
import pytest

from sautomed.errors import ClassMissing
from sautomed.training.classes import require_classes
from sautomed.training.prepare import PreparedCase

LABELS = {1: "liver", 5: "spleen"}


@pytest.fixture
def prepared(tmp_path):
    """A function that writes which classes a case shows."""

    def write(case, shown):
        np.save(tmp_path / f"{case}.presence.npy", [(False,) * len(shown), shown])
        return PreparedCase(case, tmp_path)

    return write


BOTH, LIVER, NOTHING = (True, True), (True, False), (False, False)


def test_a_fold_with_every_class_is_taken_without_a_word(prepared, caplog):
    require_classes([prepared("a", LIVER), prepared("b", BOTH)], [prepared("c", BOTH)], LABELS, "0")
    require_classes([prepared("b", BOTH)], [], LABELS, "all")
    assert caplog.text == ""


def test_a_class_that_only_validation_shows_is_refused(prepared):
    with pytest.raises(ClassMissing, match=r"fold 0.*5 spleen has no voxel in its 2 training cases \(a, b\).*--seed"):
        require_classes([prepared("a", LIVER), prepared("b", LIVER)], [prepared("c", BOTH)], LABELS, "0")


def test_a_class_that_no_case_shows_is_refused_with_another_cure(prepared):
    with pytest.raises(ClassMissing, match=r"5 spleen.*--ignore 5.*image_size") as caught:
        require_classes([prepared("a", LIVER)], [prepared("c", LIVER)], LABELS, "2")
    assert caught.value.exit_code == 3


def test_what_validation_lacks_and_empty_label_maps_are_warned_of(prepared, caplog):
    with caplog.at_level(logging.WARNING):
        require_classes([prepared("a", BOTH), prepared("b", NOTHING)], [prepared("c", LIVER)], LABELS, "1")
    assert "no validation case shows 5 spleen" in caplog.text
    assert "case b: its label map is empty" in caplog.text
