"""Slide-SAM's published checkpoints, written here key by key: the same output, and faults that are named."""

import pytest
import torch
from pydantic import ValidationError

from sautomed import errors
from sautomed.baselines import build_segmenter
from sautomed.baselines.slide_sam.checkpoint import read_published
from sautomed.config import Settings
from sautomed.config.baselines import SlideSamSettings
from sautomed.inference.bundle import Bundle, load_bundle, save_bundle

from ...conftest import SMALL_MODEL
from ...model.sam import sam_reference
from ...model.sam.official_layout import Tiny, noise, official_state
from .conftest import ORGANS, boxes, images

GRID_SIZE = 256  # pixels: the tiny SAM's own size, so that no table is resized
RANK = 5


def with_adapters(state, rank, salt):
    """Rename and extend SAM's keys as Slide-SAM's training does: `qkv` becomes a module with the old one and LoRA."""
    dim = Tiny().dim
    wrapped = {}
    for key, value in state.items():
        wrapped[key.replace(".attn.qkv.", ".attn.qkv.qkv.")] = value
    for block in range(Tiny().depth):
        for number, part in enumerate("qv"):
            a = noise(rank * dim, salt + 10 * block + number).reshape(rank, dim)
            b = noise(rank * dim, salt + 50 + 10 * block + number).reshape(dim, rank)
            wrapped[f"image_encoder.blocks.{block}.attn.qkv.linear_a_{part}.weight"] = 0.1 * a
            wrapped[f"image_encoder.blocks.{block}.attn.qkv.linear_b_{part}.weight"] = 0.1 * b
    return wrapped


def published(second=False):
    state = official_state()
    first = {key: value for key, value in state.items() if "mask_decoder.output_upscaling." in key}
    for number in (2, 3):
        for key, value in first.items():
            other = value + 0.2 * noise(value.numel(), 700 + number).reshape(value.shape)
            state[key.replace("output_upscaling.", f"output_upscaling{number}.")] = other
    name = "prompt_encoder.mask_downscaling.0.weight"
    state[name] = noise(48, 77).reshape(4, 3, 2, 2)
    state = with_adapters(state, RANK, 400)
    return with_adapters(state, 1, 600) if second else state


def folded(state):
    """Return the state of an equivalent SAM, with the adapters added to its weights."""
    state = dict(state)
    while any(".qkv.linear_" in key for key in state):
        depth = max(key.count(".qkv") for key in state)
        inner = ".attn" + ".qkv" * (depth - 1)
        for block in range(Tiny().depth):
            at = f"image_encoder.blocks.{block}{inner}."
            weight = state.pop(f"{at}qkv.weight").clone()
            for part, rows in (("q", slice(None, Tiny().dim)), ("v", slice(-Tiny().dim, None))):
                a, b = (state.pop(f"{at}linear_{kind}_{part}.weight") for kind in "ab")
                weight[rows] += b @ a
            state[f"{at}weight"] = weight
            state[f"{at}bias"] = state.pop(f"{at}qkv.bias")
    return state


