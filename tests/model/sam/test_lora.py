"""LoRA: nothing changes at first, then only queries and values do."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sautomed.errors import UnknownSetting
from sautomed.model.sam.keys import SIZES, SamSizes
from sautomed.model.sam.lora import SplitQkv, add_lora
from sautomed.model.sam.network import build_sam
from sautomed.model.sam.parts import encode, make_vision

TINY = SamSizes(dim=16, depth=2, heads=2, global_blocks=(1,), grid=8)


def _vision(seed: int = 0):
    torch.manual_seed(seed)
    return build_sam(TINY, 128).vision


def _image() -> torch.Tensor:
    return torch.rand(1, 3, 128, 128, generator=torch.Generator().manual_seed(1))


def _trainable(module: nn.Module) -> dict[str, nn.Parameter]:
    return {name: p for name, p in module.named_parameters() if p.requires_grad}


def _train_two_steps(vision) -> None:
    optimiser = torch.optim.SGD(_trainable(vision).values(), lr=0.5)
    for _ in range(2):  # the first step moves only B, which starts at zero; the second moves A too
        features = encode(vision, _image())
        (features * torch.linspace(-1, 1, features.numel()).sin().reshape(features.shape)).sum().backward()
        optimiser.step()


def test_three_layers_answer_like_the_fused_one():
    fused = nn.Linear(12, 36)
    x = torch.randn(5, 7, 12)
    torch.testing.assert_close(SplitQkv(fused)(x), fused(x))


def test_three_layers_without_bias():
    fused = nn.Linear(12, 36, bias=False)
    x = torch.randn(4, 12)
    torch.testing.assert_close(SplitQkv(fused)(x), fused(x))


def test_at_first_the_output_is_unchanged_bit_for_bit():
    plain, adapted = _vision(), _vision()
    for block in plain.layers:
        block.attn.qkv = SplitQkv(block.attn.qkv)
    add_lora(adapted)
    with torch.no_grad():
        assert torch.equal(encode(adapted, _image()), encode(plain, _image()))


def test_at_first_the_output_is_that_of_the_fused_encoder():
    plain, adapted = _vision(), _vision()
    add_lora(adapted)
    with torch.no_grad():
        torch.testing.assert_close(encode(adapted, _image()), encode(plain, _image()), rtol=1e-5, atol=1e-6)


def test_vit_b_has_as_many_adapter_parameters_as_samed():
    with torch.device("meta"):
        vision = make_vision(SIZES["b"], 512)
        add_lora(vision, rank=4)
    assert sum(p.numel() for p in _trainable(vision).values()) == 147_456


def test_only_adapters_on_queries_and_values_are_trainable():
    vision = _vision()
    add_lora(vision)
    names = _trainable(vision)
    assert len(names) == TINY.depth * 2 * 2
    assert all("lora_" in name and (".qkv.q." in name or ".qkv.v." in name) for name in names)


def test_training_moves_queries_and_values_and_leaves_keys_and_the_rest_untouched():
    vision = _vision()
    add_lora(vision)
    before = {name: tensor.clone() for name, tensor in vision.state_dict().items()}
    x = torch.randn(3, TINY.dim)
    with torch.no_grad():
        q, k, v = (getattr(vision.layers[0].attn.qkv, third)(x) for third in "qkv")
    _train_two_steps(vision)
    after = vision.state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved == set(_trainable(vision))
    qkv = vision.layers[0].attn.qkv
    with torch.no_grad():
        assert torch.equal(qkv.k(x), k)
        assert not torch.equal(qkv.q(x), q)
        assert not torch.equal(qkv.v(x), v)
    assert all(p.grad is None for p in qkv.k.parameters())


def test_alpha_scales_the_adapters():
    outs = []
    for alpha in (None, 4, 8):
        vision = _vision()
        add_lora(vision, rank=4, alpha=alpha)
        q = vision.layers[0].attn.qkv.q
        with torch.no_grad():
            q.lora_A["default"].weight.fill_(0.1)
            q.lora_B["default"].weight.fill_(0.1)
            x = torch.ones(1, TINY.dim)
            outs.append(q(x) - q.base_layer(x))
    torch.testing.assert_close(outs[1], outs[0])
    torch.testing.assert_close(outs[2], 2 * outs[0])


def test_other_targets():
    vision = _vision()
    add_lora(vision, rank=2, targets=("k",))
    assert all(".qkv.k." in name for name in _trainable(vision))
    assert len(_trainable(vision)) == TINY.depth * 2


@pytest.mark.parametrize("wrong", [{"rank": 0}, {"targets": ()}, {"targets": ("q", "proj")}])
def test_settings_that_make_no_adapter_are_refused(wrong):
    with pytest.raises(UnknownSetting, match="LoRA"):
        add_lora(_vision(), **wrong)


def test_adapters_are_put_in_once():
    vision = _vision()
    add_lora(vision)
    with pytest.raises(ValueError, match="already"):
        add_lora(vision)
