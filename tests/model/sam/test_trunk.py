"""The SAM trunk: scaling of its input, what it trains, and what it keeps for the backward pass."""

from __future__ import annotations

import pytest
import torch

from sautomed.config import SamTrunkSettings
from sautomed.errors import UnknownSetting
from sautomed.model.sam.keys import SamSizes
from sautomed.model.sam.network import build_sam, load_sam
from sautomed.model.sam.parts import checkpoint_block
from sautomed.model.sam.trunk import SAM_MEAN, SAM_STD, SamTrunk, sam_trunk
from sautomed.model.sam.weights import read_sam_weights

from .official_layout import official_state

TINY = SamSizes(dim=16, depth=3, heads=2, global_blocks=(2,), grid=8)


def _sam(seed: int = 0):
    torch.manual_seed(seed)
    return build_sam(TINY, 128)


def _images(count: int = 2) -> torch.Tensor:
    return torch.rand(count, 3, 128, 128, generator=torch.Generator().manual_seed(3))


def _bytes_kept(trunk: SamTrunk) -> int:
    """Memory that the forward pass holds for the backward pass, apart from the parameters."""
    parameters = {p.data_ptr() for p in trunk.parameters()}
    kept = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() not in parameters:
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        trunk(_images())
    return sum(kept.values())


def test_shape_and_what_it_says_of_itself():
    trunk = SamTrunk(_sam().vision)
    assert trunk(_images()).shape == (2, trunk.channels, 128 // trunk.stride, 128 // trunk.stride)
    assert (trunk.channels, trunk.stride, trunk.fine_channels) == (256, 16, ())


def test_sam_sees_images_by_its_mean_and_standard_deviation_on_0_to_255():
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (SAM_MEAN, SAM_STD))
    with torch.no_grad():
        expected = _sam().encode_image((255 * _images() - mean) / std)
        torch.testing.assert_close(SamTrunk(_sam().vision, "sam")(_images()), expected, rtol=1e-4, atol=1e-5)


def test_medsam_sees_images_as_they_are():
    trunk = SamTrunk(_sam().vision, "medsam", lora_rank=0)
    assert torch.equal(trunk.normalise(_images()), _images())
    with torch.no_grad():
        assert torch.equal(trunk(_images()), _sam().encode_image(_images()))


def test_only_adapters_get_gradients():
    trunk = SamTrunk(_sam().vision)
    trunk(_images())[:, 0].sum().backward()
    with_gradient = {name for name, p in trunk.named_parameters() if p.grad is not None}
    assert with_gradient == {name for name, p in trunk.named_parameters() if "lora_" in name}


def test_without_adapters_nothing_is_trained_or_kept():
    trunk = SamTrunk(_sam().vision, lora_rank=0)
    assert not trunk(_images()).requires_grad
    assert not any(p.requires_grad for p in trunk.parameters())


def test_checkpointing_changes_no_gradient():
    gradients = []
    for checkpointing in (False, True):
        torch.manual_seed(1)
        trunk = SamTrunk(_sam().vision, gradient_checkpointing=checkpointing).train()
        with torch.no_grad():  # B starts at zero, which would hide A's gradient
            for name, p in trunk.named_parameters():
                if "lora_B" in name:
                    p.fill_(0.01)
        trunk(_images())[:, ::3].sum().backward()  # not all channels: after a norm their sum and squares are fixed
        gradients.append({name: p.grad for name, p in trunk.named_parameters() if p.requires_grad})
    for name, gradient in gradients[0].items():
        assert gradient.abs().max() > 0
        torch.testing.assert_close(gradients[1][name], gradient, rtol=1e-5, atol=1e-8)


def test_checkpointing_keeps_less():
    plain = SamTrunk(_sam().vision).train()
    checkpointed = SamTrunk(_sam().vision, gradient_checkpointing=True).train()
    assert _bytes_kept(checkpointed) < 0.3 * _bytes_kept(plain)


def test_the_frozen_layers_keep_no_input():
    """GELU's derivative needs the MLP's hidden activations, but nobody needs the input of a frozen layer."""
    frozen, trained = SamTrunk(_sam().vision), SamTrunk(_sam().vision)
    trained.vision.requires_grad_(True)
    assert _bytes_kept(frozen) < 0.8 * _bytes_kept(trained)


def test_one_attention_map_per_block_is_kept():
    """Windowed blocks hold one padded window of 14 x 14, the global one 8 x 8 places; 2 heads, 2 images, float32."""
    maps = 4 * 2 * 2 * (2 * 196**2 + 64**2)
    rest = _bytes_kept(SamTrunk(_sam().vision).train()) - maps
    assert 0 < rest < maps


def test_scaling_is_not_saved_with_the_weights():
    assert not {"mean", "std"} & SamTrunk(_sam().vision).state_dict().keys()


def test_an_image_size_that_sam_cannot_take():
    vision = _sam().vision
    vision.config.image_size = 136
    with pytest.raises(UnknownSetting, match="136"):
        SamTrunk(vision)


def test_settings_make_the_trunk(tmp_path):
    path = tmp_path / "medsam_tiny.pth"
    torch.save(official_state(), path)
    settings = SamTrunkSettings(weights=str(path), lora={"rank": 2, "targets": ("v",)}, gradient_checkpointing=True)
    trunk, sam, origin = sam_trunk(settings, 128)
    assert trunk.vision is sam.vision
    assert (origin.sha256, origin.input_norm) == (read_sam_weights(path).sha256, "medsam")
    assert trunk.run_block is checkpoint_block
    assert {name.split(".")[-3] for name, p in trunk.named_parameters() if p.requires_grad} == {"lora_A", "lora_B"}
    with torch.no_grad():
        expected = load_sam(path, image_size=128).encode_image(_images())  # MedSAM by name: images as they are
        torch.testing.assert_close(trunk(_images()), expected, rtol=1e-4, atol=1e-5)
