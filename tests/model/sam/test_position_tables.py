"""Position tables at other image sizes: what is stretched, and how."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sautomed.model.sam.keys import SamSizes
from sautomed.model.sam.parts import expected_shapes
from sautomed.model.sam.position_tables import resize_position_tables

from .official_layout import Tiny, official_state

TINY = Tiny()
TINY_SIZES = SamSizes(TINY.dim, TINY.depth, TINY.heads, TINY.global_blocks, TINY.grid)


def _state() -> dict[str, Tensor]:
    """The image encoder alone, under transformers names: tables keep their last names."""
    return {
        key.replace("image_encoder", "vision_encoder").replace("blocks", "layers"): tensor
        for key, tensor in official_state().items()
        if key.startswith("image_encoder")
    }


def _tables(state) -> set[str]:
    return {key for key in state if "pos_embed" in key or "rel_pos" in key}


def test_tables_stay_at_their_own_size():
    state = _state()
    resized = resize_position_tables(state, TINY_SIZES, 16 * TINY.grid)
    assert all(resized[key] is state[key] for key in state)


@given(grid=st.integers(8, 64))
@settings(max_examples=20, deadline=None)
def test_only_absolute_positions_and_global_blocks_are_stretched(grid):
    state = _state()
    resized = resize_position_tables(state, TINY_SIZES, 16 * grid)
    changed = {key for key in state if resized[key].shape != state[key].shape}
    if grid != TINY.grid:
        assert changed == {"vision_encoder.pos_embed", *(
            f"vision_encoder.layers.{TINY.global_blocks[0]}.attn.rel_pos_{axis}" for axis in "hw")}  # fmt: skip
    wanted = expected_shapes(SamSizes(TINY.dim, TINY.depth, TINY.heads, TINY.global_blocks, grid))
    assert all(tuple(resized[key].shape) == wanted[key] for key in _tables(state))


@given(grid=st.integers(8, 64), value=st.floats(-3, 3, width=32))
@settings(max_examples=20, deadline=None)
def test_constant_tables_stay_constant(grid, value):
    state = {key: torch.full_like(tensor, value) for key, tensor in _state().items()}
    resized = resize_position_tables(state, TINY_SIZES, 16 * grid)
    for key in _tables(state):
        torch.testing.assert_close(resized[key], torch.full_like(resized[key], value))


def test_a_ramp_stays_a_ramp_between_the_middles_of_the_cells():
    state = _state()
    ramp = (torch.arange(TINY.grid) + 0.5) / TINY.grid  # the row's position in the image, 0 to 1
    state["vision_encoder.pos_embed"] = ramp[None, :, None, None].expand(1, TINY.grid, TINY.grid, TINY.dim).clone()
    finer = resize_position_tables(state, TINY_SIZES, 32 * TINY.grid)["vision_encoder.pos_embed"][0, :, 3, 5]
    expected = (torch.arange(2 * TINY.grid) + 0.5) / (2 * TINY.grid)
    torch.testing.assert_close(finer[1:-1], expected[1:-1])
