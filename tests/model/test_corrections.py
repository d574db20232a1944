"""Corrections are obeyed where they are given, travel to the slices around, and can be taken back."""

import pytest
import torch
import torch.nn.functional as nnf
from hypothesis import given as drawn
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from sautomed.model.corrections import REACH, CorrectedWalk
from sautomed.model.given import GivenPrompts
from sautomed.model.slice_walker import PlainSegmenter
from sautomed.model.values import Features
from sautomed.model.walk import Walk
from sautomed.model.walk_order import WALKS

from .walkers import View, noise

SIDE = 16  # of images and logits of `Brightness`
DEPTH = 2 * REACH + 4
PLENTY = 2**30


class Brightness(PlainSegmenter):
    """Class 1 is bright and class 2 very bright; the finest features are the brightness as an angle."""

    classes = 2

    def __init__(self):
        super().__init__()
        self.nothing = torch.nn.Parameter(torch.zeros(()))

    def encode(self, images):
        angle = 3 * images[:, :1]
        return Features(nnf.avg_pool2d(images, 4), (torch.cat([angle.cos(), angle.sin()], 1),))

    def logits(self, features):
        finest = features.fine[-1] if features.fine else features.coarse
        brightness = torch.atan2(finest[:, 1:], finest[:, :1]) / 3
        return torch.cat([-(brightness - centre).abs() * 20 for centre in (0.1, 0.5, 0.9)], 1)


class Coarse(Brightness):
    """The same without finer maps."""

    def encode(self, images):
        return Features(super().encode(images).fine[-1])


def walked(model, read, depth=DEPTH, memory_bytes=PLENTY, name="mid_to_ends"):
    """Return a walk that can be corrected, and its logits by slice."""
    walk = CorrectedWalk(Walk(model, View(read, depth), WALKS[name](depth), 3, PLENTY), memory_bytes)
    return walk, {part.index: part.logits for part in walk}


def update(walk, logits):
    """Take over what changed, and return its slices in the order in which they came."""
    parts = list(walk.changes())
    for part in parts:
        assert not torch.equal(part.logits, logits[part.index])
        assert part.changed == (not torch.equal(part.logits.argmax(0), logits[part.index].argmax(0)))
        logits[part.index] = part.logits
    return [part.index for part in parts]


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[t], other[t]) for t in one)


def square(top, left, side, size=SIDE):
    mask = torch.zeros(size, size, dtype=torch.bool)
    mask[top : top + side, left : left + side] = True
    return mask


def nothing(size=SIDE):
    return GivenPrompts.nothing(2, (size, size))


def missed_corner(rows):
    """Every slice has a bright square, and within it a duller corner that the model misses."""
    image = 0.1 + torch.zeros(SIDE, SIDE)
    image[4:12, 4:12] = 0.5
    image[4:7, 4:7] = 0.28
    return image.expand(len(rows), -1, -1)


def squares(brightness):
    """Return slices that all have the same square: at 0.35 the model finds it in doubt, at 0.28 it misses it."""
    image = 0.1 + torch.zeros(SIDE, SIDE)
    image[4:12, 4:12] = brightness
    return lambda rows: image.expand(len(rows), -1, -1)


WHOLE = square(4, 4, 8)

prompts = st.builds(
    lambda kind, k, top, left, side: {
        "mask": lambda: nothing().mask(k, square(top, left, side)),
        "box": lambda: nothing().here(k, torch.tensor([left, top, left + side, top + side]) / SIDE),
        "gone": lambda: nothing().not_here(k),
        "both": lambda: nothing().mask(k, square(top, left, side)).not_here(1 - k),
    }[kind](),
    st.sampled_from(["mask", "box", "gone", "both"]),
    st.integers(0, 1),
    st.integers(0, SIDE - 6),
    st.integers(0, SIDE - 6),
    st.integers(1, 6),
)
slices = st.integers(0, DEPTH - 1)
models = pytest.mark.parametrize("model", [Brightness().eval(), Coarse().eval()], ids=["fine", "coarse"])
few = hypothesis_settings(max_examples=15)


# --- what a correction does ---


