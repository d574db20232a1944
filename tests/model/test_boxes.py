"""Boxes of label slices."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from sautomed.model.boxes import boxes_of_labels, boxes_of_masks, cxcywh_to_xyxy, jitter, paired_iou, xyxy_to_cxcywh

coordinates = st.floats(0, 1, width=32)


def test_a_block_has_the_box_of_its_edges():
    labels = torch.zeros(1, 10, 20, dtype=torch.long)
    labels[0, 2:5, 4:14] = 2
    boxes, present = boxes_of_labels(labels, classes=3)
    assert present.tolist() == [[False, True, False]]
    assert torch.allclose(boxes[0, 1], torch.tensor([4 / 20, 2 / 10, 14 / 20, 5 / 10]))
    assert boxes[0, 0].tolist() == [0, 0, 0, 0]


def test_one_pixel_has_the_area_of_a_pixel_and_few_pixels_count_as_absent():
    labels = torch.zeros(1, 8, 8, dtype=torch.long)
    labels[0, 7, 0] = 1
    boxes, present = boxes_of_labels(labels, classes=1)
    assert present.item()
    assert torch.allclose(boxes[0, 0], torch.tensor([0, 7 / 8, 1 / 8, 1]))
    assert not boxes_of_labels(labels, classes=1, min_pixels=2)[1].item()


def test_a_stray_pixel_does_not_stretch_the_box_but_a_second_part_does():
    labels = torch.zeros(1, 20, 20, dtype=torch.long)
    labels[0, 4:10, 3:9] = 1
    clean = boxes_of_labels(labels, 1, smallest_part=0.05)[0]
    for place in ((18, 5), (5, 18), (18, 18), (0, 0)):  # below, beside, and away from both edges
        stray = labels.clone()
        stray[(0, *place)] = 1
        assert torch.equal(boxes_of_labels(stray, 1, smallest_part=0.05)[0], clean)
        assert not torch.equal(boxes_of_labels(stray, 1)[0], clean)
    labels[0, 15:17, 15:17] = 1  # a tenth of the organ
    assert torch.allclose(boxes_of_labels(labels, 1, smallest_part=0.05)[0][0, 0] * 20, torch.tensor([3.0, 4, 17, 17]))


def test_of_parts_that_are_all_too_small_the_largest_is_kept():
    labels = torch.zeros(1, 40, 40, dtype=torch.long)
    places = torch.arange(0, 40, 2)
    labels[0, places, places] = 1
    labels[0, 20:21, 20:22] = 1
    boxes, present = boxes_of_labels(labels, 1, smallest_part=0.2)
    assert present.item()
    assert torch.allclose(boxes[0, 0] * 40, torch.tensor([20.0, 20, 23, 21]))


@given(st.integers(0, 10_000), st.floats(0, 1))
def test_a_box_without_strays_lies_within_the_tight_one(seed, share):
    generator = torch.Generator().manual_seed(seed)
    labels = (torch.rand(2, 9, 11, generator=generator) < 0.1).long()
    (tight, present), (found, again) = boxes_of_labels(labels, 1), boxes_of_labels(labels, 1, smallest_part=share)
    assert torch.equal(present, again)
    assert torch.equal(boxes_of_labels(labels, 1, smallest_part=0.0)[0], tight)
    inside = (found[..., :2] >= tight[..., :2]).all(-1) & (found[..., 2:] <= tight[..., 2:]).all(-1)
    assert inside.all()
    assert ((found[..., 2:] > found[..., :2]).all(-1) | ~present).all()


@given(st.integers(0, 10_000), st.integers(1, 4), st.integers(0, 6), st.floats(0, 1))
def test_boxes_of_a_label_slice_are_those_of_a_mask_for_each_class(seed, classes, min_pixels, share):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(-8, classes + 1, (2, 7, 12), generator=generator).clamp(min=0)
    masks = torch.stack([labels == k for k in range(1, classes + 1)], 1)
    found, expected = boxes_of_labels(labels, classes, min_pixels, share), boxes_of_masks(masks, min_pixels, share)
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


@given(st.lists(coordinates, min_size=4, max_size=4))
def test_corner_and_centre_form_are_inverse(values):
    box = torch.tensor(values)
    assert torch.allclose(cxcywh_to_xyxy(xyxy_to_cxcywh(box)), box, atol=1e-6)


@given(st.integers(0, 10_000), st.floats(0, 2))
def test_a_jittered_box_stays_a_box_inside_the_slice(seed, fraction):
    box = torch.tensor([[0.2, 0.3, 0.5, 0.9]])
    moved = jitter(box, fraction, torch.Generator().manual_seed(seed))
    assert ((moved >= 0) & (moved <= 1)).all()
    assert (moved[:, :2] <= moved[:, 2:]).all()


def test_jitter_of_nothing_moves_nothing():
    box = torch.rand(3, 4).sort(-1).values
    assert torch.equal(jitter(box, 0.0, torch.Generator()), box)


def test_iou_and_generalised_iou_of_boxes_that_one_checks_in_the_head():
    a = torch.tensor([[0.0, 0.0, 0.5, 0.5], [0.0, 0.0, 0.25, 1.0]])
    b = torch.tensor([[0.0, 0.0, 0.5, 0.5], [0.75, 0.0, 1.0, 1.0]])
    iou, giou = paired_iou(a, b)
    assert torch.allclose(iou, torch.tensor([1.0, 0.0]))
    assert torch.allclose(giou, torch.tensor([1.0, -0.5]))
