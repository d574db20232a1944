"""swin_tiny_patch4_window7_224.pth: loading it gives the encoder of `transformers`' Swin, mirrored in the decoder."""

import os
import re

import pytest
import torch
from safetensors.torch import save_file
from transformers import SwinConfig, SwinModel

from sautomed.baselines import build_segmenter
from sautomed.config.baselines import SwinUnetSettings
from sautomed.errors import DamagedWeights, UnsafeWeights, WeightsNotFound, WrongWeights

DIM, HEADS = 12, (1, 2, 3, 4)
SMALL = {"dim": DIM, "heads": HEADS}


def published(depths=(2, 2, 6, 2)):
    """Make tensors with the names and shapes of Microsoft's file."""
    generator = torch.Generator().manual_seed(0)
    state = {}

    def put(name, *shape):
        state[name] = torch.randn(*shape, generator=generator) * 0.2

    def both(name, out, *into):
        put(f"{name}.weight", out, *into)
        put(f"{name}.bias", out)

    both("patch_embed.proj", DIM, 3, 4, 4)
    both("patch_embed.norm", DIM)
    for stage, (depth, heads) in enumerate(zip(depths, HEADS, strict=True)):
        width = DIM * 2**stage
        for block in range(depth):
            name = f"layers.{stage}.blocks.{block}"
            both(f"{name}.norm1", width)
            put(f"{name}.attn.relative_position_bias_table", 169, heads)
            state[f"{name}.attn.relative_position_index"] = torch.zeros(49, 49, dtype=torch.long)
            both(f"{name}.attn.qkv", 3 * width, width)
            both(f"{name}.attn.proj", width, width)
            both(f"{name}.norm2", width)
            both(f"{name}.mlp.fc1", 4 * width, width)
            both(f"{name}.mlp.fc2", width, 4 * width)
            if block % 2:
                put(f"{name}.attn_mask", 4, 49, 49)
        if stage < 3:
            put(f"layers.{stage}.downsample.reduction.weight", 2 * width, 4 * width)
            both(f"layers.{stage}.downsample.norm", 4 * width)
    both("norm", 8 * DIM)
    both("head", 1000, 8 * DIM)
    return state


def write(folder, state):
    path = folder / "swin_tiny_patch4_window7_224.pth"
    torch.save({"model": state}, path)
    return path


def build(path, **changes):
    return build_segmenter(SwinUnetSettings(**SMALL, weights=str(path), **changes), 2, 224).eval()


HUB_NAMES = (
    (r"^patch_embed\.proj", "embeddings.patch_embeddings.projection"),
    (r"^patch_embed\.norm", "embeddings.norm"),
    (r"^norm\.", "layernorm."),
    (r"^layers", "encoder.layers"),
    (r"\.norm1\.", ".layernorm_before."),
    (r"\.norm2\.", ".layernorm_after."),
    (r"\.attn\.proj\.", ".attention.output.dense."),
    (r"\.attn\.relative", ".attention.self.relative"),
    (r"\.mlp\.fc1\.", ".intermediate.dense."),
    (r"\.mlp\.fc2\.", ".output.dense."),
)


def hub_model(state, folder):
    """Load the same numbers into `transformers`' Swin, from a folder in the hub's layout."""
    hub = {}
    for name, value in state.items():
        too_deep = re.match(r"layers\.2\.blocks\.[2-5]\.", name)
        if too_deep or name.startswith("head.") or name.endswith(("attn_mask", "relative_position_index")):
            continue
        ours = name
        for pattern, new in HUB_NAMES:
            ours = re.sub(pattern, new, ours)
        if ".attn.qkv." in ours:
            for part, third in zip(("query", "key", "value"), value.chunk(3), strict=True):
                hub[f"swin.{ours.replace('.attn.qkv.', f'.attention.self.{part}.')}"] = third.contiguous()
        else:
            hub[f"swin.{ours}"] = value
    folder.mkdir()
    SwinConfig(
        embed_dim=DIM, depths=[2, 2, 2, 2], num_heads=list(HEADS), image_size=224, architectures=["SwinModel"]
    ).save_pretrained(folder)
    save_file(hub, folder / "model.safetensors", {"format": "pt"})
    model, info = SwinModel.from_pretrained(folder, output_loading_info=True, add_pooling_layer=False)
    assert not info["missing_keys"]
    return model.eval()


