"""3D adapters and FacT, compared with their formulas, and their places in SAM's blocks."""

import pytest
import torch
import torch.nn.functional as nnf
from hypothesis import given, settings
from hypothesis import strategies as st

from sautomed.baselines.ma_sam.adapters import FacT, StackAdapter

from .small import make_model, on_sam, stacks


@settings(max_examples=8, deadline=None)
@given(batch=st.integers(1, 3), slices=st.integers(1, 6), width=st.integers(1, 4))
def test_an_adapter_equals_its_formula_at_every_place(batch, slices, width):
    torch.manual_seed(batch * 10 + slices)
    adapter = StackAdapter(6, width)
    x = torch.randn(batch * slices, 2, 3, 6)
    thin = nnf.layer_norm(x, (6,), adapter.norm.weight, adapter.norm.bias, 1e-6) @ adapter.down.weight.T
    expected = torch.empty_like(x)
    for b in range(batch):
        for t in range(slices):
            mixed = adapter.conv.bias.expand(2, 3, width)
            for tap, near in enumerate((t - 1, t, t + 1)):
                if 0 <= near < slices:
                    mixed = mixed + thin[b * slices + near] @ adapter.conv.weight[:, :, tap, 0, 0].T
            expected[b * slices + t] = x[b * slices + t] + nnf.gelu(mixed) @ adapter.up.weight.T
    torch.testing.assert_close(adapter(x, slices), expected, rtol=1e-4, atol=1e-5)


def test_fact_changes_queries_and_values_and_leaves_the_keys():
    torch.manual_seed(0)
    fact = FacT(channels=6, rank=2, blocks=3).eval()
    torch.nn.init.normal_(fact.v.weight)
    qkv, x = torch.randn(4, 2, 2, 18), torch.randn(4, 2, 2, 6)
    change = (fact(qkv, x, 1) - qkv).split(6, dim=-1)
    for found, core in zip(change, (fact.q_cores[1], None, fact.v_cores[1]), strict=True):
        wanted = torch.zeros_like(x) if core is None else x @ (fact.v.weight @ core.weight @ fact.u.weight).T
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


def test_fact_changes_nothing_at_first():
    fact, qkv = FacT(6, 2, 1).train(), torch.randn(4, 2, 2, 18)
    assert torch.equal(fact(qkv, torch.randn(4, 2, 2, 6), 0), qkv)


# --- in SAM's blocks ---


@pytest.fixture
def trunk(weights):
    return make_model(on_sam(weights)).trunk


def silence(trunk, *adapters, fact=True):
    for adapter in (a for part in adapters for a in part):
        torch.nn.init.zeros_(adapter.up.weight)
    if fact:
        torch.nn.init.zeros_(trunk.fact.v.weight)


@torch.no_grad()
def test_without_adapters_and_fact_the_encoder_equals_sams(trunk):
    silence(trunk, trunk.before_attention, trunk.before_mlp)
    images = stacks(1)
    torch.testing.assert_close(trunk(images).coarse, trunk.sam(images[0]))


@torch.no_grad()
def test_fact_equals_a_change_of_sams_weights(trunk):
    """Windowed and global blocks alike."""
    silence(trunk, trunk.before_attention, trunk.before_mlp, fact=False)
    images, fact = stacks(1), trunk.fact
    found = trunk(images).coarse
    for block, layer in enumerate(trunk.sam.vision.layers):
        q, k, v = layer.attn.qkv.weight.chunk(3)
        more = [fact.v.weight @ cores[block].weight @ fact.u.weight for cores in (fact.q_cores, fact.v_cores)]
        layer.attn.qkv.weight.copy_(torch.cat([q + more[0], k, v + more[1]]))
    torch.testing.assert_close(found, trunk.sam(images[0]), rtol=1e-3, atol=1e-4)


@torch.no_grad()
def test_the_first_adapter_is_before_the_block(trunk):
    silence(trunk, trunk.before_mlp)
    tokens = torch.randn(5, 8, 8, trunk.sam.vision.config.hidden_size)
    for block, layer in enumerate(trunk.sam.vision.layers):
        expected = layer(trunk.before_attention[block](tokens, 5))
        torch.testing.assert_close(trunk._block(tokens, block, 5), expected)


@torch.no_grad()
def test_the_second_adapter_is_between_attention_and_mlp(trunk):
    silence(trunk, trunk.before_attention)
    tokens = torch.randn(5, 8, 8, trunk.sam.vision.config.hidden_size)
    layer = trunk.sam.vision.layers[0]
    torch.nn.init.zeros_(layer.attn.proj.weight)
    torch.nn.init.zeros_(layer.attn.proj.bias)
    after = trunk.before_mlp[0](tokens, 5)
    torch.testing.assert_close(trunk._block(tokens, 0, 5), after + layer.mlp(layer.layer_norm2(after)))
