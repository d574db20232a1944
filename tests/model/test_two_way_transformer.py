"""SAM's two-way transformer, held against transformers' own with the same random weights."""

import pytest
import torch
from transformers import SamMaskDecoderConfig
from transformers.models.sam.modeling_sam import SamFeedForward, SamTwoWayTransformer

from sautomed.model.two_way_transformer import DownsampledAttention, HyperNetwork, TwoWayTransformer


@pytest.fixture
def theirs():
    torch.manual_seed(0)
    config = SamMaskDecoderConfig(hidden_size=32, num_attention_heads=4, mlp_dim=48, layer_norm_eps=1e-5)
    config._attn_implementation = "sdpa"
    return shaken(SamTwoWayTransformer(config)).eval()


def shaken(net):
    """Move every parameter, norms too, from where it starts, so that none could be left out unseen."""
    with torch.no_grad():
        for parameter in net.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return net


def names_of(net):
    return [name for name, _ in net.named_parameters()]


def inputs(batch=2, tokens=5, side=3):
    generator = torch.Generator().manual_seed(1)
    shapes = [(batch, tokens, 32), *[(batch, 32, side, side)] * 2]
    return tuple(torch.randn(*shape, generator=generator) for shape in shapes)


@torch.no_grad()
def test_tokens_and_image_are_those_of_transformers_for_the_same_weights(theirs):
    ours = TwoWayTransformer(32, 4, 48).eval()
    ours.load_state_dict(theirs.state_dict())
    tokens, image, position = inputs()
    expected_tokens, expected_image = theirs(tokens[:, None], image, position, attention_similarity=None)
    found_tokens, found_image = ours(tokens, *(x.flatten(2).transpose(1, 2) for x in (image, position)))
    torch.testing.assert_close(found_tokens, expected_tokens[:, 0], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found_image, expected_image[:, 0], rtol=1e-5, atol=1e-5)


def test_parameters_have_the_names_and_the_order_of_transformers(theirs):
    """By the names a model folder is read, by the order the optimiser's state in a checkpoint."""
    assert names_of(TwoWayTransformer(32, 4, 48)) == names_of(theirs)
    assert names_of(HyperNetwork(32, 8)) == names_of(SamFeedForward(32, 32, 8, 3))


@torch.no_grad()
def test_a_mask_tokens_network_is_that_of_transformers():
    torch.manual_seed(0)
    theirs = shaken(SamFeedForward(32, 32, 8, 3))
    ours = HyperNetwork(32, 8)
    ours.load_state_dict(theirs.state_dict())
    token = inputs()[0][:, 0]
    assert torch.equal(ours(token), theirs(token))


def test_heads_that_do_not_divide_the_channels_are_refused():
    with pytest.raises(ValueError, match="3 heads do not divide 16 channels"):
        DownsampledAttention(32, 3, 2)
