"""A session: what is given is obeyed, leaves everything else alone, travels when it is told to, and is taken back."""

from itertools import islice

import numpy as np
import pytest
from hypothesis import given as drawn
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

import sautomed
from sautomed.editing.replay import edits_of
from sautomed.inference.prompts.collect import confidence_of
from sautomed.inference.prompts.file import read_prompts
from sautomed.scans import read_labels

from .conftest import ORGANS, make_volume
from .operations import (
    COLUMNS,
    DEPTH,
    GIVING,
    ROWS,
    Operation,
    anything,
    boxes,
    edits,
    operations,
    painted_slices,
    rectangle,
    sequences,
)

VALUES = {organ: value for value, organ in ORGANS.items()}
slices = st.integers(0, DEPTH - 1)
organs = st.sampled_from(list(VALUES))
few = hypothesis_settings(max_examples=15)
FOUR = (3, 3, 9, 9)


def shown(session):
    return session.labels.array.copy()


def mask_of(session, t, organ):
    return session.label_slice(t) == VALUES[organ]


# --- laws ---


@drawn(sequences, edits)
@few
def test_undo_gives_back_what_was_before_bit_for_bit_and_redo_what_came_after(open_session, before, operation):
    session = open_session()
    for other in before:
        other.run(session)
    was = shown(session)
    operation.run(session)
    now = shown(session)
    if np.array_equal(was, now):
        return  # it may have been nothing at all
    session.undo()
    assert np.array_equal(shown(session), was)
    session.redo()
    assert np.array_equal(shown(session), now)


@drawn(sequences)
@few
def test_undoing_everything_gives_the_automatic_result_and_redoing_everything_the_last(open_session, sequence):
    session = open_session()
    automatic = shown(session)
    for operation in sequence:
        operation.run(session)
    last = shown(session)
    undone = [session.redo() for _ in sequence] and shown(session)
    while session.can_undo:
        session.undo()
    assert np.array_equal(shown(session), automatic)
    assert all(found.voxels == 0 for found in session.compare().values())
    for _ in range(2 * len(sequence)):
        session.redo()
    assert not session.can_redo
    assert np.array_equal(shown(session), undone if len(sequence) else last)


@drawn(sequences, slices, st.lists(anything, max_size=6))
@few
def test_a_locked_slice_never_changes(open_session, before, t, sequence):
    session = open_session()
    for operation in before:
        operation.run(session)
    session.lock(t)
    was = session.label_slice(t)
    for operation in sequence:
        if operation.name in ("undo", "redo") or (operation.name, operation.slice) == ("release", t):
            continue
        assert operation.run(session) == (operation.touches not in session.locked) or operation.name == "fill"
        assert np.array_equal(session.label_slice(t), was)
    assert t in session.locked


@drawn(sequences, slices, organs, boxes, st.lists(anything, max_size=6))
@few
def test_a_painted_slice_never_changes_by_what_is_done_elsewhere(open_session, before, t, organ, box, sequence):
    session = open_session()
    for operation in before:
        operation.run(session)
    session.release(t)
    session.paint(t, organ, rectangle(*box))
    was = session.label_slice(t)
    for operation in sequence:
        if operation.name not in ("undo", "redo", "fill") and operation.touches != t:
            operation.run(session)
            assert np.array_equal(session.label_slice(t), was)


@drawn(sequences, operations(*GIVING, "forget", "propagate"))
@few
def test_the_other_organs_change_only_where_the_edited_one_came_or_went(open_session, before, operation):
    session = open_session()
    for other in before:
        other.run(session)
    was, edited = shown(session), {operation.organ}
    if operation.name == "propagate":
        edited = {organ for organ, prompt in session.prompts[operation.slice].items() if prompt.source == "given"}
    operation.run(session)
    now = shown(session)
    values = [VALUES[organ] for organ in edited]
    assert ((was == now) | np.isin(was, values) | np.isin(now, values)).all()


