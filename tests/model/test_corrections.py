"""Corrections are obeyed where they are given, travel to the slices around, and can be taken back."""

from dataclasses import dataclass, replace

import pytest
import torch
import torch.nn.functional as nnf
from hypothesis import given as drawn
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from sautomed.model.corrections import REACH, CorrectedWalk, Corrections
from sautomed.model.given import GivenKind, GivenPrompts
from sautomed.model.slice_walker import PlainSegmenter
from sautomed.model.values import Features
from sautomed.model.walk import Walk
from sautomed.model.walk_order import WALKS

from .walkers import View, noise

SIDE = 16  # of images and logits of `Brightness`
DEPTH = 2 * REACH + 4
PLENTY = 2**30
LITTLE = 100_000  # a few slices


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


class Sure(Brightness):
    """The same, so sure that more than the gate's margin lies between a class and the background."""

    def logits(self, features):
        return 4 * super().logits(features)


class Coarse(Brightness):
    """The same without finer maps."""

    def encode(self, images):
        return Features(super().encode(images).fine[-1])


class Rounded(Brightness):
    """The same where an engine, which rounds otherwise, computes the steps without prompts."""

    computes_given_alike = False

    def step(self, shared, state, given=None):
        out = super().step(shared, state, given)
        up = torch.tensor([0.0, 0.01, 0.0])[:, None, None]
        return out if given is not None else replace(out, logits=out.logits + up)


@dataclass(frozen=True, eq=False)
class OneClass:
    """Prompts of one class; a value of its own."""

    prompts: GivenPrompts

    @staticmethod
    def of(given, k):
        kinds, boxes, masks = (x.clone() for x in (given.kinds, given.boxes, given.masks))
        for j in range(kinds.shape[1]):
            if j != k:
                kinds[:, j], boxes[:, j], masks[:, j] = int(GivenKind.NOTHING), 0, False
        return OneClass(GivenPrompts(kinds, boxes, masks))


class Person:
    """Corrects a walk; what is given travels at once, as far as it reaches or something is given for its class."""

    def __init__(self, walk):
        self.walk, self.given, self.shown = walk, {}, Corrections()
        self.logits = {part.index: part.logits for part in walk}
        self.automatic = dict(self.logits)

    def give(self, t, given):
        for k in range(given.kinds.shape[1]):
            self.given.pop((t, k), None)
            if given.kinds[0, k] != GivenKind.NOTHING:
                self.given[t, k] = OneClass.of(given, k)
        return self

    @property
    def corrections(self):
        corrections = Corrections()
        for (t, k), given in self.given.items():
            corrections = corrections.give(t, k, given)
        for t, k in self.given:
            for way in (1, -1):
                for to in (t + way * distance for distance in range(1, REACH + 1)):
                    if not 0 <= to < self.walk.walk.depth or (to, k) in self.given:
                        break
                    corrections = corrections.travel(t, [k], to)
        return corrections

    def update(self):
        """Take over what changed, and return its slices."""
        corrections = self.corrections
        others = [t for t in self.logits if corrections.inputs(t) != self.shown.inputs(t)]
        now = {t: self.walk.slice(t, corrections).logits for t in sorted(others)}
        changed = [t for t in now if not torch.equal(now[t], self.logits[t])]
        self.logits, self.shown = self.logits | now, corrections
        return changed


def walk_of(model, read, depth=DEPTH, memory_bytes=PLENTY, name="mid_to_ends"):
    """Return a walk that can be corrected."""
    inner = Walk(model, View(read, depth), WALKS[name](depth), 3, PLENTY)
    return CorrectedWalk(inner, lambda correction: correction.given.prompts, memory_bytes)


def walked(*args, **options):
    """Return a person at such a walk."""
    return Person(walk_of(*args, **options))


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[t], other[t]) for t in one)


def square(top, left, side, size=SIDE):
    mask = torch.zeros(size, size, dtype=torch.bool)
    mask[top : top + side, left : left + side] = True
    return mask


