"""A scan walked with its states kept: boxes in the scan's own pixels, replaced, and the walk goes on from there."""

import numpy as np
import pytest

from sautomed import errors
from sautomed.inference.model import Model, with_chunk, with_walk
from sautomed.model.values import Seen


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


def test_one_edge_moved_is_another_box(model, volume):
    walk = model.walk(volume)
    list(walk)
    boxes = walk.boxes(4)
    boxes[0] = (3, 4, 20, 25)
    list(walk.resume(4, boxes))
    boxes = walk.boxes(4)
    boxes[0, 2] = 30
    np.testing.assert_allclose(next(walk.resume(4, boxes)).boxes[0], (3, 4, 30, 25), atol=1e-3)


def test_a_box_is_cut_to_the_slice_that_it_is_drawn_on(model, volume):
    found = []
    for box in ((-50, -50, 20, 15), (0, 0, 20, 15)):
        walk = model.walk(volume)
        list(walk)
        boxes = walk.boxes(4)
        boxes[0] = box
        found.append(next(walk.resume(4, boxes)).labels)
        np.testing.assert_allclose(walk.boxes(4)[0], (0, 0, 20, 15), atol=1e-3)
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize(
    ("box", "fault"), [((20, 25, 3, 4), "no area"), ((60, 4, 90, 9), "no area"), ((3, np.nan, 9, 9), "partly nan")]
)
def test_what_is_no_box_is_refused(model, volume, box, fault):
    walk = model.walk(volume)
    list(walk)
    boxes = walk.boxes(4)
    boxes[1] = box
    with pytest.raises(ValueError, match=fault):
        walk.resume(4, boxes)
    with pytest.raises(ValueError, match="one per organ"):
        walk.resume(4, boxes[:1])


def test_the_settings_of_the_model_are_used(model, volume, monkeypatch):
    sizes, encode = [], model.network.encode
    monkeypatch.setattr(model.network, "encode", lambda images: sizes.append(len(images)) or encode(images))
    walk = with_chunk(model, 4).walk(volume)
    list(walk)
    assert sizes == [4, 2]
    boxes = walk.boxes(3)
    boxes[:] = (1, 1, 9, 9)
    assert list(walk.resume(3, boxes))
    assert sizes == [4, 2]  # features were kept
    walk = with_chunk(model, 4).walk(volume, memory_bytes=0)
    list(walk)
    assert list(walk.resume(3, boxes))
    assert len(sizes) > 4
    assert [part.index for part in with_walk(model, "end_to_end").walk(volume)] == [5, 4, 3, 2, 1, 0]
    assert len(list(walk.resume(3, boxes + 1, tolerance=100.0))) == 1


@pytest.mark.parametrize("t", [2, 3])  # before the middle slice, 3, nothing is known of any organ
def test_the_boxes_of_a_slice_put_back_change_nothing(model, volume, t):
    walk = model.walk(volume)
    list(walk)
    assert list(walk.resume(t, walk.boxes(t))) == []


def test_a_box_on_the_first_slice_leaves_the_other_organs_unknown(model, volume):
    walk = model.walk(volume)
    list(walk)
    assert (walk.walk.state(3).seen == Seen.UNKNOWN).all()
    boxes = walk.boxes(3)
    boxes[1] = (3, 4, 20, 25)
    next(walk.resume(3, boxes))
    assert walk.walk.state(3).seen.tolist() == [[Seen.UNKNOWN, Seen.PRESENT]]
    boxes = walk.boxes(4)
    boxes[:] = np.nan
    list(walk.resume(4, boxes))
    assert walk.walk.state(4).seen.tolist() == [[Seen.ABSENT, Seen.ABSENT]]


def test_a_model_of_stacks_cannot_be_walked(model, volume):
    stacks = Model.__new__(Model)
    stacks.network, stacks.folder = object(), model.folder
    with pytest.raises(errors.UsageError, match="does not go from slice to slice"):
        stacks.walk(volume)
