"""Orders in which slices are visited."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sautomed.model.walk_order import WALKS, end_to_end, mid_to_ends, neighbours

depths = st.integers(1, 60)


@pytest.mark.parametrize("walk", WALKS.values(), ids=WALKS.keys())
@given(depth=depths)
def test_every_slice_is_visited_once(walk, depth):
    assert sorted(t for step in walk(depth) for t in step.slices) == list(range(depth))


@pytest.mark.parametrize("walk", WALKS.values(), ids=WALKS.keys())
@given(depth=depths)
def test_each_slice_continues_a_neighbour_of_the_step_before(walk, depth):
    steps = walk(depth)
    for before, step in pairwise(steps):
        for t, source in zip(step.slices, step.sources, strict=True):
            assert abs(before.slices[source] - t) == 1


def test_mid_to_ends_starts_in_the_middle_and_goes_both_ways_at_once():
    steps = mid_to_ends(5)
    assert [step.slices for step in steps] == [(2,), (3, 1), (4, 0)]
    assert [step.sources for step in steps] == [(0,), (0, 0), (0, 1)]


def test_the_longer_arm_of_an_even_volume_walks_on_alone():
    assert [step.slices for step in mid_to_ends(4)] == [(2,), (3, 1), (0,)]
    assert mid_to_ends(4)[-1].sources == (1,)


def test_end_to_end_goes_from_the_head_down():
    assert [step.slices for step in end_to_end(3)] == [(2,), (1,), (0,)]


def test_edge_slices_stand_in_for_missing_neighbours():
    assert neighbours(0, 3) == (0, 0, 1)
    assert neighbours(2, 3) == (1, 2, 2)
    assert neighbours(0, 1) == (0, 0, 0)