@drawn(sequences, operations(*GIVING))
@few
def test_what_is_given_is_obeyed_to_the_native_pixel(open_session, before, operation):
    session = open_session()
    for other in before:
        other.run(session)
    t, organ = operation.slice, operation.organ
    was = mask_of(session, t, organ)
    if not operation.run(session):
        return
    now = mask_of(session, t, organ)
    expected = {
        "give_box": now & operation.brush,
        "absent": np.zeros_like(now),
        "paint": was | operation.brush,
        "erase": was & ~operation.brush,
    }[operation.name]
    assert np.array_equal(now, expected)


def test_pixels_finer_than_the_networks_stay_as_they_were_painted(model):
    session = sautomed.edit(model, make_volume((9, 300, 260)))  # the network sees 128
    rng = np.random.default_rng(0)
    pixels = [rng.random((300, 260)) < 0.5 for _ in range(2)]
    session.erase(4, "dark", np.ones((300, 260), bool))
    session.paint(4, "dark", pixels[0])
    session.erase(4, "bright", np.ones((300, 260), bool))
    session.paint(4, "bright", pixels[1])
    assert np.array_equal(mask_of(session, 4, "bright"), pixels[1])
    assert np.array_equal(mask_of(session, 4, "dark"), pixels[0] & ~pixels[1])
    session.give_box(5, "bright", (33, 41, 200, 222))
    outside = np.ones((300, 260), bool)
    outside[41:222, 33:200] = False
    assert not (mask_of(session, 5, "bright") & outside).any()


@drawn(sequences, operations(*GIVING, "propagate", "forget", "lock", "release", "undo"))
@few
def test_a_change_says_what_changed(open_session, before, operation):
    session = open_session()
    for other in before:
        other.run(session)
    was = shown(session)
    if operation.name in ("undo", "lock", "release", "absent", "forget"):
        arguments = {"undo": (), "lock": (operation.slice,), "release": (operation.slice,)}
        try:
            change = getattr(session, operation.name)(
                *arguments.get(operation.name, (operation.slice, operation.organ))
            )
        except sautomed.errors.UsageError:
            return
        now = shown(session)
        assert change.slices == tuple(t for t in range(DEPTH) if not np.array_equal(was[t], now[t]))
        for organ, value in VALUES.items():
            assert change.voxels[organ] == np.count_nonzero((was == value) != (now == value))


@drawn(sequences, slices, st.sampled_from(["up", "down"]), st.integers(1, DEPTH))
@few
def test_a_propagation_that_is_broken_off_is_one_that_stopped_there(open_session, before, t, direction, steps):
    one, other = open_session(), open_session()
    for session in (one, other):
        for operation in before:
            operation.run(session)
    parts = list(islice(one.propagate(t, direction), steps))
    way = 1 if direction == "up" else -1
    if parts:
        assert [part.index for part in other.propagate(t, direction, until=parts[-1].index)] == [
            part.index for part in parts
        ]
    assert np.array_equal(shown(one), shown(other))
    assert all(way * (part.index - t) > 0 for part in parts)
    for session in (one, other):
        if parts:
            session.undo()
    assert np.array_equal(shown(one), shown(other))


# --- propagation ---


def test_what_is_painted_travels_slice_by_slice_in_both_directions(session):
    session.paint(4, "bright", rectangle(1, 1, 14, 14))
    before = shown(session)
    parts = list(session.propagate(4))
    assert [part.index for part in parts] == [5, 3, 6, 2, 7, 1, 8, 0]
    assert any(part.changed for part in parts)
    for part in parts:
        assert part.changed == (not np.array_equal(part.labels, before[part.index]))
        assert np.array_equal(part.labels, session.label_slice(part.index))
    session.undo()  # all of it is one edit
    assert np.array_equal(shown(session), before)


def test_an_edit_changes_its_own_slice_alone_until_it_is_propagated(session):
    assert session.paint(4, "bright", rectangle(1, 1, 14, 14)).slices == (4,)
    list(session.propagate(4))
    assert session.erase(4, "bright", rectangle(0, 0, 24, 20)).slices == (4,)  # what travelled before stays
    changed = {part.index for part in session.propagate(4) if part.changed}
    assert changed
    assert set(session.forget(4, "bright").slices) > {4}  # all of it is taken back
    assert all(found.voxels == 0 for found in session.compare().values())


