"""Propagation of boxes: the visited slices, where it stops, and all organs at once compared with each by itself."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sautomed.baselines.slide_sam.propagation import (
    Rules,
    TripletMasks,
    enlarge,
    is_trusted,
    largest_slices,
    opening,
    propagate,
    remove_specks,
)
from sautomed.model.boxes import boxes_of_labels
from sautomed.model.values import Features
from sautomed.model.walk_order import neighbours

SIDE = 32
LOOSE = Rules(enlarge=0.05, stop_pixels=0, stop_iou=0.5, stop_stability=0.6, opening=0)


class View:
    """A volume whose slice t holds t / 1000 everywhere, and its truth."""

    def __init__(self, truth):
        self.labels, self.depth = truth, len(truth)

    def images(self, rows):
        return torch.tensor([neighbours(t, self.depth) for t in rows])[:, :, None, None] / 1000

    def truth(self, rows):
        return self.labels[list(rows)]


class Oracle:
    """A network that predicts the truth of a slice and its neighbours, shifted; each organ is in its own quarter."""

    def __init__(self, view, doubts=(), shift=0):
        self.view, self.doubts, self.shift = view, set(doubts), shift
        self.encoded, self.visited, self.boxes = [], [], {}

    def encode(self, images):
        rows = (images[:, 1, 0, 0] * 1000).round()
        self.encoded.append(rows.int().tolist())
        return Features(rows[:, None, None, None])

    def masks_in_boxes(self, features, boxes):
        (t,) = features.coarse.flatten().int().tolist()
        middles = (boxes[:, :2] + boxes[:, 2:]) / 2 > 0.5
        organs = (middles[:, 0] + 2 * middles[:, 1]).tolist()
        truth = self.view.labels[list(neighbours(t, self.view.depth))]
        masks = torch.stack([(truth == k + 1).roll(self.shift, -1) for k in organs])
        for k, box in zip(organs, boxes, strict=True):
            self.visited.append((t, k))
            self.boxes[t, k] = box
        iou = torch.tensor([0.2 if (t, k) in self.doubts else 0.9 for k in organs])
        # different logits for each triplet, so that a test can tell which of three votes is the largest
        return TripletMasks(torch.where(masks, 4.0 + t / 100, -4.0 - t / 100), iou)


def quarters(spans, depth, size=10):
    """Make a truth with organ k in quarter k in the slices of its span, largest in the middle."""
    truth = torch.zeros(depth, SIDE, SIDE, dtype=torch.long)
    for k, span in enumerate(spans):
        top, left = 2 + SIDE // 2 * (k // 2), 2 + SIDE // 2 * (k % 2)
        for t in span:
            here = size - abs(t - (min(span) + max(span)) // 2)
            truth[t, top : top + max(here, 2), left : left + max(here, 2)] = k + 1
    return truth


def run(truth, classes=4, rules=LOOSE, chunk=3, **oracle):
    view = View(truth)
    network = Oracle(view, **oracle)
    return network, list(propagate(network, view, classes, rules, chunk))


def label_map(found):
    return torch.stack([p.logits.argmax(0).expand(SIDE, SIDE) for p in found])


# --- visited slices ---


def test_a_perfect_network_gives_the_truth_and_visits_each_organ_once_on_each_of_its_slices():
    spans = [range(0, 9), range(3, 6), range(5, 6), range(6, 9)]
    truth = quarters(spans, 9)
    network, found = run(truth)
    assert [p.index for p in found] == list(range(9))
    assert torch.equal(label_map(found), truth)
    assert sorted(network.visited) == sorted((t, k) for k, span in enumerate(spans) for t in span)


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_the_ends_of_short_volumes_are_middle_slices_too(depth):
    truth = quarters([range(depth), [0], [depth - 1]], depth)
    network, found = run(truth)
    assert torch.equal(label_map(found), truth)
    assert {t for t, _ in network.visited} == set(range(depth))


def test_organs_that_are_not_in_the_truth_are_never_predicted():
    network, found = run(quarters([range(2, 5), [], range(1, 3)], 6))
    assert {k for _, k in network.visited} == {0, 2}
    for p in found:
        assert (p.logits[[2, 4]] < 0).all()
        assert not p.present[[1, 3]].any()


def test_a_volume_without_organs_is_background_and_is_not_encoded():
    network, found = run(torch.zeros(5, SIDE, SIDE, dtype=torch.long))
    assert network.encoded == []
    assert not label_map(found).any()
    assert not any(p.present.any() for p in found)


def test_propagation_stops_at_a_gap():
    truth = quarters([[2, 3, 4, 7, 8]], 10)
    _, found = run(truth)
    assert torch.equal(label_map(found).amax((1, 2)).bool(), torch.tensor([t in (2, 3, 4) for t in range(10)]))


def test_a_triplet_that_is_not_trusted_ends_the_propagation_without_a_vote():
    truth = quarters([range(1, 9)], 10)  # largest on slice 4
    network, found = run(truth, doubts={(7, 0), (2, 0)})
    assert sorted(t for t, _ in network.visited) == [2, 3, 4, 5, 6, 7]
    # the last trusted middles are 3 and 6, whose triplets reach one further
    assert [bool(m.any()) for m in label_map(found)] == [2 <= t <= 7 for t in range(10)]


def test_the_slice_with_the_true_box_votes_even_if_it_is_not_trusted():
    network, found = run(quarters([range(1, 9)], 10), doubts={(4, 0)})
    assert network.visited == [(4, 0)]
    assert [bool(m.any()) for m in label_map(found)] == [t in (3, 4, 5) for t in range(10)]


def test_a_mask_must_have_more_pixels_than_the_rule():
    truth = quarters([range(0, 7)], 7)  # sides 7 8 9 10 9 8 7
    pixels = 49 * (512 // SIDE) ** 2
    for rule, ends in ((pixels, (1, 5)), (pixels - 1, (0, 6))):
        network, _ = run(truth, rules=replace(LOOSE, stop_pixels=rule))
        visited = [t for t, _ in network.visited]
        assert (min(visited), max(visited)) == ends


def test_unstable_masks_are_not_trusted():
    logits = torch.full((3, 3, 8, 8), -5.0)
    logits[0, :, :4], logits[1, :, :4] = 5.0, 0.5
    sure = is_trusted(TripletMasks(logits, torch.tensor([0.9, 0.9, 0.9])), LOOSE)
    assert sure.tolist() == [True, False, False]  # stable, near 0, empty
    assert is_trusted(TripletMasks(logits[:1], torch.tensor([0.5])), LOOSE).tolist() == [False]


# --- all organs at once ---


def plain_loop(view, classes, rules, **oracle):
    """Propagate one organ after the other, slice by slice, and encode every slice again."""
    votes, prompted = {}, {}
    for k in range(classes):
        areas = (view.labels == k + 1).sum((1, 2))
        if not areas.any():
            continue
        start = int(areas.argmax())
        box, _ = boxes_of_labels(view.labels[start : start + 1], classes)
        for direction in (1, -1):
            t, prompt = start, box[0, k]
            while 0 <= t < view.depth and prompt is not None:
                network = Oracle(view, **oracle)
                found = network.masks_in_boxes(network.encode(view.images([t])), prompt[None])
                prompted[t, k] = prompt
                inner, outer = (found.logits > 1).sum(), (found.logits > -1).sum()
                trusted = found.iou[0] > rules.stop_iou and outer > 0 and inner / outer >= rules.stop_stability
                prompt = None
                if trusted or t == start:
                    for n, mask in zip((t - 1, t, t + 1), found.logits[0], strict=True):
                        votes[n, k] = torch.maximum(votes.get((n, k), mask), mask)
                mask = found.logits[0, 1 + direction] > 0
                if trusted and mask.sum() > rules.stop_pixels * (SIDE / 512) ** 2:
                    box_here, _ = boxes_of_labels(mask[None].long(), 1)
                    prompt = enlarge(box_here[0, 0], rules.enlarge)
                t += direction
    return votes, prompted


spans = st.lists(st.tuples(st.integers(0, 11), st.integers(1, 8)), min_size=1, max_size=4)


@given(spans=spans, depth=st.integers(1, 12), chunk=st.integers(1, 7), pixels=st.integers(0, 60), doubts=st.sets(
    st.tuples(st.integers(0, 11), st.integers(0, 3)), max_size=6), shift=st.integers(-1, 1))  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_all_organs_together_equal_a_loop_over_each(spans, depth, chunk, pixels, doubts, shift):
    inside = [[t for t in range(first, first + length) if t < depth] for first, length in spans]
    truth = quarters(inside, depth)
    rules = replace(LOOSE, stop_pixels=pixels * (512 // SIDE) ** 2)
    network, found = run(truth, rules=rules, chunk=chunk, doubts=doubts, shift=shift)
    votes, prompted = plain_loop(View(truth), 4, rules, doubts=doubts, shift=shift)
    assert len(network.visited) == len(set(network.visited))
    assert set(network.visited) == prompted.keys()
    for p in found:
        assert p.logits[0].eq(0).all()
        for k in range(4):
            if (p.index, k) in votes:
                torch.testing.assert_close(p.logits[1 + k], votes[p.index, k], rtol=1e-3, atol=1e-3)
            else:
                assert (p.logits[1 + k] < -100).all()
            assert bool(p.present[k]) == ((p.index, k) in prompted)
            if p.present[k]:
                torch.testing.assert_close(p.boxes[k], prompted[p.index, k])


@given(depth=st.integers(1, 30), chunk=st.integers(1, 9))
@settings(max_examples=20, deadline=None)
def test_slices_are_encoded_in_chunks_and_at_most_once_in_each_direction(depth, chunk):
    truth = quarters([range(depth), range(depth // 2, depth)], depth)
    network, _ = run(truth, chunk=chunk)
    assert max(len(rows) for rows in network.encoded) <= chunk
    seen = [t for rows in network.encoded for t in rows]
    assert all(seen.count(t) <= 2 for t in seen)


def test_the_first_of_the_largest_slices_is_found_in_chunks():
    truth = quarters([range(1, 4), [], range(0, 9)], 9)
    truth[5][truth[4] == 3] = 3  # slices 4 and 5 now show as much of it
    assert {t: set(boxes) for t, boxes in largest_slices(View(truth), 4, chunk=2).items()} == {2: {0}, 4: {2}}


# --- boxes and specks ---


@given(st.lists(st.floats(0, 1), min_size=4, max_size=4), st.floats(0, 0.3))
@settings(max_examples=60, deadline=None)
def test_a_box_grows_equally_on_all_sides_and_stays_in_the_slice(edges, margin):
    x, y = sorted(edges[:2]), sorted(edges[2:])
    box = torch.tensor([x[0], y[0], x[1], y[1]])
    grown = enlarge(box, margin)
    assert (grown >= 0).all()
    assert (grown <= 1).all()
    width, height = box[2] - box[0], box[3] - box[1]
    wanted = box + margin * torch.stack([-width, -height, width, height])
    torch.testing.assert_close(grown, wanted.clamp(0, 1))
    turned = box[[1, 0, 3, 2]]  # both axes are treated alike
    torch.testing.assert_close(enlarge(turned, margin), grown[[1, 0, 3, 2]])


@given(st.integers(0, 2**20), st.integers(1, 5))
@settings(max_examples=30, deadline=None)
def test_an_opening_keeps_the_squares_that_fit_into_the_mask(seed, side):
    mask = torch.rand(12, 11, generator=torch.Generator().manual_seed(seed)) > 0.3
    wanted = torch.zeros_like(mask)
    around = torch.ones(12 + 2 * side, 11 + 2 * side, dtype=torch.bool)
    around[side:-side, side:-side] = mask
    for y in range(12 + side):
        for x in range(11 + side):
            if around[y : y + side, x : x + side].all():
                wanted[max(y - side, 0) : max(y, 0), max(x - side, 0) : max(x, 0)] = True
    assert torch.equal(opening(mask, side), wanted & mask)


def test_specks_change_their_sign_and_masks_do_not():
    logits = torch.full((1, 3, 64, 64), -3.0)
    logits[0, :, 10:40, 10:40] = 2.0
    logits[0, 1, 50, 50] = 7.0
    cleared = remove_specks(logits, largest_side=64)
    assert cleared[0, 1, 50, 50] == -7
    cleared[0, 1, 50, 50] = 7
    assert torch.equal(cleared, logits)
    assert torch.equal(remove_specks(logits, 0), logits)
