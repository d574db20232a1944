"""Swin-Unet: its number of parameters, its shapes and blocks, and that it learns."""

import pytest
import torch
from einops import rearrange

from sautomed.baselines import build_segmenter
from sautomed.baselines.swin_unet.network import FinalExpansion
from sautomed.config import TrainSettings, load_settings
from sautomed.config.baselines import SwinUnetSettings
from sautomed.errors import UnknownSetting
from sautomed.inference.memory import trunk_cost
from sautomed.model.losses import walk_losses

SMALL = {"name": "swin_unet", "dim": 12, "heads": [1, 2, 3, 4]}


def make(side=224, classes=2, **changes):
    torch.manual_seed(0)
    return build_segmenter(SwinUnetSettings.model_validate({**SMALL, **changes}), classes, side)


def logits_of(model, images):
    features = model.encode(images)
    return model.step(model.share(features, features, features), model.start(len(images))).logits


def test_it_has_the_published_number_of_parameters():
    with torch.device("meta"):
        model = build_segmenter(load_settings("swin-unet").model, 8, 224)
    assert sum(parameter.numel() for parameter in model.parameters()) == 27_168_900


@pytest.mark.parametrize(("side", "batch"), [(224, 3), (448, 2)])
def test_a_batch_equals_its_images_one_by_one(side, batch):
    model, images = make(side).eval(), torch.rand(batch, 3, side, side)
    with torch.inference_mode():
        together = logits_of(model, images)
        alone = torch.cat([logits_of(model, one[None]) for one in images])
    assert together.shape == (batch, 3, side, side)
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("side", [160, 256, 512])
def test_another_image_size_is_refused(side):
    with pytest.raises(UnknownSetting, match=str(side)) as caught:
        make(side)
    assert "224" in caught.value.cure


@pytest.mark.parametrize("side", [224, 448, 672, 896])
def test_the_sizes_that_the_message_names_are_possible(side):
    settings = load_settings("swin-unet", [f"data.image_size={side}"])
    with torch.device("meta"):
        build_segmenter(settings.model, 1, side)


def test_classifying_pixels_before_they_are_rearranged_equals_the_published_order():
    final, x = FinalExpansion(8, 2), torch.rand(2, 3, 3, 8)
    pixels = rearrange(final.expand(x), "n h w (row column c) -> n (h row) (w column) c", row=4, column=4)
    expected = final.classify(final.norm(pixels)).permute(0, 3, 1, 2)
    torch.testing.assert_close(final(x), expected)


def test_every_parameter_has_a_gradient():
    model = make(drop_path=0.0).train()
    logits_of(model, torch.rand(2, 3, 224, 224)).square().mean().backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_later_blocks_are_skipped_more_often():
    model = make(drop_path=0.3)
    rates = [getattr(block.drop_path, "drop_prob", 0.0) for stage in model.layers for block in stage.blocks]
    assert rates == sorted(rates)
    assert rates[0] == 0
    assert rates[-1] == pytest.approx(0.3)
    mirrored = [getattr(block.drop_path, "drop_prob", 0.0) for stage in model.up for block in stage.blocks]
    assert mirrored == rates[: len(mirrored)]


@pytest.mark.slow
def test_it_learns_an_example():
    model = make(drop_path=0.0).train()
    labels = torch.zeros(1, 1, 224, 224, dtype=torch.long)
    labels[:, :, 50:150, 60:140] = 1
    images = labels.float().expand(-1, 3, -1, -1) * 0.5 + 0.2
    train = TrainSettings(ce_weight=0.4, dice_weight=0.6)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    losses = []
    for _ in range(10):
        features = model.encode(images)
        out = model.step(model.share(features, features, features), model.start(1))
        loss = walk_losses([out], labels, train)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]


def test_its_memory_is_counted():
    cost = trunk_cost(make().eval(), 224)
    assert cost.features == 12 * 56 * 56 * 4
    assert cost.per_slice >= 2 * 12 * 224 * 224 * 4  # before and after the norm at full resolution


@pytest.mark.parametrize("wrong", [{"heads": [5, 6, 12, 24]}, {"depths": [2, 2, 0, 2]}, {"drop_path": 1.0}])
def test_sizes_that_do_not_fit_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        SwinUnetSettings.model_validate(wrong)


def test_the_preset_is_the_published_recipe():
    preset = load_settings("swin-unet")
    train = preset.train
    assert preset.data.image_size == 224
    assert (train.optimizer, train.learning_rate, train.momentum, train.weight_decay) == ("sgd", 0.05, 0.9, 1e-4)
    assert (train.batch, train.ce_weight, train.dice_weight, train.dice_classes) == (24, 0.4, 0.6, "all")
