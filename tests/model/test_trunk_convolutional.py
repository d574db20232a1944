"""What is put after a stage of a convolutional trunk is what the next stage sees."""

import pytest
import torch

from sautomed.model.trunk_efficientnet_lite import EfficientNetLite0Trunk
from sautomed.model.trunk_resnet import ResNetTrunk


@pytest.fixture(params=["resnet", "efficientnet_lite0"])
def trunk(request):
    torch.manual_seed(0)
    made = ResNetTrunk(8, 16, (16, 24, 32), (1, 1, 1)) if request.param == "resnet" else EfficientNetLite0Trunk(8)
    return made.eval()


@pytest.fixture
def images():
    return torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def test_mixers_get_every_stage_with_its_channels(trunk, images):
    seen = []

    def look(x):
        seen.append(x.shape[1])
        return x

    mixed, plain = trunk(images, [look] * len(trunk.stages)), trunk(images)
    assert tuple(seen) == trunk.stage_channels
    assert torch.equal(mixed.coarse, plain.coarse)


@torch.no_grad()
def test_a_mixer_changes_its_own_map_and_all_later_ones(trunk, images):
    mixers = [lambda x: x] * len(trunk.stages)
    plain = trunk(images, mixers)
    first = trunk(images, [lambda x: 0.5 * x, *mixers[1:]])
    last = trunk(images, [*mixers[:-1], lambda x: 0.5 * x])
    assert torch.equal(first.fine[0], 0.5 * plain.fine[0])
    assert torch.equal(first.fine[1], plain.fine[1])
    assert not torch.equal(first.coarse, plain.coarse)
    assert torch.equal(last.fine[0], plain.fine[0])
    assert not torch.equal(last.coarse, plain.coarse)


def test_the_gradient_of_a_map_arrives_in_channels_last(trunk, images):
    features = trunk.train()(images)
    seen = []
    features.coarse.register_hook(lambda gradient: seen.append(gradient))
    (features.coarse * torch.rand_like(features.coarse).contiguous()).sum().backward()
    assert seen[0].is_contiguous(memory_format=torch.channels_last)
