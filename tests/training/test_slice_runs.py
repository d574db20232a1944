"""Training examples follow from the seed; a run is consecutive slices in walk order."""

from pathlib import Path

import numpy as np
import pytest
import torch

from sautomed.config import AugmentSettings, TrainSettings
from sautomed.training.prepare import PreparedCase
from sautomed.training.slice_runs import CaseList, SliceRunDataset, StreamSampler, collate, history_length

PLAIN = AugmentSettings(probability=0, intensity_probability=0)


@pytest.fixture
def case(tmp_path):
    """Slice t holds the value t / 10 and the label 1 from slice 3 on."""
    depth = 8
    images = np.broadcast_to(np.arange(depth)[:, None, None] / 10, (depth, 16, 16)).astype(np.float16)
    labels = np.broadcast_to((np.arange(depth) >= 3)[:, None, None], (depth, 16, 16)).astype(np.uint8)
    for name, array in (("image", images), ("labels", labels), ("presence", labels[:, 0, :1].astype(bool))):
        np.save(tmp_path / f"a.{name}.npy", array)
    return PreparedCase("a", tmp_path)


def settings(**changes):
    return TrainSettings(**{"batch": 2, "augment": PLAIN, **changes})


def test_slices_of_a_run_are_consecutive_in_walk_order_with_repeated_edges(case):
    data = SliceRunDataset([case], settings(cold_probability=0), "repeat", seed=0)
    seen = set()
    for number in range(60):
        [(images, labels, upward, _, _)] = data[number]
        t = (images[:, 0, 0, 0] * 10).round().long()
        inner = t[1:-1]
        steps = inner.diff()
        assert ((steps == (1 if upward else -1)) | ((steps == 0) & ((inner[1:] == 0) | (inner[1:] == 7)))).all()
        assert torch.equal(labels[:, 0, 0], (inner >= 3).long())
        assert ((t[0] - inner[0]).abs() <= 1) & ((t[-1] - inner[-1]).abs() <= 1)
        seen.add((upward, len(inner)))
    assert seen == {(up, n) for up in (True, False) for n in (2, 3, 4)}


def test_neighbour_channels_are_in_anatomical_order_whatever_the_walk(case):
    data = SliceRunDataset([case], settings(), "neighbours", seed=0)
    for number in range(20):
        [(images, *_)] = data[number]
        below, here, above = (images[:, i, 0, 0] for i in range(3))
        assert (below <= here).all()
        assert (here <= above).all()


def test_an_example_follows_from_seed_and_number_alone(case):
    augmented = settings(augment=AugmentSettings())
    first = SliceRunDataset([case], augmented, "repeat", seed=3)
    for _ in range(3):
        first[5]  # whatever was drawn before
    again, other = (
        SliceRunDataset([case], augmented, "repeat", seed=3),
        SliceRunDataset([case], augmented, "repeat", seed=4),
    )
    assert torch.equal(first[9][0][0], again[9][0][0])
    assert first[9][0][0].shape != other[9][0][0].shape or not torch.equal(first[9][0][0], other[9][0][0])


def test_runs_of_a_batch_are_of_one_length(case):
    data = SliceRunDataset([case], settings(batch=4), "repeat", seed=0)
    run = collate([data[number] for number in range(8, 12)])
    assert run.images.shape[:2] == (4, run.labels.shape[1] + 2)
    assert run.upward.shape == (4,)
    assert len(run.cases) == 4
    assert set(run.cases) <= {case.id for case in data.cases}


def test_n_is_1_to_3_and_now_and_then_0():
    lengths = [history_length(settings(cold_probability=0.1), 0, step) for step in range(2000)]
    assert set(lengths) == {0, 1, 2, 3}
    assert lengths.count(0) / 2000 == pytest.approx(0.1, abs=0.03)
    assert lengths.count(3) / 2000 == pytest.approx(0.3, abs=0.04)


