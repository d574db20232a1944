"""TransUNet: its number of parameters, its shapes and maps, and that it learns."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sautomed.baselines import build_segmenter
from sautomed.config import TrainSettings, load_settings
from sautomed.config.baselines import TransUNetSettings
from sautomed.errors import UnknownSetting
from sautomed.inference.memory import trunk_cost
from sautomed.model.losses import walk_losses

SMALL = {"name": "transunet", "width": 32, "units": [1, 1, 1], "dim": 24, "layers": 1, "heads": 2, "mlp": 32}


def make(side=32, classes=2, **changes):
    torch.manual_seed(0)
    model = build_segmenter(TransUNetSettings.model_validate({**SMALL, **changes}), classes, side)
    torch.nn.init.normal_(model.transformer.positions)
    return model


def logits_of(model, images):
    features = model.encode(images)
    return model.step(model.share(features, features, features), model.start(len(images))).logits


def test_it_has_the_published_number_of_parameters():
    with torch.device("meta"):
        model = build_segmenter(load_settings("transunet").model, 8, 224)
    assert sum(parameter.numel() for parameter in model.parameters()) == 105_277_081


@settings(max_examples=5, deadline=None)
@given(batch=st.integers(2, 4), side=st.sampled_from([32, 48, 80]))
def test_a_batch_equals_its_images_one_by_one_at_any_multiple_of_16(batch, side):
    model, images = make(side).eval(), torch.rand(batch, 3, side, side)
    with torch.inference_mode():
        together = logits_of(model, images)
        alone = torch.cat([logits_of(model, one[None]) for one in images])
    assert together.shape == (batch, 3, side, side)
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


def test_another_image_size_is_refused():
    with pytest.raises(UnknownSetting, match="no multiple") as caught:
        make(side=40)
    assert "multiple of 16" in caught.value.cure


def test_inference_is_the_computation_that_is_trained():
    """PyTorch has another, faster implementation of transformers without gradients."""
    model, images = make(dropout=0.0).eval(), torch.rand(1, 3, 32, 32)
    trained = logits_of(model, images)
    with torch.inference_mode():
        torch.testing.assert_close(logits_of(model, images), trained, rtol=1e-4, atol=1e-5)


def test_the_skips_are_the_maps_at_strides_8_4_and_2():
    model = make().eval()
    coarsest, skips = model.resnet(torch.rand(1, 3, 32, 32))
    assert coarsest.shape == (1, 512, 2, 2)
    assert [skip.shape for skip in skips] == [(1, 256, 4, 4), (1, 128, 8, 8), (1, 32, 16, 16)]
    assert not skips[1][:, :, -1].any()
    assert not skips[1][..., -1].any()


def test_filters_are_standardised():
    """An offset or a factor of a filter changes nothing."""
    model, images = make().eval(), torch.rand(1, 3, 32, 32)
    before = model.resnet(images)[0]
    with torch.no_grad():
        model.resnet.conv.weight.mul_(3).add_(0.5)
    torch.testing.assert_close(model.resnet(images)[0], before, rtol=1e-3, atol=1e-3)


def test_every_parameter_has_a_gradient():
    model = make().train()
    logits_of(model, torch.rand(2, 3, 32, 32)).square().mean().backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_it_learns_an_example():
    model = make(dropout=0.0).train()
    labels = torch.zeros(2, 1, 32, 32, dtype=torch.long)
    labels[:, :, 8:20, 8:20] = 1
    images = labels.float().expand(-1, 3, -1, -1) * 0.5 + 0.2
    train = TrainSettings(ce_weight=0.5, dice_weight=0.5)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    losses = []
    for _ in range(8):
        features = model.encode(images)
        out = model.step(model.share(features, features, features), model.start(2))
        loss = walk_losses([out], labels, train)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]


def test_its_memory_is_counted():
    cost = trunk_cost(make(side=128).eval(), 128)
    assert cost.features == 16 * 128 * 128 * 4
    assert cost.per_slice > cost.features


@pytest.mark.parametrize("wrong", [{"heads": 5}, {"units": [3, 0, 9]}, {"width": 48}])
def test_sizes_that_do_not_fit_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        TransUNetSettings.model_validate({**SMALL, **wrong})


def test_the_preset_is_the_published_recipe():
    preset = load_settings("transunet")
    train = preset.train
    assert preset.data.image_size == 224
    assert (train.optimizer, train.learning_rate, train.momentum, train.weight_decay) == ("sgd", 0.01, 0.9, 1e-4)
    assert (train.batch, train.ce_weight, train.dice_weight, train.dice_classes) == (24, 0.5, 0.5, "all")
