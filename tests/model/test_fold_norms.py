"""Batch norms that are folded into convolutions."""

import pytest
import torch
from torch import nn

from sautomed.model.fold_norms import fold_norms
from sautomed.model.trunk_efficientnet_lite import EfficientNetLite0Trunk
from sautomed.model.trunk_resnet import ResNetTrunk


def with_statistics(network):
    """Give every norm statistics and weights of its own, as a training does."""
    torch.manual_seed(0)
    for norm in norms_of(network):
        for values, low, high in ((norm.running_mean, -1, 1), (norm.running_var, 0.5, 2), (norm.weight, 0.5, 2)):
            nn.init.uniform_(values, low, high)
        nn.init.uniform_(norm.bias, -1, 1)
    return network.eval()


def norms_of(network):
    return [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]


@pytest.mark.parametrize(
    "make", [lambda: ResNetTrunk(16, 8, (8, 16), (1, 2)), lambda: EfficientNetLite0Trunk(16)], ids=["resnet", "lite0"]
)
@torch.inference_mode()
def test_features_stay_and_no_norm_is_left(make):
    trunk, images = with_statistics(make()), torch.rand(2, 3, 64, 64)
    before = trunk(images)
    fold_norms(trunk)
    after = trunk(images)
    assert not norms_of(trunk)
    for ours, theirs in zip((after.coarse, *after.fine), (before.coarse, *before.fine), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4 * float(theirs.abs().max()))


class Standardised(nn.Conv2d):
    """Changes its weights on the way, so that they cannot be folded into."""

    def forward(self, x):
        return nn.functional.conv2d(x, self.weight / self.weight.std(), self.bias)


class Backwards(nn.Sequential):
    """Runs its parts in another order than they stand."""

    def forward(self, x):
        return self[0](self[1](x))


@pytest.mark.parametrize(
    "network",
    [nn.Sequential(Standardised(3, 4, 1), nn.BatchNorm2d(4)), Backwards(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3))],
)
@torch.inference_mode()
def test_norms_that_cannot_be_folded_stay(network):
    with_statistics(network)
    images = torch.rand(2, 3, 8, 8)
    before = network(images)
    fold_norms(network)
    assert len(norms_of(network)) == 1
    assert torch.equal(network(images), before)