def test_a_run_knows_the_labels_of_the_slice_before_it(case):
    data = SliceRunDataset([case], settings(), "repeat", seed=0)
    for number in range(40):
        [(images, _, _, before, _)] = data[number]
        assert before.eq((images[0, 0] * 10).round() >= 3).all()


def test_training_begins_with_single_slices_and_runs_that_grow(case):
    """A step shows about as many slices at each stage."""
    grown = settings(batch=2, singles=0.5, cold_probability=0)
    done = 0.0
    data = SliceRunDataset([case], grown, "repeat", seed=0, progress=lambda step: done)
    lengths = {}
    for step in range(40):
        done = step / 40
        labels = collate([data[2 * step], data[2 * step + 1]]).labels
        lengths.setdefault(int(done * 6), set()).add(labels.shape[1])
        assert 6 <= labels.shape[0] * labels.shape[1] <= 8
    assert lengths == {0: {1}, 1: {1}, 2: {1}, 3: {2}, 4: {2, 3}, 5: {2, 3, 4}}


def test_all_items_of_a_step_have_one_length_however_time_goes_on(case):
    times = iter(torch.linspace(0.4, 1, 8).tolist())
    data = SliceRunDataset([case], settings(batch=4, singles=0.5), "repeat", 0, progress=lambda _: next(times))
    assert len({len(example[1]) for number in range(4) for example in data[number]}) == 1


def test_balanced_targets_are_slices_that_show_a_class(case):
    data = SliceRunDataset([case], settings(balanced=1.0), "repeat", seed=0)
    assert all(data[number][0][1][-1].any() for number in range(20))
    anywhere = SliceRunDataset([case], settings(balanced=0.0), "repeat", seed=0)
    assert not all(anywhere[number][0][1][-1].any() for number in range(40))


def test_a_round_goes_on_from_where_training_is():
    sampler = StreamSampler(steps=2, batch=3)
    first = list(sampler)
    sampler.step = 4
    assert first == [0, 1, 2, 3, 4, 5]
    assert list(sampler) == [12, 13, 14, 15, 16, 17]
    assert len(sampler) == 6


@pytest.mark.parametrize("ranks", [1, 2, 3, 6])
def test_ranks_share_the_examples_of_each_step(ranks):
    samplers = [StreamSampler(4, 6 // ranks, rank, ranks) for rank in range(ranks)]
    for sampler in samplers:
        sampler.step = 5
    shares = [torch.tensor(list(sampler)).reshape(4, -1) for sampler in samplers]
    assert torch.cat(shares, 1).flatten().tolist() == list(range(30, 54))


def test_ranks_share_the_cases_of_validation_and_have_as_many_turns():
    cases = [PreparedCase(str(number), Path()) for number in range(5)]
    shares = [[share[i] for i in range(len(share))] for share in (CaseList(cases, rank, 3) for rank in range(3))]
    assert [len(share) for share in shares] == [2, 2, 2]
    assert [share[i] for i in range(2) for share in shares] == [*cases, None]


@pytest.mark.parametrize(("slices", "overhang"), [(1, 0), (3, 0), (5, 2), (8, 0), (12, 0)])
def test_a_stack_is_in_anatomical_order_and_reaches_no_further_than_it_may(case, slices, overhang):
    data = SliceRunDataset([case], settings(), "repeat", seed=0, stack=(slices, overhang))
    firsts = set()
    for number in range(40):
        [(images, labels, upward, _, _)] = data[number]
        t = (images[1:-1, 0, 0, 0] * 10).round().long()
        assert upward
        assert len(t) == len(labels) == slices
        assert ((t.diff() == 1) | ((t.diff() == 0) & ((t[1:] == 0) | (t[1:] == 7)))).all()
        assert torch.equal(labels[:, 0, 0], (t >= 3).long())
        repeated = int((t.diff() == 0).sum())
        assert repeated <= max(overhang, slices - 8)
        firsts.add(int(t[0]))
    assert len(firsts) == 1 if slices >= 8 else len(firsts) > 2
