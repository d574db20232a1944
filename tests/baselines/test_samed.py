"""SAMed: its published sizes and checkpoints, its trained parameters, and that it learns on any trunk."""

from __future__ import annotations

import shutil

import pytest
import torch
from safetensors.torch import load_file

from sautomed import errors
from sautomed.baselines import build_segmenter
from sautomed.baselines.samed import Samed, assemble
from sautomed.config import Settings, TrainSettings, load_settings
from sautomed.config.baselines import SamedSettings
from sautomed.inference.bundle import Bundle, load_bundle, save_bundle
from sautomed.model.build import MadeTrunk
from sautomed.model.sam.keys import SIZES
from sautomed.model.sam.network import Sam, load_sam
from sautomed.model.sam.trunk import SAM_MEAN, SAM_STD, SamTrunk
from sautomed.training.slice_runs import SliceRun

from ..conftest import SMALL_MODEL
from ..model.sam import sam_reference
from ..model.sam.official_layout import Tiny, noise, official_state, write_official

SIZE, ORGANS, RANK = 128, 2, 3
UNREAD = ("head.prompt.point_embed", "head.prompt.not_a_point_embed", "head.prompt.mask_embed", "iou_prediction_head")


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return write_official(tmp_path_factory.mktemp("weights") / "sam_tiny.pth")


def on_sam(weights, **changes):
    return SamedSettings(trunk={"weights": str(weights), "lora": {"rank": RANK}}, **changes)


def from_scratch(**changes):
    return SamedSettings(**{key: SMALL_MODEL[key] for key in ("trunk", "dim", "decoder")}, **changes)


@pytest.fixture(params=["sam", "resnet"])
def settings(request, weights):
    return on_sam(weights) if request.param == "sam" else from_scratch()


def make_model(settings) -> Samed:
    """Build a model without parameters that are all zero, so that every part has an effect."""
    torch.manual_seed(0)
    model = build_segmenter(settings, ORGANS, SIZE)
    for parameter in model.parameters():
        if parameter.requires_grad and not parameter.any():
            torch.nn.init.normal_(parameter, std=0.05)
    return model.eval()


def images(count: int = 3):
    return noise(count * 3 * SIZE * SIZE, 9).reshape(count, 3, SIZE, SIZE).abs()


def predict(model, batch):
    with torch.no_grad():
        return model.logits(model.encode(batch))


# --- sizes ---


def test_it_has_the_published_number_of_parameters():
    with torch.device("meta"):
        sam = Sam(SIZES["b"], 512)
        model = assemble(SamedSettings(), MadeTrunk(SamTrunk(sam.vision, "medsam"), sam), 8)
    trained = {name: p.numel() for name, p in model.named_parameters() if p.requires_grad}
    assert sum(count for name, count in trained.items() if "lora_" in name) == 147_456
    assert sum(trained.values()) == 4_913_621
    assert sum(p.numel() for p in model.parameters()) == 87_278_848 + 4_913_621 == 92_192_469


