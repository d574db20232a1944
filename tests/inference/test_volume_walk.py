"""A scan walked with its states kept: boxes in the scan's own pixels, replaced, and the walk goes on from there."""

import numpy as np
import pytest

from sautomed import errors
from sautomed.inference.model import Model


@pytest.fixture
def volume(model, write, tmp_path):
    return model.read(write(tmp_path / "a.nii.gz"))


def test_a_walk_gives_what_segment_gives(model, volume):
    whole, parts = model.segment(volume).array, list(model.walk(volume))
    assert [(part.done, part.total) for part in parts] == [(n, 6) for n in range(1, 7)]
    assert all(np.array_equal(whole[part.index], part.labels) for part in parts)


def test_the_boxes_before_a_slice_are_those_that_prompted_it(model, volume):
    walk = model.walk(volume)
    prompted = {part.index: part.boxes for part in walk}
    assert any(np.isfinite(boxes).any() for boxes in prompted.values())
    for t, boxes in prompted.items():
        np.testing.assert_array_equal(walk.boxes(t), boxes)


def test_a_replaced_box_prompts_its_slice_and_the_walk_goes_on_outwards(model, volume):
    walk = model.walk(volume)
    list(walk)
    boxes = walk.boxes(4)
    boxes[0], boxes[1] = (3, 4, 20, 25), np.nan  # one organ moved, the other not there
    again = list(walk.resume(4, boxes))
    assert [part.index for part in again] == [4, 5]
    np.testing.assert_allclose(again[0].boxes[0], (3, 4, 20, 25), atol=1e-3)
    assert np.isnan(again[0].boxes[1]).all()
    np.testing.assert_allclose(walk.boxes(4), boxes, atol=1e-3)
    assert all(part.done == 6 for part in again)


def test_a_slice_visited_again_says_whether_its_labels_changed(model, volume):
    walk = model.walk(volume)
    labels = {part.index: part.labels for part in walk}
    boxes = walk.boxes(2)
    boxes[0] = (0, 0, 5, 5)
    for part in walk.resume(2, boxes):
        assert part.changed == (not np.array_equal(part.labels, labels[part.index]))


def test_the_boxes_of_a_slice_put_back_change_nothing(model, volume):
    walk = model.walk(volume)
    list(walk)
    assert list(walk.resume(2, walk.boxes(2))) == []


def test_a_model_of_stacks_cannot_be_walked(model, volume):
    stacks = Model.__new__(Model)
    stacks.network, stacks.folder = object(), model.folder
    with pytest.raises(errors.UsageError, match="does not go from slice to slice"):
        stacks.walk(volume)
