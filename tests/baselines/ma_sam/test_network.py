"""MA-SAM: its published sizes, the mixing of slices, its trained parameters, and that it learns on any trunk."""

import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from sautomed import errors
from sautomed.baselines import build_segmenter
from sautomed.baselines.ma_sam.network import MaSam, assemble
from sautomed.config import Settings, TrainSettings, load_settings, parse_settings
from sautomed.config.baselines import MaSamSettings
from sautomed.inference.bundle import Bundle, load_bundle, save_bundle
from sautomed.model.build import MadeTrunk
from sautomed.model.sam.keys import SIZES
from sautomed.model.sam.network import Sam
from sautomed.model.sam.trunk import SamTrunk
from sautomed.training.slice_runs import SliceRun

from .small import ORGANS, SIZE, from_scratch, make_model, on_sam, predict, stacks

# Trained as published, but not used without prompts, and no loss reaches the IoU head.
UNREAD = ("head.prompt.point_embed", "head.prompt.not_a_point_embed", "head.prompt.mask_embed", "iou_prediction_head")


# --- sizes ---


@pytest.mark.parametrize(
    ("size", "encoder", "adapters", "fact"),
    [("b", 87_278_848, 24_818_688, 73_728), ("h", 633_052_928, 91_414_528, 147_456)],
)
def test_it_has_the_published_number_of_parameters(size, encoder, adapters, fact):
    """ViT-B with 12 organs: 24.8 M + 0.07 M + 5.24 M (and 6,220 of the prompt encoder) = 30.1 M of 117.4 M."""
    with torch.device("meta"):
        sam = Sam(SIZES[size], 512)
        made = MadeTrunk(SamTrunk(sam.vision, "medsam", lora_rank=0), sam)
        model = MaSam(*assemble(MaSamSettings(), made, 12), 12)
    trained = {name: p.numel() for name, p in model.named_parameters() if p.requires_grad}
    decoder, prompt = 5_243_725, 6_220
    for part, count in (("before_", adapters), (".fact.", fact), ("head.decoder", decoder), ("head.prompt", prompt)):
        assert sum(number for name, number in trained.items() if part in name) == count
    assert sum(trained.values()) == adapters + fact + decoder + prompt
    assert sum(p.numel() for p in model.parameters()) == encoder + sum(trained.values())


def test_of_117_421_209_parameters_on_vit_b_30_142_361_are_trained():
    assert 24_818_688 + 73_728 + 5_243_725 + 6_220 == 30_142_361
    assert 30_142_361 + 87_278_848 == 117_421_209


def test_logits_are_as_large_as_the_images(settings):
    logits = predict(make_model(settings), stacks(2))
    assert logits.shape == (2, 5, ORGANS + 1, SIZE, SIZE)


# --- slices and stacks ---


@hypothesis_settings(max_examples=3, deadline=None)
@given(batch=st.integers(1, 3), slices=st.sampled_from([1, 3, 5]))
@pytest.mark.parametrize("kind", ["sam", "resnet"])
def test_a_batch_equals_its_stacks_one_by_one(kind, weights, batch, slices):
    model = make_model(on_sam(weights) if kind == "sam" else from_scratch())
    images = stacks(batch, slices)
    together, alone = predict(model, images), torch.cat([predict(model, one[None]) for one in images])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


def test_a_slice_changes_the_output_of_the_others(settings):
    model, images = make_model(settings), stacks(1)
    other = images.clone()
    other[:, 2] = 1 - other[:, 2]
    change = (predict(model, images) - predict(model, other)).abs().amax((0, 2, 3, 4))
    assert (change > 3e-5).all()  # rounding is 1e-7


def test_with_only_the_middle_tap_of_the_kernels_slices_are_independent(settings):
    model, images = make_model(settings), stacks(1)
    for name, parameter in model.named_parameters():
        if name.endswith("conv.weight") and parameter.ndim == 5:
            parameter.data[:, :, [0, 2]] = 0
    alone = torch.cat([predict(model, images[:, t : t + 1]) for t in range(5)], dim=1)
    torch.testing.assert_close(predict(model, images), alone, rtol=1e-4, atol=1e-5)


def test_the_order_of_a_stack_matters(settings):
    model, images = make_model(settings), stacks(1)
    assert (predict(model, images.flip(1)).flip(1) - predict(model, images)).abs().max() > 1e-3


def test_new_adapters_already_change_the_encoder(weights):
    """Unlike LoRA's, their up projection does not start at zero; FacT's V does."""
    model = build_segmenter(on_sam(weights), ORGANS, SIZE)
    assert not model.trunk.fact.v.weight.any()
    assert all(adapter.up.weight.any() for adapter in (*model.trunk.before_attention, *model.trunk.before_mlp))