def test_logits_of_every_class_at_stride_4(weights):
    assert predict(make_model(on_sam(weights)), images(1)).shape == (1, ORGANS + 1, SIZE // 4, SIZE // 4)


def test_a_batch_equals_its_slices_one_by_one(settings):
    model = make_model(settings)
    together = predict(model, images())
    one_by_one = torch.cat([predict(model, image[None]) for image in images()])
    torch.testing.assert_close(together, one_by_one, rtol=1e-4, atol=1e-4)


# --- initial parameters ---


def test_it_starts_from_sam_except_for_parts_that_depend_on_the_classes(weights):
    sam, decoder = load_sam(weights, SIZE).decoder.state_dict(), make_model(on_sam(weights)).head.decoder.state_dict()
    copied = {name for name, value in decoder.items() if torch.equal(value, sam[name])}
    random = {"mask_tokens", "output_hypernetworks_mlps", "iou_prediction_head"}
    assert {name.split(".")[0] for name in decoder.keys() - copied} == random
    assert not any(name.split(".")[0] in random for name in copied)


def test_images_are_not_normalised_unless_the_settings_ask_for_it(weights):
    default = make_model(on_sam(weights))
    normalised = make_model(SamedSettings(trunk={"weights": str(weights), "input_norm": "sam", "lora": {"rank": RANK}}))
    assert torch.equal(default.trunk.normalise(images()), images())
    assert not torch.equal(normalised.trunk.normalise(images()), images())
    assert default.pretrained.input_norm == "medsam"


# --- trained parameters ---


def test_gradients_reach_exactly_the_trained_parameters(settings):
    """Except for most of the prompt encoder and the IoU head, which count as trained but are not used."""
    model = make_model(settings).train()
    model.logits(model.encode(images())).square().mean().backward()
    reached = {name for name, p in model.named_parameters() if p.grad is not None}
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert reached == {name for name in trained if not any(part in name for part in UNREAD)}
    if model.pretrained:
        assert {name for name in trained if name.startswith("trunk.")} == {name for name in trained if "lora_" in name}
        assert all(p.grad.any() for name, p in model.named_parameters() if "lora_" in name)


@pytest.mark.slow
def test_it_learns_one_example(settings):
    torch.manual_seed(1)
    model = build_segmenter(settings, ORGANS, SIZE).train()
    labels = torch.zeros(1, 1, SIZE, SIZE, dtype=torch.long)
    labels[..., 20:60, 30:80] = 1
    labels[..., 80:110, 40:70] = 2
    image = (0.2 + 0.3 * labels.float())[:, :, None].expand(-1, 3, 3, -1, -1)
    run = SliceRun(image, labels, torch.tensor([True]), labels[:, 0])
    recipe = TrainSettings(loss_at="logits", dice_classes="all")
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], 1e-3)
    losses = []
    for _ in range(12):
        loss = model.losses(run, recipe, torch.Generator())["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]


# --- model folders ---


def experiment(settings):
    return Settings.model_validate({"model": settings, "data": {"image_size": SIZE}})


def test_a_model_folder_leaves_the_frozen_encoder_out(settings, tmp_path):
    model = make_model(settings)
    save_bundle(tmp_path / "model", Bundle(model, experiment(settings), {1: "a", 2: "b"}, "CT"))
    torch.testing.assert_close(predict(load_bundle(tmp_path / "model").network, images()), predict(model, images()))
    saved = load_file(tmp_path / "model" / "model.safetensors")
    assert {name for name, p in model.named_parameters() if p.requires_grad} <= saved.keys()
    if model.pretrained:
        assert {name for name in saved if name.startswith("trunk.")} == {name for name in saved if "lora_" in name}


def test_a_model_folder_is_loaded_without_the_checkpoint(weights, tmp_path):
    path = tmp_path / "epoch_159.pth"
    torch.save(published(), path)
    settings = on_sam(weights, checkpoint=str(path))
    model = make_model(settings)
    save_bundle(tmp_path / "model", Bundle(model, experiment(settings), {1: "a", 2: "b"}, "CT"))
    path.unlink()
    bundle = load_bundle(tmp_path / "model")
    assert torch.equal(predict(bundle.network, images(1)), predict(model, images(1)))
    assert bundle.settings.model.checkpoint == str(path)


# --- published checkpoints ---


def published(organs: int = ORGANS, rank: int = RANK):
    """Make a state as SAMed's training saves it: w_a and w_b (even: q, odd: v), prompt encoder and mask decoder."""
    dim, depth = Tiny().dim, Tiny().depth
    state = {f"w_a_{i:03d}": 0.2 * noise(rank * dim, 100 + i).reshape(rank, dim) for i in range(2 * depth)}
    state |= {f"w_b_{i:03d}": 0.2 * noise(rank * dim, 200 + i).reshape(dim, rank) for i in range(2 * depth)}
    for number, (name, value) in enumerate(official_state().items()):
        if name.startswith("mask_decoder.output_hypernetworks_mlps."):
            continue
        if name.startswith(("prompt_encoder.", "mask_decoder.")):
            state[name] = value + 0.05 * noise(value.numel(), 300 + number).reshape(value.shape)
    state["mask_decoder.mask_tokens.weight"] = noise((organs + 1) * 256, 7).reshape(-1, 256)
    state["mask_decoder.iou_prediction_head.layers.2.weight"] = noise((organs + 1) * 256, 8).reshape(-1, 256)
    state["mask_decoder.iou_prediction_head.layers.2.bias"] = noise(organs + 1, 9)
    for head in range(organs + 1):
        for layer, (inputs, outputs) in enumerate(((256, 256), (256, 256), (256, 32))):
            name = f"mask_decoder.output_hypernetworks_mlps.{head}.layers.{layer}"
            state[f"{name}.weight"] = noise(outputs * inputs, 40 + 3 * head + layer).reshape(outputs, inputs) / 16
            state[f"{name}.bias"] = noise(outputs, 60 + 3 * head + layer)
    return state


def write(tmp_path, change=None):
    state = published()
    if change:
        change(state)
    torch.save(state, tmp_path / "epoch_159.pth")
    return str(tmp_path / "epoch_159.pth")


@pytest.mark.parametrize("norm", ["medsam", "sam"])
def test_a_published_checkpoint_gives_weights_of_w_plus_b_a(weights, tmp_path, norm):
    net, grid, checkpoint = Tiny(), SIZE // 16, published()
    by_hand = sam_reference.stretch(official_state(), grid, net.global_blocks) | {
        name: value for name, value in checkpoint.items() if not name.startswith("w_")
    }
    for block in range(net.depth):
        name = f"image_encoder.blocks.{block}.attn.qkv.weight"
        q, k, v = by_hand[name].split(net.dim)
        q = q + checkpoint[f"w_b_{2 * block:03d}"] @ checkpoint[f"w_a_{2 * block:03d}"]
        v = v + checkpoint[f"w_b_{2 * block + 1:03d}"] @ checkpoint[f"w_a_{2 * block + 1:03d}"]
        by_hand[name] = torch.cat([q, k, v])
    pixels = images(1)[0]
    if norm == "sam":
        mean, std = (torch.tensor(x).view(3, 1, 1) for x in (SAM_MEAN, SAM_STD))
        pixels = (255 * pixels - mean) / std
    features = sam_reference.features(by_hand, pixels, net.heads, net.global_blocks)
    expected, _ = sam_reference.decode(by_hand, features, torch.zeros(0, 256), sam_reference.dense(by_hand, grid))

    trunk = {"weights": str(weights), "input_norm": norm, "lora": {"rank": RANK}}
    model = build_segmenter(SamedSettings(trunk=trunk, checkpoint=write(tmp_path)), ORGANS, SIZE)
    torch.testing.assert_close(predict(model, images(1))[0], expected, rtol=1e-3, atol=1e-3)


def test_prefixes_of_parallel_training_and_wrappers_are_removed(weights, tmp_path):
    state = published()
    torch.save({"model": {f"module.{key}": value for key, value in state.items()}}, tmp_path / "wrapped.pth")
    model = build_segmenter(on_sam(weights, checkpoint=str(tmp_path / "wrapped.pth")), ORGANS, SIZE)
    assert torch.equal(model.head.decoder.mask_tokens.weight, state["mask_decoder.mask_tokens.weight"])


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda s: s.pop("w_a_003"), r"1 missing: w_a_003"),
        (lambda s: s.pop("mask_decoder.iou_token.weight"), r"1 missing: mask_decoder\.iou_token\.weight"),
        (lambda s: s.update(w_a_006=s["w_a_000"]), r"1 unexpected: w_a_006"),
        (lambda s: s.update(w_b_000=s["w_b_000"][:, :2]), r"w_b_000 is \(32, 2\), not \(32, 3\)"),
        (lambda s: s["w_b_001"].fill_(float("nan")), r"1 not finite: w_b_001"),
        (lambda s: s.update(published(organs=5)), r"mask_tokens\.weight is \(6, 256\), not \(3, 256\)"),
        (lambda s: s.clear() or s.update(official_state()), r"missing: w_a_000.*unexpected: image_encoder"),
    ],
)
def test_every_difference_is_listed(weights, tmp_path, change, match):
    with pytest.raises(errors.WrongWeights, match=match):
        build_segmenter(on_sam(weights, checkpoint=write(tmp_path, change)), ORGANS, SIZE)


