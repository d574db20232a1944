"""EfficientNet-Lite0 as a trunk: its maps are the published network's, and its sizes are stated truly."""

import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from sautomed.model.imagenet_weights import published_names
from sautomed.model.trunk_efficientnet_lite import EfficientNetLite0Trunk

LAST_OF_STRIDE = (0, 2, 4, 10, 15)  # blocks of the published network before each doubling of the stride, and the last
CLASSIFIER = 320 * 1280 + 2 * 1280 + 1280 * 1000 + 1000  # its head, norm and linear layer, which a trunk leaves out


@pytest.fixture(scope="module")
def published():
    """The reference implementation's class."""
    return pytest.importorskip("efficientnet_lite_pytorch", reason="pip install efficientnet-lite-pytorch").EfficientNet


@pytest.fixture(scope="module")
def trunk():
    torch.manual_seed(0)
    return EfficientNetLite0Trunk(8).eval()


def shake_norms(network):
    """Give norms random statistics, scales and shifts, so that none of these numbers is 0 or 1."""
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            for tensor in (module.weight, module.running_var):
                torch.nn.init.uniform_(tensor, 0.5, 1.5)
            for tensor in (module.bias, module.running_mean):
                torch.nn.init.uniform_(tensor, -0.5, 0.5)
    return network


def copy_weights(trunk, reference):
    state = reference.state_dict()
    for name, module in published_names(trunk):
        module.load_state_dict({key: state[f"{name}.{key}"] for key in module.state_dict()})


def maps_of_published(reference, images):
    """Compute the maps at strides 2 to 32 of images in [0, 1], scaled as the published training scaled them."""
    found = []
    hooks = [reference._blocks[i].register_forward_hook(lambda _m, _a, out: found.append(out)) for i in LAST_OF_STRIDE]
    reference.extract_features((255 * images - 127) / 128)
    for hook in hooks:
        hook.remove()
    return found


def maps_of_trunk(trunk, images):
    found = []
    hooks = [stage.register_forward_hook(lambda _m, _a, out: found.append(out)) for stage in trunk.stages]
    features = trunk(images)
    for hook in hooks:
        hook.remove()
    assert features.fine[0] is found[0]
    return [features.fine[1], *found]


@torch.no_grad()
@pytest.mark.parametrize("side", [128, 144, 208])  # 144 and 208: the map at stride 16 has an odd side
def test_every_map_is_the_published_networks(published, trunk, side):
    torch.manual_seed(side)
    reference = shake_norms(published.from_name("efficientnet-lite0", image_size=side)).eval()
    copy_weights(trunk, reference)
    images = torch.rand(2, 3, side, side)
    for own, expected in zip(maps_of_trunk(trunk, images), maps_of_published(reference, images), strict=True):
        torch.testing.assert_close(own, expected, rtol=1e-4, atol=1e-4 * expected.abs().max().item())


def test_it_has_the_published_number_of_parameters(trunk):
    body = sum(p.numel() for p in trunk.parameters()) - sum(p.numel() for p in trunk.neck.parameters())
    assert body + CLASSIFIER == 4_652_008


@hypothesis_settings(max_examples=6, deadline=None)
@given(height=st.integers(4, 14), width=st.integers(4, 14))
def test_strides_and_channels_are_as_stated(trunk, height, width):
    with torch.no_grad():
        features = trunk(torch.rand(1, 3, 16 * height, 16 * width))
    assert features.coarse.shape == (1, trunk.channels, 2 * height, 2 * width)
    assert [m.shape for m in features.fine] == [
        (1, channels, 16 * height // stride, 16 * width // stride)
        for channels, stride in zip(trunk.fine_channels, (4, 2), strict=True)
    ]
    assert trunk.fine_channels == (24, 16)


def test_gradients_reach_every_parameter():
    torch.manual_seed(0)
    trunk = EfficientNetLite0Trunk(8)
    features = trunk(torch.rand(2, 3, 128, 128))
    sum(m.square().mean() for m in (features.coarse, *features.fine)).backward()
    assert [name for name, p in trunk.named_parameters() if p.grad is None] == []