def test_the_encoder_equals_transformers_swin(tmp_path):
    state = published()
    model, reference = build(write(tmp_path, state)), hub_model(state, tmp_path / "hub")
    images = torch.rand(2, 3, 224, 224)
    with torch.inference_mode():
        x = model.patch_embed(images)
        for stage in model.layers:
            x = stage(x)
        found = model.norm(x).flatten(1, 2)
        torch.testing.assert_close(found, reference(images).last_hidden_state, rtol=1e-3, atol=1e-3)


def test_the_decoder_mirrors_the_encoder(tmp_path):
    state = published()
    model = build(write(tmp_path, state))
    own = model.state_dict()
    for stage in range(3):
        for block in range(2):
            for part in ("norm1.weight", "attn.relative_position_bias_table", "attn.qkv.weight", "attn.proj.bias"):
                expected = state[f"layers.{stage}.blocks.{block}.{part}"]
                assert torch.equal(own[f"layers.{stage}.blocks.{block}.{part}"], expected)
                assert torch.equal(own[f"up.{stage}.blocks.{block}.{part}"], expected)
            expected = state[f"layers.{stage}.blocks.{block}.mlp.fc2.weight"]
            assert torch.equal(own[f"up.{stage}.blocks.{block}.mlp.linear2.weight"], expected)


def test_parameters_without_a_counterpart_are_unchanged(tmp_path):
    path = write(tmp_path, published())
    torch.manual_seed(1)
    fresh = build_segmenter(SwinUnetSettings(**SMALL), 2, 224).state_dict()
    torch.manual_seed(1)
    same = {name for name, x in build(path).state_dict().items() if torch.equal(x, fresh[name])}
    trained = {name for name in same if not name.endswith("relative_position_index")}
    assert trained
    assert all(re.match(r"norm_up|final|up\.\d\.(upsample|join)", name) for name in trained)


def test_a_file_without_the_key_model_is_read_too(tmp_path):
    state = published()
    path = tmp_path / "swin.safetensors"
    save_file(state, path)
    assert torch.equal(build(path).norm.weight, state["norm.weight"])


def test_every_difference_is_listed(tmp_path):
    state = published()
    del state["layers.1.blocks.0.attn.qkv.bias"]
    state["norm.weight"] = torch.zeros(7)
    state["layers_up.1.blocks.0.norm1.weight"] = torch.zeros(4)
    with pytest.raises(WrongWeights) as caught:
        build(write(tmp_path, state))
    for words in (
        "1 missing: layers.1.blocks.0.attn.qkv.bias.",
        "1 unexpected: layers_up.1.blocks.0.norm1.weight.",
        "1 misshapen: norm.weight is (7,), not (96,).",
    ):
        assert words in caught.value.fault


def test_a_shallower_swin_is_refused(tmp_path):
    with pytest.raises(WrongWeights, match=r"missing: layers\.2\.blocks\.1"):
        build(write(tmp_path, published((2, 2, 1, 2))))


def test_integers_and_numbers_that_are_not_finite_are_refused(tmp_path):
    state = published()
    state["norm.bias"][2] = torch.inf
    state["patch_embed.norm.bias"] = state["patch_embed.norm.bias"].long()
    with pytest.raises(WrongWeights, match=r"floating point: patch_embed.norm.bias. 1 not finite: norm.bias"):
        build(write(tmp_path, state))


class Evil:
    def __reduce__(self):
        return (os.getenv, ("HOME",))


def test_missing_damaged_and_other_files_are_refused(tmp_path):
    with pytest.raises(WeightsNotFound):
        build(tmp_path / "nothing.pth")
    path = write(tmp_path, {**published(), "evil": Evil()})
    with pytest.raises(UnsafeWeights):
        build(path)
    path.write_bytes(write(tmp_path, published()).read_bytes()[:3000])
    with pytest.raises(DamagedWeights):
        build(path)
    path.write_text("some text")
    with pytest.raises(WrongWeights) as caught:
        build(path)
    assert "swin_tiny" in caught.value.cure
