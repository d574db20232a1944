"""What a person gives for a slice is obeyed there, whatever the network says."""

import torch
from hypothesis import given as drawn
from hypothesis import strategies as st

from sautomed.model.boxes import boxes_of_masks
from sautomed.model.given import GivenKind, GivenPrompts, best_of_others, gate, gate_at_masks

SIZE = 16


def nothing(classes=2):
    return GivenPrompts.nothing(classes, (SIZE, SIZE))


def logits(seed=0, classes=2, scale=5.0):
    return scale * torch.randn(1, classes + 1, SIZE, SIZE, generator=torch.Generator().manual_seed(seed))


def found(gated):
    return gated.argmax(1)[0]


def test_where_nothing_is_given_nothing_changes():
    assert torch.equal(gate(logits(), nothing()), logits())


@drawn(st.integers(0, 1000), st.integers(0, 10), st.integers(1, 6), st.floats(0, 100))
def test_outside_its_box_a_class_is_not_found_and_inside_it_is_found_no_less(seed, start, side, scale):
    x = logits(seed, scale=scale)
    box = torch.tensor([start, start, start + side, start + side]) / SIZE
    before, after = found(x), found(gate(x, nothing().here(0, box)))
    inside = torch.zeros(SIZE, SIZE, dtype=torch.bool)
    inside[start : start + side, start : start + side] = True
    assert not (after[~inside] == 1).any()
    assert (after[inside & (before == 1)] == 1).all()
    assert ((after == 2) <= (before == 2) | (before == 1)).all()  # others gain only what the class lost


def disc(inner, outer, radius):
    """Logits by which class 2 leads by `inner` in a disc, and by `outer` around it."""
    row = torch.arange(SIZE) - (SIZE - 1) / 2
    lead = torch.where(row[:, None] ** 2 + row**2 < radius**2, inner, outer)
    return torch.stack([torch.zeros(SIZE, SIZE), torch.full((SIZE, SIZE), -50.0), lead])[None]


@drawn(st.floats(-8.5, -0.5), st.floats(2.5, 7.5))
def test_a_class_that_is_missed_in_its_box_is_found_there(lead, radius):
    x = disc(lead, lead - 20, radius)
    wanted = found(disc(1.0, -1.0, radius)) == 2
    boxes, _ = boxes_of_masks(wanted[None, None])
    assert torch.equal(found(gate(x, nothing().here(1, boxes[0, 0]))) == 2, wanted)


def test_a_class_that_fills_its_box_more_or_less_keeps_its_outline():
    x = disc(1.0, -1.0, 5.0)  # with a little help all of the box would be the class
    assert torch.equal(
        gate(x, nothing().here(1, torch.tensor([0.1, 0.1, 0.9, 0.9])))[:, :, 2:14, 2:14], x[:, :, 2:14, 2:14]
    )


def test_edges_are_where_they_were_given_if_masks_are_finer_than_the_logits():
    given = GivenPrompts.nothing(2, (4 * SIZE, 4 * SIZE))
    mask = torch.zeros(4 * SIZE, 4 * SIZE, dtype=torch.bool)
    mask[9:23, 5:30] = True
    assert torch.equal(found(gate_at_masks(logits(), given.mask(1, mask))) == 2, mask)
    box = torch.tensor([5, 9, 30, 23]) / (4 * SIZE)
    assert not (found(gate_at_masks(logits(), given.here(1, box)))[~mask] == 2).any()
    coarse = GivenPrompts.nothing(2, (4, 4)).here(0, box)
    assert torch.equal(gate_at_masks(logits(), coarse), gate(logits(), coarse))


@drawn(st.integers(0, 1000))
def test_what_is_not_here_is_not_found(seed):
    assert not (found(gate(logits(seed), nothing().not_here(1))) == 2).any()


@drawn(st.integers(0, 1000), st.floats(0, 100))
def test_a_mask_is_taken_as_it_is(seed, scale):
    mask = torch.rand(SIZE, SIZE, generator=torch.Generator().manual_seed(seed)) < 0.3
    assert torch.equal(found(gate(logits(seed, scale=scale), nothing().mask(1, mask))) == 2, mask)


def test_where_two_masks_overlap_the_first_class_wins():
    one, other = torch.zeros(2, SIZE, SIZE, dtype=torch.bool)
    one[:8], other[4:] = True, True
    both = found(gate(logits(), nothing().mask(1, other).mask(0, one)))
    assert torch.equal(both == 1, one)
    assert torch.equal(both == 2, other & ~one)


def test_a_mask_of_nothing_is_not_here():
    given = nothing().here(0, torch.rand(4)).mask(0, torch.zeros(SIZE, SIZE, dtype=torch.bool))
    assert given.kinds.tolist() == [[GivenKind.NOT_HERE, GivenKind.NOTHING]]
    assert not given.boxes.any()


def test_a_box_thinner_than_a_place_of_the_logits_still_holds_one():
    x = torch.zeros(1, 3, SIZE, SIZE)
    x[:, 1] = 1.0
    given = nothing().here(0, torch.tensor([5.1, 7.1, 5.3, 7.3]) / SIZE)
    assert (found(gate(x, given)) == 1).nonzero().tolist() == [[7, 5]]


def test_masks_may_be_finer_than_the_logits():
    mask = torch.zeros(4 * SIZE, 4 * SIZE, dtype=torch.bool)
    mask[8:24, 4:32] = True
    given = GivenPrompts.nothing(2, (4 * SIZE, 4 * SIZE)).mask(0, mask)
    assert torch.equal(found(gate(logits(), given)) == 1, mask[::4, ::4])
    assert torch.allclose(given.boxes[0, 0] * 4 * SIZE, torch.tensor([4.0, 8, 32, 24]))


def test_given_boxes_and_masks_take_the_place_of_predicted_boxes():
    mask = torch.zeros(SIZE, SIZE, dtype=torch.bool)
    mask[4:8, 4:12] = True
    box, predicted = torch.tensor([0.1, 0.2, 0.3, 0.4]), torch.rand(1, 4, 4)
    boxes = nothing(4).here(0, box).mask(1, mask).not_here(2).boxes_or(predicted)
    assert torch.equal(boxes[0, 0], box)
    assert torch.equal(boxes[0, 1], torch.tensor([0.25, 0.25, 0.75, 0.5]))
    assert torch.equal(boxes[0, 2:], predicted[0, 2:])


def test_rows_are_slices_of_their_own():
    one, other = nothing().not_here(0), nothing().not_here(1)
    x = torch.cat([logits(1), logits(2)])
    both = gate(x, GivenPrompts.cat([one, other]))
    assert torch.equal(both, torch.cat([gate(x[:1], one), gate(x[1:], other)]))
    assert torch.equal(gate(x, GivenPrompts.cat([one.without(), other]))[:1], x[:1])


def test_best_of_others_is_the_largest_logit_of_all_other_channels():
    logits = torch.randn(2, 4, 4, 5, generator=torch.Generator().manual_seed(0))
    for k in range(1, 4):
        others = [channel for channel in range(4) if channel != k]
        assert torch.equal(best_of_others(logits)[:, k - 1], logits[:, others].amax(1))