def test_a_missing_and_a_damaged_checkpoint_are_refused(weights, tmp_path):
    with pytest.raises(errors.WeightsNotFound, match="epoch_159"):
        build_segmenter(on_sam(weights, checkpoint=str(tmp_path / "epoch_159.pth")), ORGANS, SIZE)
    shutil.copy(weights, tmp_path / "cut.pth")
    (tmp_path / "cut.pth").write_bytes((tmp_path / "cut.pth").read_bytes()[:2000])
    with pytest.raises(errors.DamagedWeights):
        build_segmenter(on_sam(weights, checkpoint=str(tmp_path / "cut.pth")), ORGANS, SIZE)


# --- settings that do not go together ---


@pytest.mark.parametrize("lora", [{"targets": ("q",)}, {"alpha": 8.0}, {"rank": 0}])
def test_a_checkpoint_needs_lora_as_published(weights, tmp_path, lora):
    trunk = {"weights": str(weights), "lora": {"rank": RANK, **lora}}
    with pytest.raises(errors.UnknownSetting, match="q and v"):
        build_segmenter(SamedSettings(trunk=trunk, checkpoint=write(tmp_path)), ORGANS, SIZE)


def test_a_checkpoint_needs_sams_trunk(tmp_path):
    with pytest.raises(errors.UnknownSetting, match="from scratch"):
        build_segmenter(from_scratch(checkpoint=write(tmp_path)), ORGANS, SIZE)


def test_a_head_at_full_resolution_is_refused_on_sam(weights):
    with pytest.raises(errors.UnknownSetting, match="stride 4"):
        build_segmenter(on_sam(weights, decoder={"head": "full"}), ORGANS, SIZE)


def test_the_preset_is_the_published_recipe():
    preset = load_settings("samed", ["model.trunk.weights=elsewhere.pth"])
    trunk, train = preset.model.trunk, preset.train
    assert (trunk.input_norm, trunk.lora.rank, trunk.lora.targets) == ("medsam", 4, ("q", "v"))
    assert (preset.data.image_size, preset.data.window_hu) == (512, (-125.0, 275.0))
    assert (train.batch, train.learning_rate, train.weight_decay, train.clip_norm) == (24, 5e-3, 0.1, None)
    assert (train.loss_at, train.dice_classes, train.augment.recipe) == ("logits", "all", "samed")