@pytest.mark.parametrize(("direction", "until", "expected"), [
    ("up", None, [5, 6, 7, 8]), ("down", None, [3, 2, 1, 0]), ("up", 6, [5, 6]), ("down", 2, [3, 2]),
    ("both", 6, [5, 3, 6, 2, 1, 0]), ("up", 4, []), ("down", 4, []),
])  # fmt: skip
def test_it_goes_one_way_and_as_far_as_is_said(session, direction, until, expected):
    session.paint(4, "bright", rectangle(1, 1, 14, 14))
    assert [part.index for part in session.propagate(4, direction, until)] == expected


def test_locked_slices_stop_it_and_slices_that_are_given_stop_their_organ_and_stay_as_they_are(session):
    session.lock(6)
    session.paint(3, "dark", rectangle(14, 9, 16, 11))
    session.paint(2, "bright", rectangle(4, 4, 6, 6))
    session.paint(4, "bright", rectangle(1, 1, 14, 14))
    assert [part.index for part in session.propagate(4)] == [5]  # 6 is locked; it passes 3, and ends at 2
    session.forget(2, "bright")
    assert [part.index for part in session.propagate(4, "down")] == [2, 1, 0]
    session.release(6)
    assert [part.index for part in session.propagate(4, "up")] == [5, 6, 7, 8]


def test_a_lock_leaves_the_slices_behind_it_as_they_are(session):
    session.paint(4, "bright", rectangle(1, 1, 14, 14))
    list(session.propagate(4))
    assert session.lock(6).slices == ()
    assert session.release(6).slices == ()


def test_without_anything_given_nothing_travels(session):
    assert list(session.propagate(4)) == []
    session.give_box(4, "bright", (0, 0, 24, 20))  # takes nothing
    assert list(session.propagate(4)) == []


def test_a_propagation_that_is_taken_up_again_is_an_edit_of_its_own(session):
    session.paint(4, "bright", rectangle(1, 1, 14, 14))
    list(session.propagate(4, "up", until=6))
    session.absent(0, "dark")
    before = shown(session)
    assert [part.index for part in session.propagate(4, "up")] == [5, 6, 7, 8]  # the first two have it already
    session.undo()
    assert np.array_equal(shown(session), before)
    assert (0, "dark") in session.given


def test_a_propagation_ends_when_the_session_is_edited_meanwhile(session):
    session.paint(4, "bright", rectangle(1, 1, 14, 14))
    parts = session.propagate(4)
    next(parts)
    session.absent(0, "dark")
    now = shown(session)
    assert list(parts) == []
    assert np.array_equal(shown(session), now)


# --- filling between painted slices ---


@drawn(sequences, organs, st.lists(st.tuples(slices, boxes), min_size=2, max_size=4))
@few
def test_a_fill_paints_what_nobody_touched_between_painted_slices_and_nothing_else(
    open_session, before, organ, strokes
):
    session = open_session()
    for operation in before:
        operation.run(session)
    for t, box in strokes:
        Operation("paint", t, organ, box).run(session)
    was, given = shown(session), session.given
    painted = painted_slices(session, organ)
    if not painted or not Operation("fill", organ=organ).run(session):
        assert np.array_equal(shown(session), was)  # it was refused
        return
    filled = session.given.keys() - given.keys()
    assert {place: session.given[place] for place in given} == given
    assert {name for _, name in filled} <= {organ}
    touched = {t for t, name in given if name == organ} | set(session.locked)
    assert {t for t, _ in filled}.isdisjoint(touched)
    for t in set(range(DEPTH)) - {t for t, _ in filled}:
        assert np.array_equal(session.label_slice(t), was[t])
    for t, _ in filled:
        assert np.array_equal(mask_of(session, t, organ), session.given[t, organ].pixels((ROWS, COLUMNS)))
        for other in session.prompts[t]:
            if other != organ and session.prompts[t][other].is_painted:
                assert np.array_equal(mask_of(session, t, other), session.given[t, other].pixels((ROWS, COLUMNS)))