def test_stacks_reach_two_slices_past_both_ends():
    model = make_model(from_scratch())
    assert (model.slices, model.stride, model.overhang, model.run_slices) == (5, 1, 2, 5)
    assert make_model(from_scratch(slices=3)).overhang == 1


# --- trained parameters ---


def example(seed=0):
    labels = torch.zeros(1, 5, SIZE, SIZE, dtype=torch.long)
    labels[:, :, 20:80, 10:60] = 1
    labels[:, 1:3, 90:110, 40:120] = 2
    images = 0.4 * labels.float() + 0.1 * torch.rand(labels.shape, generator=torch.Generator().manual_seed(seed))
    with_neighbours = torch.cat([images[:, :1], images, images[:, -1:]], dim=1)
    return SliceRun(
        with_neighbours[:, :, None].expand(-1, -1, 3, -1, -1).contiguous(), labels, torch.tensor([True]), labels[:, 0]
    )


def loss_of(model):
    return model.losses(example(), TrainSettings(dice_classes="all"), torch.Generator())["loss"]


def test_gradients_reach_exactly_the_trained_parameters(settings):
    model = make_model(settings)
    loss_of(model).backward()
    reached = {name for name, p in model.named_parameters() if p.grad is not None and p.grad.any()}
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert {name for name in trained - reached if not any(part in name for part in UNREAD)} == set()
    assert {name for name, p in model.named_parameters() if p.grad is not None} <= trained
    assert any(name.startswith("trunk.sam") for name, _ in model.named_parameters()) != any(
        name.startswith("trunk.net") for name in reached
    )


def test_sams_encoder_is_frozen(sam_model):
    assert not any(p.requires_grad for p in sam_model.trunk.sam.parameters())


def test_training_lowers_the_loss(settings):
    model = make_model(settings).train()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-3)
    first = loss_of(model)
    for _ in range(6):
        loss = loss_of(model)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss_of(model) < 0.97 * first


def test_checkpointing_changes_no_gradient(weights):
    settings = on_sam(weights)
    trunk = settings.trunk.model_copy(update={"gradient_checkpointing": True})
    gradients = []
    for chosen in (settings, settings.model_copy(update={"trunk": trunk})):
        model = make_model(chosen).train()
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        loss_of(model).backward()
        gradients.append(model.trunk.before_mlp[0].conv.weight.grad)
    torch.testing.assert_close(*gradients)


# --- model folders ---


def experiment(model_settings) -> Settings:
    return Settings(model=model_settings, data={"image_size": SIZE})


def test_a_model_folder_gives_the_same_output(settings, tmp_path):
    model = make_model(settings)
    save_bundle(tmp_path / "model", Bundle(model, experiment(settings), {1: "liver", 2: "spleen"}, "CT"))
    again = load_bundle(tmp_path / "model").network
    assert torch.equal(predict(again, stacks(1)), predict(model, stacks(1)))


def test_a_model_folder_leaves_sams_encoder_out(sam_model, weights, tmp_path):
    save_bundle(tmp_path / "model", Bundle(sam_model, experiment(on_sam(weights)), {1: "liver", 2: "spleen"}, "CT"))
    saved = load_file(tmp_path / "model" / "model.safetensors").keys()
    assert not any(name.startswith("trunk.sam") for name in saved)
    assert {name for name, p in sam_model.named_parameters() if p.requires_grad} <= saved


# --- settings ---


def test_the_preset_is_the_published_recipe():
    settings = load_settings("ma-sam")
    model, train = settings.model, settings.train
    assert (model.slices, model.fact_rank, model.adapter_width, model.trunk.lora.rank) == (5, 32, 384, 0)
    assert (train.learning_rate, train.weight_decay, train.batch, train.poly_power) == (8e-4, 0.1, 24, 7)
    assert train.steps * train.poly_horizon == pytest.approx(400 * 126, rel=1e-4)


def test_a_sam_trunk_has_no_lora_and_no_normalisation_whether_it_is_named_or_not():
    trunk = MaSamSettings(trunk={"weights": "sam.pth"}).trunk
    assert (trunk.lora.rank, trunk.input_norm, trunk.kind) == (0, "medsam", "sam")
    assert MaSamSettings().trunk == trunk.model_copy(update={"weights": "facebook/sam-vit-base"})


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"slices": 4}, "odd"),
        ({"stride": 6}, "between stacks"),
        ({"decoder": {"head": "coarse"}}, "full"),
        ({"decoder": {"heads": 3}}, "divide dim / 2"),
        ({"trunk": {"kind": "resnet"}, "checkpoint": "epoch_299.pth"}, "SAM trunk"),
    ],
)
def test_impossible_settings_are_refused(changes, match):
    with pytest.raises(errors.UnknownSetting, match=match):
        parse_settings({"model": {"name": "ma_sam", **changes}}, "settings.yaml")
