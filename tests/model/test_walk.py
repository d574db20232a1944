"""A volume walked by a model: every slice passes the trunk once, and the walk can go on again from any slice."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from sautomed.config import SegmentSettings
from sautomed.model.given import GivenPrompts
from sautomed.model.values import Seen, SliceState, StepOutput
from sautomed.model.walk import Walk
from sautomed.model.walk_order import WALKS, neighbours

from .walkers import Recorder, View, noise, numbered

WALK_NAMES = tuple(WALKS)


def walk(model, read, depth, channels="repeat", **settings):
    found = model.predict(View(read, depth, channels), SegmentSettings(**settings))
    return {predicted.index: predicted.logits for predicted in found}


# --- each slice passes the trunk once, and sees its own neighbours ---


@pytest.mark.parametrize("name", WALK_NAMES)
@given(depth=st.integers(1, 40), chunk=st.integers(1, 12))
@hypothesis_settings(max_examples=40, deadline=None)
def test_each_slice_passes_the_trunk_once_in_chunks(name, depth, chunk):
    model = Recorder()
    found = walk(model, numbered, depth, walk=name, chunk=chunk)
    assert sorted(found) == list(range(depth))
    assert sorted(t for batch in model.encoded for t in batch) == list(range(depth))
    assert all(len(batch) == chunk for batch in model.encoded[:-1])


@pytest.mark.parametrize("name", WALK_NAMES)
@pytest.mark.parametrize("channels", ["repeat", "neighbours"])
def test_each_slice_is_shared_with_those_beside_it_in_anatomical_order(name, channels):
    model = Recorder()
    walk(model, numbered, 9, channels, walk=name, chunk=4)
    assert sorted(model.shared, key=lambda trio: trio[1]) == [neighbours(t, 9) for t in range(9)]


@pytest.mark.parametrize("channels", ["repeat", "neighbours"])
def test_the_channels_are_the_slice_or_the_slice_between_its_neighbours(channels):
    class Watch(Recorder):
        def encode(self, images):
            for trio in (images[:, :, 0, 0] * 1000).round().int().tolist():
                t = trio[1]
                assert trio == ([t, t, t] if channels == "repeat" else list(neighbours(t, 7)))
            return super().encode(images)

    assert len(walk(Watch(), numbered, 7, channels, chunk=3)) == 7


def test_the_two_walkers_keep_two_states_that_both_begin_in_the_middle():
    found = walk(Recorder(), numbered, 7, chunk=3)  # the middle is 3
    assert [round(found[t].flatten()[0].item()) for t in range(7)] == [3 + 2 + 1, 3 + 2 + 1, 3 + 2, 3, 7, 12, 18]


# --- the real network ---


@pytest.mark.parametrize("name", WALK_NAMES)
@pytest.mark.parametrize("depth", [1, 2, 7])
def test_the_chunk_changes_nothing(small_model, name, depth):
    whole = walk(small_model, noise(depth), depth, "neighbours", walk=name, chunk=8)
    for chunk in (1, 3):
        parts = walk(small_model, noise(depth), depth, "neighbours", walk=name, chunk=chunk)
        assert parts.keys() == whole.keys() == set(range(depth))
        for t in whole:
            torch.testing.assert_close(parts[t], whole[t], rtol=1e-4, atol=1e-4)


def plain_walk(model, slices, order, state):
    """One slice after another, one state, everything encoded at once."""
    depth = len(slices)
    f = model.encode(slices[:, None].expand(-1, 3, -1, -1)).split(1)
    for t in order:
        below, here, above = (f[n] for n in neighbours(t, depth))
        out = model.step(model.share(below, here, above), state)
        state = out.state
        yield t, out


@pytest.mark.parametrize("depth", [1, 2, 3, 6, 7])
def test_mid_to_ends_is_two_plain_loops_from_the_middle(small_model, depth):
    slices = torch.rand(depth, 128, 128, generator=torch.Generator().manual_seed(1))
    found = walk(small_model, lambda rows: slices[rows], depth, chunk=4)
    middle = depth // 2
    with torch.inference_mode():
        (_, first), *_ = plain_walk(small_model, slices, [middle], small_model.start(1))
        expected = {middle: first.logits[0]}
        for order in (range(middle + 1, depth), range(middle - 1, -1, -1)):
            expected |= {t: out.logits[0] for t, out in plain_walk(small_model, slices, order, first.state)}
    assert found.keys() == expected.keys()
    for t in expected:
        torch.testing.assert_close(found[t], expected[t], rtol=1e-4, atol=1e-4)


def test_end_to_end_is_one_plain_loop_from_the_top(small_model):
    slices = torch.rand(5, 128, 128, generator=torch.Generator().manual_seed(1))
    found = walk(small_model, lambda rows: slices[rows], 5, walk="end_to_end", chunk=2)
    assert list(found) == [4, 3, 2, 1, 0]
    with torch.inference_mode():
        for t, out in plain_walk(small_model, slices, [4, 3, 2, 1, 0], small_model.start(1)):
            torch.testing.assert_close(found[t], out.logits[0], rtol=1e-4, atol=1e-4)


def test_nothing_is_kept_for_a_gradient(small_model):
    assert not any(logits.requires_grad for logits in walk(small_model, noise(3), 3).values())
    assert torch.is_grad_enabled()


# --- on from any slice ---


def walk_of(model, depth, name="mid_to_ends", memory_bytes=2**30, **given):
    return Walk(model, View(noise(depth), depth, "neighbours"), WALKS[name](depth), 3, memory_bytes, **given)


def moved(state):
    """Other boxes, present for every class, and another history."""
    boxes = torch.tensor([0.1, 0.2, 0.5, 0.6]).expand_as(state.boxes)
    return replace(state, boxes=boxes, seen=torch.full_like(state.seen, Seen.PRESENT), history=state.history + 0.5)


depths_and_slices = st.integers(1, 9).flatmap(lambda depth: st.tuples(st.just(depth), st.integers(0, depth - 1)))


@pytest.mark.parametrize("name", WALK_NAMES)
@given(place=depths_and_slices, memory_bytes=st.sampled_from([0, 300_000, 2**30]))
@hypothesis_settings(max_examples=15, deadline=None)
def test_resuming_with_the_unchanged_state_changes_nothing(small_model, name, place, memory_bytes):
    depth, t = place
    walk = walk_of(small_model, depth, name, memory_bytes)
    list(walk)
    states = {n: walk.state(n) for n in range(depth)}
    assert list(walk.resume(t, walk.state(t))) == []
    assert not any(walk.state(n).differs(state) for n, state in states.items())
    # and where the state is changed and then put back, every number comes back to the last bit
    original = walk.state(t)
    list(walk.resume(t, moved(original)))
    list(walk.resume(t, original))
    assert not any(walk.state(n).differs(state) for n, state in states.items())


@pytest.mark.parametrize("name", WALK_NAMES)
@given(place=depths_and_slices, memory_bytes=st.sampled_from([0, 300_000, 2**30]))
@hypothesis_settings(max_examples=15, deadline=None)
def test_resuming_with_another_state_is_a_whole_walk_with_it_bit_for_bit(small_model, name, place, memory_bytes):
    depth, t = place
    walk = walk_of(small_model, depth, name, memory_bytes)
    found = {part.index: part for part in walk}
    again = list(walk.resume(t, moved(walk.state(t))))
    assert again[0].index == t
    logits = {index: part.logits for index, part in found.items()} | {part.index: part.logits for part in again}

    whole, expected = walk_of(small_model, depth, name), {}
    while whole.upcoming:
        slices, state = whole.upcoming, whole.upcoming_state
        if t in slices:
            rows = [state.take([row]) for row in range(len(slices))]
            state = SliceState.cat([moved(row) if n == t else row for n, row in zip(slices, rows, strict=True)])
        expected |= {part.index: part.logits for part in whole.step(state)}
    assert logits.keys() == expected.keys()
    assert all(torch.equal(logits[n], expected[n]) for n in expected)
    assert not any(walk.state(n).differs(whole.state(n)) for n in range(depth))
    for part in again:  # and it says which slices changed
        before = found[part.index].logits.argmax(0)
        assert part.changed == (not torch.equal(part.logits.argmax(0), before))


@pytest.mark.parametrize("name", WALK_NAMES)
@given(place=st.integers(1, 9).flatmap(lambda depth: st.tuples(st.just(depth), st.integers(0, depth))))
@hypothesis_settings(max_examples=15, deadline=None)
def test_two_halves_are_one_walk(small_model, name, place):
    depth, steps = place
    order = WALKS[name](depth)
    whole = {part.index: part.logits for part in walk_of(small_model, depth, name)}
    first = Walk(small_model, View(noise(depth), depth, "neighbours"), order[:steps], 3)
    found = {part.index: part.logits for part in first}
    second = Walk(small_model, View(noise(depth), depth, "neighbours"), order[steps:], 3, start=first.end_state)
    found |= {part.index: part.logits for part in second}
    assert found.keys() == whole.keys()
    for t in whole:  # the second half encodes other chunks, so the last bits differ
        torch.testing.assert_close(found[t], whole[t], rtol=1e-4, atol=1e-4)


def test_an_unfinished_walk_goes_on_from_where_it_was_resumed(small_model):
    walk, whole = walk_of(small_model, 9), walk_of(small_model, 9)
    for _ in range(3):
        walk.step()
    list(walk.resume(4, moved(walk.state(4))))  # the middle, from which both walkers come
    rest = {part.index: part.logits for part in walk}
    whole.step(moved(whole.upcoming_state))
    expected = {part.index: part.logits for part in whole}
    assert set(rest) == {0, 1, 7, 8}
    assert all(torch.equal(logits, expected[t]) for t, logits in rest.items())


def test_it_stops_where_the_state_is_the_earlier_one():
    class Forgetful(Recorder):
        """Its history is the slice itself, so one slice behind a change nothing differs."""

        def step(self, shared, state):
            logits = (state.history + shared.z[:, 1:2, 0])[..., None].expand(-1, 2, 1, 1)
            return StepOutput(logits, replace(state, history=shared.z[:, 1:2, 0]))

    walk = Walk(Forgetful(), View(numbered, 9), WALKS["mid_to_ends"](9), 3, 2**20)
    list(walk)
    state = walk.state(6)
    assert [part.index for part in walk.resume(6, replace(state, history=state.history + 1))] == [6]
    walk = Walk(Recorder(), View(numbered, 9), WALKS["mid_to_ends"](9), 3, 2**20)
    list(walk)
    state = walk.state(6)
    assert [part.index for part in walk.resume(6, replace(state, history=state.history + 1))] == [6, 7, 8]


@pytest.mark.parametrize("t", [4, 15, 29])
def test_a_resumption_that_stops_early_leaves_no_features_behind(t):
    walk = Walk(Recorder(), View(numbered, 30), WALKS["end_to_end"](30), 6, 0)
    list(walk)
    state = walk.state(t)
    resumed = walk.resume(t, replace(state, history=state.history + 1))
    next(resumed)
    resumed.close()
    assert walk.features.nbytes == 0


def test_a_broken_off_resumption_leaves_the_rest_as_it_was():
    walk = Walk(Recorder(), View(numbered, 9), WALKS["mid_to_ends"](9), 3, 2**20)
    list(walk)
    last = walk.state(8)
    state = walk.state(5)
    resumed = walk.resume(5, replace(state, history=state.history + 1))
    assert [next(resumed).index, next(resumed).index] == [5, 6]
    resumed.close()
    assert not walk.state(8).differs(last)
    assert walk.state(7).history.item() == pytest.approx(4 + 5 + 6 + 1)  # it waits
    assert [part.index for part in walk.resume(5, walk.state(5))] == [7, 8]
    assert walk.state(8).history.item() == pytest.approx(last.history.item() + 1)


@pytest.mark.parametrize("name", WALK_NAMES)
@given(depth=st.integers(1, 40), chunk=st.integers(1, 8), slices=st.integers(0, 40), data=st.data())
@hypothesis_settings(max_examples=30, deadline=None)
def test_memory_is_bounded_and_enough_of_it_spares_the_trunk(name, depth, chunk, slices, data):
    """Beyond the budget, no more is held than the chunk at work and three slices for each of two walkers."""
    model, each = Recorder(), 24  # three channels coarse and three fine, a float each
    budget = slices * each
    walk = Walk(model, View(numbered, depth), WALKS[name](depth), chunk, budget)
    bound = budget + (chunk + 6) * each
    while walk.upcoming:
        walk.step()
        assert walk.features.nbytes <= bound
    assert sum(map(len, model.encoded)) == depth
    for _ in range(3):
        t = data.draw(st.integers(0, depth - 1))
        state = walk.state(t)
        for _ in walk.resume(t, replace(state, history=state.history + 1)):
            assert walk.features.nbytes <= bound
    if slices >= depth:
        assert sum(map(len, model.encoded)) == depth


def test_a_walk_that_only_streams_keeps_nothing():
    walk = Walk(Recorder(), View(numbered, 30), WALKS["mid_to_ends"](30), 4)
    list(walk)
    assert not walk.features.kept
    with pytest.raises(ValueError, match="keeps no states"):
        walk.state(3)
    with pytest.raises(ValueError, match="no way back to slice 3"):
        next(walk.resume(3, Recorder().start(1)))


def test_states_are_there_for_visited_slices_and_the_next():
    walk = Walk(Recorder(), View(numbered, 5), WALKS["mid_to_ends"](5), 4, 0)
    walk.step()
    assert walk.upcoming == (3, 1)
    assert walk.state(2).history.item() == 0
    assert walk.state(3).history.item() == pytest.approx(2)
    with pytest.raises(ValueError, match="slice 4"):
        walk.state(4)


def bumped(state):
    return replace(state, history=state.history + 1)


@given(depth=st.integers(1, 12), data=st.data(), name=st.sampled_from(WALK_NAMES))
@hypothesis_settings(max_examples=100, deadline=None)
def test_a_resumption_in_parts_is_the_whole_one(depth, data, name):
    """Broken off anywhere and begun again, in a walk that is at its end or not."""
    order = WALKS[name](depth)
    done = data.draw(st.integers(1, len(order)))
    parts, whole = (Walk(Recorder(), View(numbered, depth), order, 3, 0) for _ in range(2))
    for _ in range(done):
        parts.step()
        whole.step()
    t = data.draw(st.sampled_from([n for step in order[:done] for n in step.slices]))
    state = bumped(parts.state(t))
    for taken in data.draw(st.lists(st.integers(0, 3), max_size=3)):
        resumed = parts.resume(t, state)
        for _ in range(taken):
            next(resumed, None)
        resumed.close()
    list(parts.resume(t, state))
    list(whole.resume(t, state))
    list(parts), list(whole)
    assert not any(parts.state(n).differs(whole.state(n)) for n in range(depth))
    assert not parts.end_state.differs(whole.end_state)


def test_an_iteration_that_is_broken_off_loses_no_slice():
    walk = Walk(Recorder(), View(numbered, 9), WALKS["mid_to_ends"](9), 3)
    seen = []
    for part in walk:
        seen.append(part.index)
        if len(seen) == 2:  # of the two walkers' step, one slice
            break
    assert sorted(seen + [part.index for part in walk]) == list(range(9))


def test_a_walk_at_its_end_says_so():
    walk = Walk(Recorder(), View(numbered, 3), WALKS["end_to_end"](3), 3)
    list(walk)
    with pytest.raises(ValueError, match="at its end"):
        walk.step()


def test_only_the_resumed_arm_goes_on_from_another_state():
    walk, plain = (Walk(Recorder(), View(numbered, 9), WALKS["mid_to_ends"](9), 3, 0) for _ in range(2))
    for _ in range(3):
        walk.step()
        plain.step()
    list(walk.resume(5, bumped(walk.state(5))))
    more = walk.upcoming_state.history - plain.upcoming_state.history
    assert more.flatten().tolist() == pytest.approx([1, 0], abs=1e-5)


def test_each_upcoming_slice_has_its_own_state():
    walk = Walk(Recorder(), View(numbered, 9), WALKS["mid_to_ends"](9), 3, 0)
    walk.step()
    walk.step()
    assert [walk.state(t).history.item() for t in (6, 2)] == pytest.approx([4 + 5, 4 + 3])


def test_states_differ_by_what_was_seen_alone_and_by_more_than_the_tolerance():
    state = Recorder().start(1)
    for seen in (Seen.ABSENT, Seen.PRESENT):  # "absent before" is another state than "nothing is known"
        assert state.differs(replace(state, seen=torch.full_like(state.seen, seen)), tolerance=1.0)
    assert not state.differs(replace(state, history=state.history + 0.5), tolerance=0.5)
    assert state.differs(replace(state, history=state.history + 0.5), tolerance=0.25)


class Threshold(Recorder):
    """Class 1 where the sum of the slices seen is above 30.5."""

    def step(self, shared, state):
        out = super().step(shared, state)
        sums = out.state.history[..., None]
        return replace(out, logits=torch.cat([torch.full_like(sums, 30.5), sums], 1))


def test_a_slice_visited_again_says_whether_its_classes_changed():
    walk = Walk(Threshold(), View(numbered, 9), WALKS["mid_to_ends"](9), 3, 0)
    assert all(part.changed for part in walk)
    again = walk.resume(5, bumped(walk.state(5)))  # sums 9, 15, 22 and 30 become one more
    assert [(part.index, part.changed) for part in again] == [(5, False), (6, False), (7, False), (8, True)]
    walk = Walk(Threshold(), View(numbered, 9), WALKS["mid_to_ends"](9), 3, 0)
    list(walk)
    assert [part.index for part in walk.resume(4, bumped(walk.state(4))) if part.changed] == [8]


def test_an_edit_is_never_within_the_tolerance():
    walk = Walk(Recorder(), View(numbered, 9), WALKS["mid_to_ends"](9), 3, 2**20)
    list(walk)
    assert [part.index for part in walk.resume(2, bumped(walk.state(2)), tolerance=2.0)] == [2]


@pytest.mark.parametrize("name", WALK_NAMES)
def test_editing_from_the_ends_inwards_holds_no_more_than_the_budget(name):
    walk = Walk(Recorder(), View(numbered, 60), WALKS[name](60), 8, 0)
    list(walk)
    for t in [n for step in reversed(walk.order) for n in step.slices]:
        next(walk.resume(t, bumped(walk.state(t))))
        assert not walk.features.kept


@pytest.mark.parametrize("name", WALK_NAMES)
@pytest.mark.parametrize("t", [0, 2, 3, 6])
def test_what_is_given_for_a_visited_slice_makes_the_walk_that_had_it_from_the_start(small_model, name, t):
    given = GivenPrompts.nothing(2, (64, 64)).here(0, torch.tensor([0.1, 0.2, 0.5, 0.6])).not_here(1)
    walk, whole = walk_of(small_model, 7, name), walk_of(small_model, 7, name)
    logits = {part.index: part.logits for part in walk}
    walk.give(t, given)
    again = list(walk.resume(t, walk.state(t)))
    assert again[0].index == t
    logits |= {part.index: part.logits for part in again}
    whole.give(t, given)
    expected = {part.index: part.logits for part in whole}
    assert all(torch.equal(logits[n], expected[n]) for n in range(7))
    assert not any(walk.state(n).differs(whole.state(n)) for n in range(7))
    assert not (logits[t].argmax(0) == 2).any()
    assert list(walk.resume(t, walk.state(t))) == []  # it is obeyed already
    moved_again = next(walk.resume(t, moved(walk.state(t))))  # and with any other state
    assert not (moved_again.logits.argmax(0) == 2).any()


def test_writing_into_a_state_changes_no_walk():
    walk = Walk(Recorder(), View(numbered, 9), WALKS["mid_to_ends"](9), 3, 0)
    list(walk)
    walk.state(5).history[:] = 100
    assert walk.state(5).history.item() == 4


def test_no_state_hangs_on_a_gradient(small_model):
    walk = walk_of(small_model, 3)
    list(walk)
    assert not any(walk.state(t).history.requires_grad for t in range(3))


# --- to look at a slice again ---


@pytest.mark.parametrize("name", WALK_NAMES)
@pytest.mark.parametrize("memory_bytes", [0, 2**30])
def test_a_slice_that_is_looked_at_again_has_every_number_of_the_walk_and_leaves_it_as_it_is(
    small_model, name, memory_bytes
):
    walk = walk_of(small_model, 7, name, memory_bytes)
    logits = {part.index: part for part in walk}
    states, kept = {t: walk.state(t) for t in range(7)}, walk.features.nbytes
    for t, part in logits.items():
        look = walk.look_again(t)
        assert torch.equal(look.predicted.logits, part.logits)
        assert torch.equal(look.predicted.boxes, part.boxes)
        assert torch.equal(look.ungated, part.logits)
        assert look.features.shape[1:] == part.logits.shape[1:]  # the decoder's
        torch.testing.assert_close(
            look.features.float().norm(dim=0), torch.ones(part.logits.shape[1:]), atol=1e-2, rtol=0
        )
    assert not any(walk.state(t).differs(state) for t, state in states.items())
    assert walk.features.nbytes == kept


@pytest.mark.parametrize("t", [1, 3])
def test_a_slice_that_is_looked_at_with_other_prompts_is_the_one_that_a_walk_would_make_of_them(small_model, t):
    given = GivenPrompts.nothing(2, (64, 64)).here(0, torch.tensor([0.1, 0.2, 0.5, 0.6]))
    walk, whole = walk_of(small_model, 5), walk_of(small_model, 5)
    list(walk)
    look = walk.look_again(t, given)
    whole.give(t, given)
    expected = {part.index: part.logits for part in whole}[t]
    assert torch.equal(look.predicted.logits, expected)
    assert not torch.equal(look.ungated, expected)
    walk.give(t, given)  # a walk that is given them makes the same, and nothing else without them
    list(walk.resume(t, walk.state(t)))
    assert torch.equal(walk.look_again(t).predicted.logits, expected)
    assert not torch.equal(walk.look_again(t, given.without()).predicted.logits, expected)


def test_a_look_again_still_leaves_what_is_newly_given_to_the_resumption(small_model):
    walk = walk_of(small_model, 5)
    list(walk)
    walk.give(2, GivenPrompts.nothing(2, (64, 64)).not_here(0))
    walk.look_again(2)
    assert next(walk.resume(2, walk.state(2))).index == 2


def test_only_a_visited_slice_can_be_looked_at_again():
    walk = Walk(Recorder(), View(numbered, 5), WALKS["mid_to_ends"](5), 3, 0)
    walk.step()
    assert walk.look_again(2).features.shape == (3, 1, 1)  # the trunk's finest, where the decoder gives none
    with pytest.raises(ValueError, match="not visited"):
        walk.look_again(3)


def test_slices_carry_the_models_presence_and_the_boxes_before_them(small_model):
    said = {}
    step = small_model.step

    def listen(shared, state, *given):
        out = step(shared, state, *given)
        said[out.presence.shape[0], float(out.presence[0, 0])] = out.presence
        return out

    small_model.step = listen
    try:
        found = list(Walk(small_model, View(noise(5), 5), WALKS["mid_to_ends"](5), 3, 2**28))
    finally:
        del small_model.step
    steps = list(said.values())
    assert [part.presence.tolist() for part in found] == [row.tolist() for rows in steps for row in rows]
    assert all(part.presence.shape == part.present.shape for part in found)


def test_a_model_without_box_prompts_has_no_presence():
    assert all(part.presence is None for part in Recorder().predict(View(numbered, 5), SegmentSettings()))