def test_a_fill_goes_from_shape_to_shape_and_is_one_undo(session):
    session.erase(1, "bright", rectangle(0, 0, 24, 20))
    session.paint(1, "bright", rectangle(4, 4, 8, 16))
    session.erase(7, "bright", rectangle(0, 0, 24, 20))
    session.paint(7, "bright", rectangle(4, 4, 20, 16))
    before = shown(session)
    change = session.fill(7, 1, "bright")
    assert change.slices == (2, 3, 4, 5, 6)
    widths = [np.flatnonzero(mask_of(session, t, "bright").any(0)).size for t in range(1, 8)]
    assert widths == sorted(widths)
    assert widths[3] in (9, 10)  # half way from 4 to 16
    assert session.prompts[4]["bright"].source == "given"
    assert session.fill(1, 7, "bright").slices == ()  # nothing is left to fill
    assert [part.index for part in session.propagate(4, "up")] == []  # the next slice has something given, too
    session.undo()
    assert np.array_equal(shown(session), before)


def test_a_slice_that_is_given_otherwise_ends_a_gap(session):
    for t in (1, 7):
        session.paint(t, "bright", rectangle(4, 4, 8, 16))
    session.absent(4, "bright")
    before = shown(session)
    with pytest.raises(sautomed.errors.UsageError, match=r"otherwise than by a shape on slices .*: 4\."):
        session.fill(1, 7, "bright")
    assert np.array_equal(shown(session), before)
    session.forget(4, "bright")
    session.lock(3)
    session.paint(5, "bright", rectangle(4, 4, 8, 16))
    session.fill(1, 7, "bright")
    assert {t for t, _ in session.given} == {1, 2, 4, 5, 6, 7}


def test_locked_slices_alone_between_painted_ones_are_no_silent_fill(session):
    for t in (1, 4):
        session.paint(t, "bright", rectangle(4, 4, 8, 16))
        session.lock(t)  # the ends may be locked
    for t in (2, 3):
        session.lock(t)
    with pytest.raises(sautomed.errors.UsageError, match=r"locked: 2, 3\."):
        session.fill(1, 4, "bright")
    session.release(3)
    session.fill(1, 4, "bright")
    assert {t for t, _ in session.given} == {1, 3, 4}


def test_an_organ_that_was_erased_wholly_is_no_shape_to_fill_from(session):
    session.paint(1, "bright", rectangle(4, 4, 8, 16))
    session.erase(4, "bright", rectangle(0, 0, 24, 20))
    with pytest.raises(sautomed.errors.UsageError, match="not painted on slice 4"):
        session.fill(1, 4, "bright")


@pytest.mark.parametrize(("end", "fault"), [(5, "not painted on slice 5"), (7, "do not overlap")])
def test_without_shapes_that_overlap_there_is_nothing_to_fill_from(session, end, fault):
    for t in (1, 7):
        session.erase(t, "bright", rectangle(0, 0, 24, 20))
    session.paint(1, "bright", rectangle(1, 1, 4, 4))
    session.paint(7, "bright", rectangle(10, 10, 14, 14))
    before = shown(session)
    with pytest.raises(sautomed.errors.UsageError, match=fault):
        session.fill(1, end, "bright")
    assert np.array_equal(shown(session), before)


# --- the trunk ---


def test_the_trunk_sees_every_slice_once_whatever_is_edited(model, open_session):
    model.network.encoded = 0
    session = open_session()
    assert model.network.encoded == DEPTH
    for name in GIVING:
        Operation(name, 4, "bright", FOUR).run(session)
        list(session.propagate(4))
    session.undo()
    assert model.network.encoded == DEPTH


# --- prompts and results ---


def test_prompts_are_as_sure_as_the_automatic_result(session, model, volume):
    known = 0
    for part in model.slices(volume):
        for k, organ in enumerate(ORGANS.values()):
            sure, expected = session.prompts[part.index][organ].confidence, confidence_of(part, k)
            assert sure == (None if expected is None else pytest.approx(expected, abs=0.000051))  # rounded
            known += expected is not None
    assert known > 5


