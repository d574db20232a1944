"""The ResNet trunk, held against transformers' ResNet with the same random weights."""

import pytest
import torch
from transformers import ResNetConfig, ResNetModel

from sautomed.model.trunk_resnet import ResNetTrunk

STEM, WIDTHS, DEPTHS = 8, (8, 16, 24), (1, 2, 2)  # no shortcut in the first stage, where nothing changes shape


@pytest.fixture
def theirs():
    torch.manual_seed(0)
    return ResNetModel(
        ResNetConfig(embedding_size=STEM, hidden_sizes=list(WIDTHS), depths=list(DEPTHS), layer_type="basic")
    )


def ours_from(theirs):
    trunk = ResNetTrunk(32, STEM, WIDTHS, DEPTHS)
    trunk.stem.load_state_dict(theirs.embedder.embedder.state_dict())
    trunk.stages.load_state_dict(theirs.encoder.stages.state_dict())
    return trunk


def test_parameters_have_the_names_and_the_order_of_transformers(theirs):
    """By the names a model folder is read, by the order the optimiser's state in a checkpoint."""
    trunk = ResNetTrunk(32, STEM, WIDTHS, DEPTHS)
    pairs = [(trunk.stem, theirs.embedder.embedder), (trunk.stages, theirs.encoder.stages)]
    for ours, other in pairs:
        assert [name for name, _ in ours.named_parameters()] == [name for name, _ in other.named_parameters()]


@pytest.mark.parametrize("training", [False, True])
def test_every_map_is_that_of_transformers_for_the_same_weights(theirs, training):
    trunk = ours_from(theirs).train(training)
    x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    expected = theirs.train(training)(x, output_hidden_states=True).hidden_states
    found = [trunk.pool(trunk.stem(x))]
    for stage in trunk.stages:
        found.append(stage(found[-1]))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


def test_gradients_are_those_of_transformers(theirs):
    trunk = ours_from(theirs)
    x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    theirs.train()(x).last_hidden_state.square().sum().backward()
    out = trunk.train().pool(trunk.stem(x))
    for stage in trunk.stages:
        out = stage(out)
    out.square().sum().backward()
    for ours, other in [(trunk.stem, theirs.embedder.embedder), (trunk.stages, theirs.encoder.stages)]:
        expected = dict(other.named_parameters())
        for name, parameter in ours.named_parameters():
            torch.testing.assert_close(parameter.grad, expected[name].grad, rtol=1e-3, atol=1e-3)


def test_weights_start_as_wide_as_those_of_transformers(theirs):
    spreads = (
        {name: x.std().item() for name, x in net.named_parameters() if x.ndim == 4}
        for net in (ResNetTrunk(32, STEM, WIDTHS, DEPTHS).stages, theirs.encoder.stages)
    )
    found, expected = spreads
    assert found.keys() == expected.keys()
    for name, spread in expected.items():
        assert found[name] == pytest.approx(spread, rel=0.25), name
