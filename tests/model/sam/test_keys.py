"""Names and sizes of SAM's parameters."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sautomed.model.sam.keys import SIZES, SamSizes, infer_sizes, official_name
from sautomed.model.sam.parts import expected_shapes

from .official_layout import Tiny, official_shapes


@pytest.mark.parametrize("size", SIZES)
def test_names_and_shapes_are_those_of_the_published_files(size):
    known = SIZES[size]
    listed = official_shapes(Tiny(known.dim, known.depth, known.heads, known.global_blocks, known.grid))
    assert {official_name(key): shape for key, shape in expected_shapes(known).items()} == listed


@pytest.mark.parametrize("size", SIZES)
def test_sizes_are_told_by_the_parameters(size):
    known = SIZES[size]
    shapes = official_shapes(Tiny(known.dim, known.depth, known.heads, known.global_blocks, known.grid))
    state = {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}
    assert infer_sizes(state) == known
    assert infer_sizes(state).name == f"ViT-{size.upper()}"


@given(
    head_dim=st.integers(1, 8).map(lambda n: 4 * n),
    heads=st.integers(1, 6),
    blocks=st.lists(st.booleans(), min_size=1, max_size=6),
    grid=st.integers(8, 64).filter(lambda g: g != 14),
)
@settings(max_examples=60, deadline=None)
def test_sizes_of_unpublished_networks(head_dim, heads, blocks, grid):
    """Any width, depth and grid but 14, where a global block's table looks like a windowed one's."""
    net = Tiny(head_dim * heads, len(blocks), heads, tuple(i for i, wide in enumerate(blocks) if wide), grid)
    state = {name: torch.empty(shape, device="meta") for name, shape in official_shapes(net).items()}
    assert infer_sizes(state) == SamSizes(net.dim, net.depth, net.heads, net.global_blocks, net.grid)


def test_a_network_cut_short_is_not_taken_for_a_smaller_one():
    known = SIZES["b"]
    shapes = official_shapes(Tiny(known.dim, known.depth, known.heads, known.global_blocks, known.grid))
    state = {name: torch.empty(shape, device="meta") for name, shape in shapes.items() if ".blocks.11." not in name}
    assert infer_sizes(state).depth == 12