def test_prompts_say_what_was_given(session):
    assert session.prompts[4]["bright"].source == "auto"
    session.give_box(4, "bright", (3.5, 3, 99, 9))
    found = session.prompts[4]["bright"]
    assert (found.source, found.box) == ("given", (3.5, 3.0, 24.0, 9.0))
    session.paint(4, "dark", rectangle(*FOUR))
    assert session.prompts[4]["dark"].box == session.prompts[4]["dark"].mask_box
    session.absent(5, "dark")
    assert (session.prompts[5]["dark"].box, session.prompts[5]["dark"].mask_box) == (None, None)
    assert session.given.keys() == {(4, "bright"), (4, "dark"), (5, "dark")}
    session.forget(5, "dark")
    assert session.prompts[5]["dark"].source == "auto"


def test_what_is_painted_later_takes_the_pixels_of_what_was_painted_before(session):
    session.paint(4, "bright", rectangle(3, 3, 9, 9))
    session.paint(4, "dark", rectangle(6, 3, 12, 9))
    assert (session.label_slice(4)[3:9, 6:12] == VALUES["dark"]).all()
    assert (session.label_slice(4)[3:9, 3:6] == VALUES["bright"]).all()


def test_compare_counts_voxels_and_ml_since_the_automatic_result(session):
    before = shown(session) == VALUES["bright"]
    session.paint(4, "bright", rectangle(1, 1, 14, 14))
    after = shown(session) == VALUES["bright"]
    found = session.compare()["bright"]
    assert (found.gained, found.lost) == (np.count_nonzero(after & ~before), np.count_nonzero(before & ~after))
    assert found.ml == pytest.approx(found.voxels * 2 * 2 * 5 / 1000)


@pytest.mark.parametrize("ending", [".nii.gz", ".seg.nrrd", ".mha"])
def test_the_labels_are_saved_as_they_are_now(session, tmp_path, ending):
    session.paint(4, "bright", rectangle(*FOUR))
    session.save(tmp_path / f"organs{ending}")
    found = read_labels(tmp_path / f"organs{ending}", session.volume.plane)
    assert np.array_equal(found.array, session.labels.array)
    if ending != ".mha":  # which has no place for names
        assert found.names == ORGANS


def test_label_slices_cannot_be_written_to(session):
    session.paint(4, "bright", rectangle(*FOUR))
    for t in (0, 4):
        with pytest.raises(ValueError, match="read-only"):
            session.label_slice(t)[0, 0] = 1


@pytest.mark.parametrize(
    ("fault", "edit"),
    [
        ("no slice 9", lambda s: s.absent(9, "bright")),
        ("no slice -1", lambda s: s.lock(-1)),
        ("no organ 'liver'", lambda s: s.absent(0, "liver")),
        ("no area", lambda s: s.give_box(0, "dark", (30, 3, 40, 9))),
        ("no area", lambda s: s.give_box(0, "dark", (float("nan"), 3, 4, 9))),
        ("shape of a slice", lambda s: s.paint(0, "dark", np.zeros((2, 2), bool))),
        ("shape of a slice", lambda s: s.erase(0, "dark", np.zeros((24, 20), bool))),
        ("no slice 9", lambda s: next(s.propagate(9))),
        ("no slice 9", lambda s: s.fill(0, 9, "dark")),
    ],
)
def test_what_cannot_be_is_refused_and_changes_nothing(session, fault, edit):
    before = shown(session)
    with pytest.raises(ValueError, match=fault):
        edit(session)
    assert np.array_equal(shown(session), before)
    assert session.undo().slices == ()


def test_it_is_part_of_the_packages_interface(model, volume):
    seen = []
    session = sautomed.edit(model, volume, on_slice=lambda done, total: seen.append((done, total)))
    assert isinstance(session, sautomed.Session)
    assert seen == [(n, DEPTH) for n in range(1, DEPTH + 1)]
    assert np.array_equal(session.labels.array, model.segment(volume).array)


@drawn(sequences)
@few
def test_the_file_of_prompts_holds_all_that_is_in_force(open_session, tmp_path_factory, sequence):
    path = tmp_path_factory.mktemp("prompts") / "organs.prompts.json"
    session = open_session()
    for operation in sequence:
        operation.run(session)
    session.save_prompts(path)
    document = read_prompts(path)
    assert edits_of(document) == session._edits
    for t in range(DEPTH):
        assert document.slices[t].organs == session.prompts[t]
