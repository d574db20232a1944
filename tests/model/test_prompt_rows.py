"""Rows that teach obedience: what is told and what should come out of it belong together."""

import pytest
import torch

from sautomed.model.given import GivenKind
from sautomed.model.prompt_rows import prompted_runs
from sautomed.model.values import Seen, SliceState
from sautomed.training.slice_runs import SliceRun

CLASSES, BATCH, SLICES, SIDE = 2, 256, 3, 64


@pytest.fixture(scope="module")
def runs():
    """Class 1 is a block that grows from slice to slice, class 2 a small one beside it that the first slice lacks."""
    labels = torch.zeros(BATCH, SLICES + 1, SIDE, SIDE, dtype=torch.long)
    for t in range(SLICES + 1):
        labels[:, t, 20 - t : 40 + t, 10:30] = 1
    labels[:, 2:, 44:50, 40:46] = 2
    images = torch.zeros(BATCH, SLICES + 2, 3, 1, 1)
    return SliceRun(images, labels[:, 1:], torch.ones(BATCH, dtype=torch.bool), labels[:, 0])


def drawn(runs, share=1.0, seed=0):
    start = SliceState.unknown(torch.zeros(BATCH, 1, 4), CLASSES)
    return prompted_runs(runs, start, share, 0.0, torch.Generator().manual_seed(seed))


def masks(labels, k):
    return labels == k


def test_nothing_happens_at_a_share_of_zero(runs):
    rows = drawn(runs, share=0.0)
    assert rows.given is None
    assert torch.equal(rows.labels, runs.labels)
    assert (rows.state.seen == Seen.UNKNOWN).all()


def test_a_seed_gives_the_same_rows_and_another_seed_others(runs):
    assert torch.equal(drawn(runs).labels, drawn(runs).labels)
    assert not torch.equal(drawn(runs).labels, drawn(runs, seed=1).labels)


def test_targets_lose_pixels_of_organs_to_the_background_and_gain_none(runs):
    changed = drawn(runs).labels != runs.labels
    assert changed.any()
    assert (drawn(runs).labels[changed] == 0).all()


def test_a_given_box_is_tight_around_the_target_of_the_first_slice(runs):
    """So what lies outside is what the target lacks, and nothing else."""
    rows = drawn(runs)
    boxes = 0
    for b, k in (rows.given.kinds == GivenKind.HERE).nonzero().tolist():
        x0, y0, x1, y1 = (rows.given.boxes[b, k] * SIDE).round().int().tolist()
        true, target = masks(runs.labels[b, 0], k + 1), masks(rows.labels[b, 0], k + 1)
        inside = torch.zeros_like(true)
        inside[y0:y1, x0:x1] = True
        assert torch.equal(target, true & inside)
        assert target[y0].any()
        assert target[:, x1 - 1].any()
        boxes += int(not torch.equal(target, true))
    assert boxes > 5  # some cut their organ


def test_a_cut_holds_for_the_whole_run_on_the_same_side(runs):
    """On every slice the kept side is separated from the removed one by the line of the first."""
    rows = drawn(runs)
    cuts = 0
    for b in range(BATCH):
        removed = masks(runs.labels[b], 1) & ~masks(rows.labels[b], 1)
        kept = masks(rows.labels[b], 1)
        if not (removed.any() and kept.any()):
            continue
        cuts += 1
        assert (kept | removed).any(0)[~(kept.any(0) ^ removed.any(0))].sum() == 0  # no place is both
        assert removed.flatten(1).any(1).all()
    assert cuts > 5


def test_not_here_is_told_where_the_target_has_none(runs):
    rows = drawn(runs)
    gone = (rows.given.kinds == GivenKind.NOT_HERE).nonzero().tolist()
    assert any(masks(runs.labels[b], k + 1).any() for b, k in gone)  # against the image
    assert any(not masks(runs.labels[b], k + 1).any() or not masks(runs.labels[b, 0], k + 1).any() for b, k in gone)
    assert not any(masks(rows.labels[b, 0], k + 1).any() for b, k in gone)


def test_a_painted_mask_is_the_target(runs):
    rows = drawn(runs)
    painted = (rows.given.kinds == GivenKind.MASK).nonzero().tolist()
    assert painted
    assert all(torch.equal(rows.given.masks[b, k], masks(rows.labels[b, 0], k + 1)) for b, k in painted)


def test_what_was_removed_before_is_carried_and_missing_from_the_mask_before(runs):
    rows = drawn(runs)
    removed = rows.state.carried[:, 0] < -0.99
    some = [b for b in range(BATCH) if removed[b].any() and not (rows.state.carried[b, 0] > 0).any()]
    assert len(some) > 5
    for b in some:
        target = masks(rows.labels[b], 1).any(0)
        assert not (removed[b] & target).any()
        assert rows.state.masks[b, 0][removed[b]].max() == 0
        assert (removed[b] <= masks(runs.before[b], 1)).all()


def test_a_known_slice_before_gives_boxes_and_presence_and_an_unknown_one_nothing(runs):
    rows = drawn(runs)
    unknown = (rows.state.seen == Seen.UNKNOWN).all(1)
    assert 0.2 < unknown.float().mean() < 0.6
    assert rows.state.masks[unknown].max() == 0
    assert rows.state.boxes[unknown].abs().max() == 0
    known = ~unknown
    assert (rows.state.seen[known, 1] == Seen.ABSENT).all()  # the second class begins later
    present = rows.state.seen[:, 0] == Seen.PRESENT
    assert torch.equal(present, (rows.state.masks[:, 0] > 0.5).flatten(1).any(1))


def test_some_rows_are_left_as_they_are(runs):
    rows = drawn(runs)
    same = (rows.labels == runs.labels).flatten(1).all(1)
    nothing = (rows.given.kinds == GivenKind.NOTHING).all(1) & (rows.state.carried == 0).flatten(1).all(1)
    assert 0.15 < (same & nothing).float().mean() < 0.75


def test_a_prompt_that_cuts_contradicts_the_mask_before(runs):
    """Else a network would learn to follow that mask, and not the prompt."""
    rows = drawn(runs)
    known, contradicting = (rows.state.seen[:, 0] == Seen.PRESENT), 0
    for b in range(BATCH):
        told = rows.given.kinds[b, 0] in (GivenKind.HERE, GivenKind.NOT_HERE)
        lost = masks(runs.labels[b, 0], 1) & ~masks(rows.labels[b, 0], 1)
        if known[b] and told and lost.any():
            assert rows.state.masks[b, 0][lost].mean() > 0.5
            contradicting += 1
    assert contradicting > 10