def expected(state, image, box):
    """Compute masks and IoUs by plain functions: SAM's features, then a head for each slice."""
    mean, std = (torch.tensor(x)[:, None, None] for x in ([123.675, 116.28, 103.53], [58.395, 57.12, 57.375]))
    stretched = (image - image.min()) / (image.max() - image.min())
    features = sam_reference.features(state, (255 * stretched - mean) / std, 2, (2,))
    sparse = sam_reference.sparse(state, box * GRID_SIZE - torch.tensor([0.0, 0.0, 1.0, 1.0]), GRID_SIZE)
    masks = []
    for number in ("", 2, 3):
        heads = f"mask_decoder.output_upscaling{number}."
        swapped = {key.replace(heads, "mask_decoder.output_upscaling."): value for key, value in state.items()
                   if "output_upscaling" not in key or key.startswith(heads)}  # fmt: skip
        found, iou = sam_reference.decode(swapped, features, sparse, sam_reference.dense(swapped, GRID_SIZE // 16))
        masks.append(found[1:])
    return torch.stack(masks, 1), iou[1:]


def write(path, state, wrap=None):
    torch.save({wrap: state} if wrap else state, path)
    return path


@pytest.mark.parametrize("second", [False, True])
def test_a_published_network_has_the_same_output(second, tmp_path):
    state = published(second)
    path = write(tmp_path / "model.pth", state)
    model = build_segmenter(SlideSamSettings(checkpoint=str(path)), ORGANS, GRID_SIZE).eval()
    image = images(4).reshape(-1)[: 3 * GRID_SIZE * GRID_SIZE].reshape(3, GRID_SIZE, GRID_SIZE)
    box = boxes(1)[0]
    with torch.no_grad():
        masks, iou = model.decode(model.encode(image[None]), model.prompt_encoder.boxes(box[None]))
    wanted, reached = expected(folded(state), image, box)
    torch.testing.assert_close(masks[0], wanted, rtol=1e-3, atol=2e-3 * wanted.abs().max().item())
    torch.testing.assert_close(iou[0], reached, rtol=1e-3, atol=1e-3)
    assert not torch.allclose(masks[0, :, 0], masks[0, :, 1], atol=0.1)  # the heads differ


def test_additions_to_sam_are_loaded(tmp_path):
    state = published()
    model = build_segmenter(SlideSamSettings(checkpoint=str(write(tmp_path / "m.pth", state))), ORGANS, GRID_SIZE)
    mask_prompt = model.prompt_encoder.encoder.mask_embed.conv1.weight
    assert torch.equal(mask_prompt, state["prompt_encoder.mask_downscaling.0.weight"])
    lora = model.trunk.vision.layers[1].attn.qkv.v.lora_B["default"].weight
    assert torch.equal(lora, state["image_encoder.blocks.1.attn.qkv.linear_b_v.weight"])
    assert all(p.requires_grad for p in model.trunk.parameters())


@pytest.mark.parametrize("wrap", ["model", "state_dict"])
def test_it_may_be_wrapped_and_named_as_the_trunks_weights(wrap, tmp_path):
    state = {f"module.{key}": value for key, value in published().items()}
    path = write(tmp_path / "model.pth", state, wrap)
    by_trunk = build_segmenter(SlideSamSettings(trunk={"weights": str(path)}), ORGANS, 128)
    by_name = build_segmenter(SlideSamSettings(checkpoint=str(path)), ORGANS, 128)
    assert SlideSamSettings(checkpoint=str(path)) == SlideSamSettings(trunk={"weights": str(path)})
    for a, b in zip(by_trunk.parameters(), by_name.parameters(), strict=True):
        assert torch.equal(a, b)


def test_sams_own_weights_are_not_taken_for_a_checkpoint(weights):
    assert read_published(str(weights)) is None


def test_a_model_folder_is_loaded_without_the_checkpoint(tmp_path):
    """And with the checkpoint's rank, which is not that of the settings."""
    path = write(tmp_path / "model.pth", published())
    settings = Settings.model_validate(
        {"model": {"name": "slide_sam", "checkpoint": str(path)}, "data": {"image_size": 128}}
    )
    model = build_segmenter(settings.model, ORGANS, 128).eval()
    with torch.no_grad():
        model.decoder.iou_token.add_(1)
    save_bundle(tmp_path / "folder", Bundle(model, settings, {1: "a", 2: "b"}, "CT"))
    path.unlink()
    back = load_bundle(tmp_path / "folder").network
    assert back.pretrained == model.pretrained
    for (name, own), (other, found) in zip(model.state_dict().items(), back.state_dict().items(), strict=True):
        assert name == other
        assert torch.equal(own, found)


HEAD = "mask_decoder.output_upscaling3.1.weight"
LORA = "image_encoder.blocks.1.attn.qkv.linear_a_v.weight"
QKV = "image_encoder.blocks.0.attn.qkv.qkv.weight"
OUTER = "image_encoder.blocks.2.attn.qkv.linear_b_q.weight"


@pytest.mark.parametrize(
    ("second", "key", "value", "match"),
    [
        (False, HEAD, None, r"1 missing: mask_decoder\.output_upscaling3\.1\.weight"),
        (False, HEAD, torch.ones(63), r"1 misshapen: .*output_upscaling3\.1\.weight is \(63,\), not \(64,\)"),
        (False, LORA, None, r"1 missing: .*linear_a_v"),
        (False, LORA, torch.ones(RANK, 31), r"misshapen: .*linear_a_v\.weight is \(5, 31\), not \(5, 32\)"),
        (False, "mask_decoder.output_upscaling2.7.weight", torch.ones(3), r"1 unexpected: .*output_upscaling2\.7"),
        (False, "mask_decoder.extra", torch.ones(3), r"1 unexpected: mask_decoder\.extra"),
        (False, QKV, None, r"missing: image_encoder\.blocks\.0\.attn\.qkv\.weight"),
        (False, "prompt_encoder.mask_downscaling.0.weight", None, r"missing: prompt_encoder\.mask_downscaling\.0"),
        (False, "prompt_encoder.mask_downscaling.0.weight", torch.ones(4, 1, 2, 2), r"misshapen: prompt_encoder"),
        (True, OUTER, None, r"1 missing: image_encoder\.blocks\.2\.attn\.qkv\.linear_b_q"),
        (True, OUTER, torch.ones(32, 2), r"misshapen: .*linear_b_q\.weight is \(32, 2\), not \(32, 1\)"),
        (True, "image_encoder.blocks.0.attn.qkv.qkv.qkv.weight", torch.ones(9, 32), r"misshapen: .*qkv\.weight"),
    ],
)
def test_every_difference_is_named(second, key, value, match, tmp_path):
    state = published(second)
    state.pop(key, None)
    if value is not None:
        state[key] = value
    path = write(tmp_path / "model.pth", state)
    with pytest.raises(errors.WrongWeights, match=match):
        build_segmenter(SlideSamSettings(checkpoint=str(path)), ORGANS, 128)


def test_a_checkpoint_needs_sams_trunk_and_sizes(tmp_path):
    with pytest.raises(ValidationError, match="kind=sam"):
        SlideSamSettings(checkpoint="model.pth", trunk=SMALL_MODEL["trunk"])
    path = write(tmp_path / "model.pth", published())
    with pytest.raises(errors.UnknownSetting, match="sizes are fixed"):
        build_segmenter(SlideSamSettings(checkpoint=str(path), dim=128), ORGANS, 128)
    for lora in ({"alpha": 5.0}, {"targets": ("q",)}):
        with pytest.raises(errors.UnknownSetting, match="scale of 1"):
            build_segmenter(SlideSamSettings(checkpoint=str(path), trunk={"lora": lora}), ORGANS, 128)
    with pytest.raises(errors.WeightsNotFound):
        build_segmenter(SlideSamSettings(checkpoint=str(tmp_path / "none.pth")), ORGANS, 128)