@models
@pytest.mark.parametrize("name", WALKS)
@pytest.mark.parametrize("t", [2, DEPTH // 2, DEPTH - 3])
def test_what_is_painted_on_one_slice_is_found_on_the_slices_around_in_both_directions(model, name, t):
    walk, logits = walked(model, missed_corner, name=name)
    assert not any((logits[u].argmax(0) == 1)[WHOLE].all() for u in logits)
    walk.give(t, nothing().mask(0, WHOLE))
    changed = update(walk, logits)
    assert changed[0] == t
    assert sorted(changed) == list(range(max(t - REACH, 0), min(t + REACH + 1, DEPTH)))
    assert torch.equal(logits[t].argmax(0) == 1, WHOLE)
    for u in (t - 2, t - 1, t + 1, t + 2):
        assert torch.equal(logits[u].argmax(0) == 1, WHOLE)


@models
def test_what_is_not_there_goes_from_the_slices_around_too(model):
    walk, logits = walked(model, squares(0.35))
    assert (logits[6].argmax(0) == 1).any()
    walk.give(5, nothing().not_here(0))
    update(walk, logits)
    assert not any((logits[u].argmax(0) == 1).any() for u in (4, 5, 6))


@models
def test_what_a_box_took_travels_and_fades(model):
    walk, logits = walked(model, squares(0.35))
    before = logits[8].softmax(0)[1, 7]
    walk.give(8, nothing().here(0, torch.tensor([9, 4, 12, 12]) / SIDE))
    update(walk, logits)
    for way in (1, -1):
        near, far = (logits[8 + way * distance].softmax(0)[1, 7, 4:7] for distance in (1, 4))
        assert (near < far).all()
        assert (far < before[4:7]).all()


@models
def test_what_a_box_added_does_not_travel(model):
    walk, logits = walked(model, squares(0.28))
    walk.give(8, nothing().here(0, torch.tensor([4, 4, 12, 12]) / SIDE))
    assert update(walk, logits) == [8]
    assert torch.equal(logits[8].argmax(0) == 1, WHOLE)


def test_the_next_correction_of_a_class_stops_it_and_others_do_not():
    for stopped, k in ((True, 0), (False, 1)):
        walk, logits = walked(Brightness(), missed_corner)
        walk.give(6, nothing().mask(k, logits[6].argmax(0) == k + 1))  # as it was predicted
        update(walk, logits)
        before = dict(logits)
        walk.give(4, nothing().mask(0, WHOLE))
        update(walk, logits)
        assert all(torch.equal(before[u], logits[u]) == stopped for u in (6, 7, 8))
        assert not torch.equal(before[5], logits[5])


def test_between_two_corrections_the_nearer_one_counts_more():
    walk, logits = walked(Brightness(), missed_corner)
    walk.give(4, nothing().mask(0, WHOLE))
    update(walk, logits)
    alone = dict(logits)
    walk.give(10, nothing().mask(0, logits[13].argmax(0) == 1))  # 13 is beyond the reach of 4: as it was predicted
    update(walk, logits)
    missed = (slice(4, 7), slice(4, 7))
    gained = [logits[u].softmax(0)[1][missed].mean() / alone[u].softmax(0)[1][missed].mean() for u in range(5, 10)]
    assert gained == sorted(gained, reverse=True)
    assert (logits[5].argmax(0) == 1)[missed].all()
    assert not (logits[9].argmax(0) == 1)[missed].any()


# --- laws ---


@models
@drawn(slices, prompts)
@few
def test_giving_nothing_changes_nothing(model, t, given):
    walk, logits = walked(model, noise(DEPTH, SIDE))
    walk.give(t, given.without())
    assert update(walk, logits) == []
    walk.give(t, given)
    update(walk, logits)
    assert update(walk, logits) == []
    walk.give(t, given)  # the same again
    assert update(walk, logits) == []


@models
@drawn(slices, st.integers(0, 1))
@few
def test_giving_what_was_predicted_changes_no_class_anywhere(model, t, k):
    walk, logits = walked(model, noise(DEPTH, SIDE))
    walk.give(t, nothing().mask(k, logits[t].argmax(0) == k + 1))
    parts = list(walk.changes())
    assert [part.index for part in parts] in ([], [t])
    assert not any(part.changed for part in parts)


@models
@drawn(st.lists(st.tuples(slices, prompts), min_size=1, max_size=4), st.sampled_from([0, PLENTY]))
@few
def test_what_is_taken_back_leaves_the_automatic_walk_bit_for_bit(model, corrections, memory_bytes):
    walk, logits = walked(model, noise(DEPTH, SIDE), memory_bytes=memory_bytes)
    automatic = dict(logits)
    for t, given in corrections:
        walk.give(t, given)
        update(walk, logits)
    for t, given in corrections:
        walk.give(t, given.without())
        update(walk, logits)
    assert same(logits, automatic)


@models
@drawn(st.dictionaries(slices, prompts, min_size=2, max_size=4), st.randoms(use_true_random=False), st.booleans())
@few
def test_the_order_of_corrections_does_not_matter_nor_what_was_given_before(model, corrections, random, replaced):
    read = noise(DEPTH, SIDE)
    walk, logits = walked(model, read)
    other, others = walked(model, read, memory_bytes=0)
    for t, given in corrections.items():
        walk.give(t, given)
        update(walk, logits)
    shuffled = list(corrections.items())
    random.shuffle(shuffled)
    if replaced:
        other.give(shuffled[-1][0], nothing().mask(0, square(0, 0, 9)))
        update(other, others)
    for t, given in shuffled:
        other.give(t, given)
    update(other, others)
    assert same(logits, others)


@models
@drawn(slices, prompts)
@few
def test_beyond_its_reach_nothing_changes(model, t, given):
    walk, logits = walked(model, noise(DEPTH, SIDE))
    walk.give(t, given)
    assert all(abs(u - t) <= REACH for u in update(walk, logits))


@models
@drawn(st.dictionaries(slices, st.tuples(st.integers(0, SIDE - 6), st.integers(1, 6)), min_size=2, max_size=4))
@few
def test_painted_slices_stay_as_painted_whatever_comes_after(model, painted):
    walk, logits = walked(model, noise(DEPTH, SIDE))
    for number, (t, (top, side)) in enumerate(painted.items()):
        walk.give(t, nothing().mask(number % 2, square(top, 3, side)))
        update(walk, logits)
    for number, (t, (top, side)) in enumerate(painted.items()):
        assert torch.equal(logits[t].argmax(0) == number % 2 + 1, square(top, 3, side))


@drawn(st.integers(0, 9), st.integers(0, 9), st.booleans())
@hypothesis_settings(max_examples=8)
def test_the_laws_hold_for_3d_sautomed(small_model, one, other, paints):
    size = 128
    walk, logits = walked(small_model, noise(10, size), 10)
    again, others = walked(small_model, noise(10, size), 10, memory_bytes=0)
    automatic = dict(logits)
    found = logits[one].argmax(0) == 1
    first = nothing(found.shape[0]).mask(0, ~found) if paints else nothing(found.shape[0]).not_here(0)
    second = nothing(found.shape[0]).here(1, torch.tensor([0.2, 0.3, 0.7, 0.8]))
    for t, given in ((one, first), (other, second)):
        walk.give(t, given)
        changed = update(walk, logits)
        assert changed
        assert changed[0] == t
    for t, given in reversed({one: first, other: second}.items()):
        again.give(t, given)
    update(again, others)
    assert same(logits, others)
    for t in (one, other):
        walk.give(t, first.without())
        update(walk, logits)
    assert same(logits, automatic)


# --- as an object ---


def test_an_iteration_that_is_broken_off_is_taken_up_by_the_next():
    walk, _ = walked(Brightness(), missed_corner)
    walk.give(8, nothing().mask(0, WHOLE))
    first = next(walk.changes())
    assert first.index == 8
    assert sorted(part.index for part in walk.changes()) == [t for t in range(8 - REACH, 8 + REACH + 1) if t != 8]


def test_a_walk_is_corrected_when_it_is_at_its_end_and_has_kept_its_states():
    for memory_bytes, match in ((PLENTY, "at its end"), (None, "keeps no states")):
        inner = Walk(Brightness(), View(missed_corner, 5), WALKS["mid_to_ends"](5), 3, memory_bytes)
        walk = CorrectedWalk(inner, PLENTY)
        if memory_bytes is None:
            list(walk)
        else:
            inner.step()
        with pytest.raises(ValueError, match=match):
            walk.give(2, nothing().not_here(0))
        assert list(walk.changes()) == []


def test_memory_of_slices_is_bounded():
    walk, _ = walked(Brightness(), noise(DEPTH, SIDE), memory_bytes=3 * 10_000)
    for t in range(0, DEPTH, 3):
        walk.give(t, nothing().mask(0, WHOLE))
        for _ in walk.changes():
            assert walk.nbytes <= 3 * 10_000
