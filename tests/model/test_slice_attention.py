"""Local information sharing: Eq. 1 and Eq. 2 of Liang et al. 2024."""

import pytest
import torch
from einops import rearrange

from sautomed.model.slice_attention import InterSliceAttention, IntraSliceAttention, SliceAttention


def trained(module, seed=0):
    """Random weights everywhere, as after training."""
    torch.manual_seed(seed)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return module


@pytest.fixture
def maps():
    torch.manual_seed(1)
    return [torch.randn(2, 16, 4, 5) for _ in range(3)]


POSITION = torch.randn(16, 4, 5, generator=torch.Generator().manual_seed(2))


def test_eq1_eq2_give_one_map_of_the_same_shape(maps):
    assert SliceAttention(16, heads=4)(*maps, POSITION).shape == (2, 16, 4, 5)


def test_eq1_eq2_may_start_as_the_identity(maps):
    """z = f bit for bit, so a pretrained decoder sees what it knows."""
    attention = SliceAttention(16, heads=4, blocks=2)
    attention.start_as_identity()
    assert torch.equal(attention(*maps, POSITION), maps[1])


def test_eq1_eq2_look_at_the_neighbours_from_the_start_otherwise(maps):
    torch.manual_seed(0)
    attention, (before, here, after) = SliceAttention(16, heads=4), maps
    alone = attention(here, here, here, POSITION)
    assert (attention(before, here, after, POSITION) - alone).norm() > 0.05 * alone.norm()


def test_eq1_inter_slice_attention_looks_at_the_same_place_only():
    """The law of Inter-SA: a neighbour's pixel changes the same pixel here, and no other."""
    attention = trained(InterSliceAttention(16, heads=4))
    slices = torch.randn(1, 3, 4, 5, 16)
    changed = slices.clone()
    changed[0, 2, 1, 3] += 1
    moved = (attention(changed) - attention(slices)).abs().sum(-1)[0]
    assert moved[1, 3] > 1e-4
    moved[1, 3] = 0
    assert moved.max() == 0


def test_eq1_inter_slice_attention_tells_before_from_after():
    attention = trained(InterSliceAttention(16, heads=4))
    slices = torch.randn(1, 3, 4, 5, 16)
    assert not torch.allclose(attention(slices), attention(slices.flip(1)), atol=1e-4)


def test_eq1_inter_slice_attention_is_multi_head_attention_asked_by_the_slice_itself():
    """The same numbers from PyTorch's own attention on each place's column of three."""
    attention = trained(InterSliceAttention(16, heads=4))
    slices = torch.randn(2, 3, 4, 5, 16)
    columns = rearrange(slices + attention.position[:, None, None], "n t h w c -> (n h w) t c")
    weight = torch.cat([attention.query.weight, attention.key_value.weight])
    bias = torch.cat([attention.query.bias, attention.key_value.bias])
    mixed, _ = torch.nn.functional.multi_head_attention_forward(
        *(x.transpose(0, 1) for x in (columns[:, 1:2], columns, columns)), 16, 4, weight, bias, None, None, False, 0.0,
        attention.out.weight, attention.out.bias, training=False, need_weights=False,
    )  # fmt: skip
    expected = rearrange(mixed, "1 (n h w) c -> n h w c", n=2, h=4, w=5)
    assert torch.allclose(attention(slices), expected, atol=1e-5)


def test_eq1_three_equal_slices_are_as_one_when_places_do_not_tell_them_apart():
    attention = trained(InterSliceAttention(16, heads=4))
    torch.nn.init.zeros_(attention.position)
    one = torch.randn(1, 1, 4, 5, 16)
    value = attention.key_value(one)[..., 16:]
    assert torch.allclose(attention(one.expand(1, 3, 4, 5, 16)), attention.out(value[:, 0]), atol=1e-5)


def test_eq1_intra_slice_attention_looks_at_the_whole_slice():
    attention = trained(IntraSliceAttention(16, heads=4))
    x, place = torch.randn(1, 4, 5, 16), POSITION.permute(1, 2, 0)
    changed = x.clone()
    changed[0, 0, 0] += 1
    assert ((attention(changed, place) - attention(x, place)).abs().sum(-1) > 1e-7).all()


def test_eq1_intra_slice_attention_moves_with_its_places():
    """Permuting places and position codes alike permutes the output: attention knows places by their codes only."""
    attention = trained(IntraSliceAttention(16, heads=4))
    x, place = torch.randn(1, 4, 5, 16), POSITION.permute(1, 2, 0)
    assert torch.allclose(attention(x, place).flip(1), attention(x.flip(1), place.flip(0)), atol=1e-5)


def test_eq1_eq2_send_a_gradient_to_all_three_slices(maps):
    attention = trained(SliceAttention(16, heads=4))
    for m in maps:
        m.requires_grad_()
    attention(*maps, POSITION).square().sum().backward()
    assert all(m.grad.abs().sum() > 0 for m in maps)
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in attention.parameters())


def test_eq2_is_pointwise():
    """The MLP of Eq. 2 mixes channels of a place, never places."""
    block = trained(SliceAttention(16, heads=4)).blocks[0]
    x = torch.randn(1, 4, 5, 16)
    whole = block.mlp(block.norm_mlp(x))
    assert torch.allclose(whole[:, 2:3], block.mlp(block.norm_mlp(x[:, 2:3])), atol=1e-6)