def nothing(size=SIDE):
    return GivenPrompts.nothing(2, (size, size))


def missed_corner(rows, brightness=0.28):
    """Every slice has a bright square, and within it a duller corner that the model misses."""
    image = 0.1 + torch.zeros(SIDE, SIDE)
    image[4:12, 4:12] = 0.5
    image[4:7, 4:7] = brightness
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
few = hypothesis_settings(max_examples=8)


# --- what a correction does ---


def test_what_another_engine_rounds_otherwise_is_no_correction():
    """A box around what is there takes nothing, although PyTorch alone would miss a corner."""
    person = walked(Rounded().eval(), lambda rows: missed_corner(rows, 0.2999))
    assert torch.equal(person.logits[8].argmax(0) == 1, WHOLE)
    assert person.give(8, nothing().here(0, torch.tensor([4, 4, 12, 12]) / SIDE)).update() == [8]
    assert not person.walk.travels(person.corrections.given[8, 0], 9)
    person.give(8, nothing().here(0, torch.tensor([9, 4, 12, 12]) / SIDE)).update()
    assert person.walk.travels(person.corrections.given[8, 0], 9)


@models
@pytest.mark.parametrize("name", WALKS)
@pytest.mark.parametrize("t", [2, DEPTH // 2, DEPTH - 3])
def test_what_is_painted_on_one_slice_is_found_on_the_slices_around_in_both_directions(model, name, t):
    person = walked(model, missed_corner, name=name)
    assert not any((person.logits[u].argmax(0) == 1)[WHOLE].all() for u in person.logits)
    changed = person.give(t, nothing().mask(0, WHOLE)).update()
    assert changed == list(range(max(t - REACH, 0), min(t + REACH + 1, DEPTH)))
    for u in (t - 2, t - 1, t, t + 1, t + 2):
        assert torch.equal(person.logits[u].argmax(0) == 1, WHOLE)


@models
def test_what_is_not_there_goes_from_the_slices_around_too(model):
    person = walked(model, squares(0.35))
    assert (person.logits[6].argmax(0) == 1).any()
    person.give(5, nothing().not_here(0)).update()
    assert not any((person.logits[u].argmax(0) == 1).any() for u in (4, 5, 6))


@models
def test_what_a_box_took_travels_and_fades(model):
    person = walked(model, squares(0.35))
    before = person.logits[8].softmax(0)[1, 7]
    person.give(8, nothing().here(0, torch.tensor([9, 4, 12, 12]) / SIDE)).update()
    for way in (1, -1):
        near, far = (person.logits[8 + way * distance].softmax(0)[1, 7, 4:7] for distance in (1, 4))
        assert (near < far).all()
        assert (far < before[4:7]).all()


@models
def test_what_a_box_added_does_not_travel(model):
    person = walked(model, squares(0.28))
    assert person.give(8, nothing().here(0, torch.tensor([4, 4, 12, 12]) / SIDE)).update() == [8]
    assert torch.equal(person.logits[8].argmax(0) == 1, WHOLE)
    assert not person.walk.travels(person.corrections.given[8, 0], 9)


def test_a_correction_comes_to_the_slices_that_it_is_said_to_have_come_to_and_to_no_others():
    person = walked(Brightness(), missed_corner)
    corrections = Corrections().give(8, 0, OneClass.of(nothing().mask(0, WHOLE), 0)).travel(8, [0], 9)
    corrections = corrections.travel(8, [0], 11)  # not to 10, which something else is given for, say
    for t in range(DEPTH):
        found = person.walk.slice(t, corrections).logits
        assert torch.equal(found, person.automatic[t]) == (t not in (8, 9, 11))


def test_between_two_corrections_the_nearer_one_counts_more():
    person = walked(Brightness(), missed_corner)
    person.give(4, nothing().mask(0, WHOLE)).update()
    alone = dict(person.logits)
    as_predicted = person.automatic[13].argmax(0) == 1
    logits = person.give(10, nothing().mask(0, as_predicted)).update() and person.logits
    missed = (slice(4, 7), slice(4, 7))
    gained = [logits[u].softmax(0)[1][missed].mean() / alone[u].softmax(0)[1][missed].mean() for u in range(5, 10)]
    assert gained == sorted(gained, reverse=True)
    assert (logits[5].argmax(0) == 1)[missed].all()
    assert not (logits[9].argmax(0) == 1)[missed].any()


def test_what_has_come_to_a_slice_stays_until_something_else_comes_from_there():
    """A slice that is corrected once more changes alone; what it gave before goes on where the new has not come yet."""
    person = walked(Brightness(), missed_corner)
    first, second = (OneClass.of(nothing().mask(0, square(4, 4, side)), 0) for side in (8, 3))
    corrections = Corrections().give(8, 0, first).travel(8, [0], 9).travel(8, [0], 10)
    again = corrections.give(8, 0, second)
    assert [corrections.inputs(t) == again.inputs(t) for t in (8, 9, 10)] == [False, True, True]
    again = again.travel(8, [0], 9)
    assert [corrections.inputs(t) == again.inputs(t) for t in (9, 10)] == [False, True]
    only = Corrections().give(8, 0, second).travel(8, [0], 9)
    assert torch.equal(person.walk.slice(9, again).logits, person.walk.slice(9, only).logits)
    assert again.forget(8, 0) == Corrections()


# --- laws ---


@models
@drawn(
    st.dictionaries(slices, prompts, min_size=1, max_size=3), slices, st.integers(0, 1), st.sampled_from([8, 16, 24])
)
@few
def test_what_is_given_for_a_class_leaves_the_logits_of_the_others_as_they_were_bit_for_bit(model, before, t, k, size):
    """On any grid, the slice's own or that of a scan."""
    person = walked(model, noise(DEPTH, SIDE))
    for u, given in before.items():
        person.give(u, given)
    corrections = person.corrections
    person.given[t, k] = OneClass.of(nothing().mask(k, square(3, 3, 5)), k)
    others = [channel for channel in range(3) if channel != k + 1]

    def resample(maps):
        return nnf.interpolate(maps, size, mode="bilinear")

    for u in range(DEPTH):
        was, now = (person.walk.slice(u, c).resampled(resample) for c in (corrections, person.corrections))
        assert torch.equal(was[others], now[others])
        came_or_went = (was.argmax(0) == k + 1) != (now.argmax(0) == k + 1)
        assert torch.equal(was.argmax(0)[~came_or_went], now.argmax(0)[~came_or_went])


@models
@drawn(slices, st.integers(0, 1))
@few
def test_giving_what_was_predicted_changes_no_class_anywhere(model, t, k):
    person = walked(model, noise(DEPTH, SIDE))
    changed = person.give(t, nothing().mask(k, person.logits[t].argmax(0) == k + 1)).update()
    assert changed in ([], [t])
    assert torch.equal(person.logits[t].argmax(0), person.automatic[t].argmax(0))


@models
@drawn(st.lists(st.tuples(slices, prompts), min_size=1, max_size=4), st.sampled_from([LITTLE, PLENTY]))
@few
def test_what_is_taken_back_leaves_the_automatic_walk_bit_for_bit(model, corrections, memory_bytes):
    person = walked(model, noise(DEPTH, SIDE), memory_bytes=memory_bytes)
    for t, given in corrections:
        person.give(t, given).update()
    for t, given in corrections:
        person.give(t, given.without()).update()
    assert same(person.logits, person.automatic)


@models
@drawn(st.dictionaries(slices, prompts, min_size=2, max_size=4), st.randoms(use_true_random=False), st.booleans())
@few
def test_the_order_of_corrections_does_not_matter_nor_what_was_given_before(model, corrections, random, replaced):
    read = noise(DEPTH, SIDE)
    person, other = walked(model, read), walked(model, read, memory_bytes=LITTLE)
    for t, given in corrections.items():
        person.give(t, given).update()
    shuffled = list(corrections.items())
    random.shuffle(shuffled)
    if replaced:
        other.give(shuffled[-1][0], nothing().mask(0, square(0, 0, 9))).update()
    for t, given in shuffled:
        other.give(t, given)
    other.update()
    assert same(person.logits, other.logits)


@models
@drawn(slices, prompts)
@few
def test_nothing_travels_beyond_the_reach(model, t, given):
    person = walked(model, noise(DEPTH, SIDE)).give(t, given)
    for correction in person.corrections.given.values():
        assert not any(person.walk.travels(correction, u) for u in range(DEPTH) if abs(u - t) > REACH)


@models
@drawn(st.dictionaries(slices, st.tuples(st.integers(0, SIDE - 6), st.integers(1, 6)), min_size=2, max_size=4))
@few
def test_painted_slices_stay_as_painted_whatever_comes_after(model, painted):
    person = walked(model, noise(DEPTH, SIDE))
    for number, (t, (top, side)) in enumerate(painted.items()):
        person.give(t, nothing().mask(number % 2, square(top, 3, side))).update()
    for number, (t, (top, side)) in enumerate(painted.items()):
        assert torch.equal(person.logits[t].argmax(0) == number % 2 + 1, square(top, 3, side))


@drawn(st.integers(0, 9), st.integers(0, 9), st.booleans())
@hypothesis_settings(max_examples=3)
def test_the_laws_hold_for_3d_sautomed(small_model, one, other, paints):
    person = walked(small_model, noise(10, 128), 10)
    again = walked(small_model, noise(10, 128), 10, memory_bytes=LITTLE)
    found = person.logits[one].argmax(0) == 1
    first = nothing(found.shape[0]).mask(0, ~found) if paints else nothing(found.shape[0]).not_here(0)
    second = nothing(found.shape[0]).here(1, torch.tensor([0.2, 0.3, 0.7, 0.8]))
    for t, given in ((one, first), (other, second)):
        assert t in person.give(t, given).update()
    for t, given in reversed({one: first, other: second}.items()):
        again.give(t, given)
    again.update()
    assert same(person.logits, again.logits)
    for t in (one, other):
        person.give(t, first.without()).update()
    assert same(person.logits, person.automatic)


def test_where_both_of_two_classes_are_said_not_to_be_is_neither():
    person = walked(Sure().eval(), squares(0.69))
    assert (person.give(5, nothing().not_here(0).not_here(1)).automatic[5].argmax(0)[WHOLE] == 1).all()
    person.update()
    assert (person.logits[5].argmax(0) == 0).all()


def test_what_was_painted_stays_where_another_class_comes_from_the_slice_before():
    person = walked(Brightness().eval(), squares(0.69))
    person.give(5, nothing().mask(1, WHOLE)).update()
    assert (person.logits[6].argmax(0)[WHOLE] == 2).all(), "what was painted for class 2 has come to the next slice"
    person.give(6, nothing().mask(0, WHOLE)).update()
    assert (person.logits[6].argmax(0)[WHOLE] == 1).all()


# --- as an object ---


def test_a_slice_is_corrected_when_the_walk_has_visited_it_and_has_kept_its_states():
    for memory_bytes in (PLENTY, None):
        inner = Walk(Brightness(), View(missed_corner, 5), WALKS["mid_to_ends"](5), 3, memory_bytes)
        walk = CorrectedWalk(inner, lambda correction: correction.given.prompts, PLENTY)
        if memory_bytes is None:
            list(walk)
        with pytest.raises(ValueError, match="not visited yet, or the walk keeps no states"):
            walk.slice(2, Corrections())


def test_memory_of_slices_is_bounded():
    person = walked(Brightness(), noise(DEPTH, SIDE), memory_bytes=3 * 10_000)
    for t in (3, 9, 15):
        person.give(t, nothing().mask(0, WHOLE))
    for u in range(DEPTH):
        person.walk.slice(u, person.corrections)
        assert person.walk.nbytes <= 3 * 10_000
