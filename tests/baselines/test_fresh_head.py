"""The head that SAMed and MA-SAM have on a trunk from scratch."""

import pytest
import torch

from sautomed.baselines.fresh_head import FreshHead
from sautomed.config import MaskDecoderSettings
from sautomed.model.trunk_resnet import ResNetTrunk
from sautomed.model.values import Features


@pytest.fixture
def head():
    torch.manual_seed(0)
    trunk = ResNetTrunk(64, 16, (16, 16, 16), (1, 1, 1))
    return FreshHead(64, MaskDecoderSettings(heads=2, mlp=64, widths=(16, 8)), trunk, classes=4).eval()


def test_classes_are_told_apart_behind_the_transformer(head):
    """As in 3D-SAutoMed: a comparison with heads whose mask tokens are all one would tilt."""
    tokens = []
    head.decoder.transformer.register_forward_hook(lambda _, __, out: tokens.append(out[0][:, 1:6]))
    maps = (torch.randn(1, 64, 8, 8), (torch.randn(1, 16, 16, 16), torch.randn(1, 16, 32, 32)))
    assert head(Features(*maps)).shape == (1, 5, 32, 32)
    unit = torch.nn.functional.normalize(tokens[0][0], dim=-1)
    assert (unit @ unit.T)[~torch.eye(5, dtype=torch.bool)].max() < 0.99


def test_it_has_a_mask_decoder_and_no_parameter_more(head):
    assert {name.split(".")[0] for name, _ in head.named_parameters()} == {"decoder"}
    own = {name: tuple(p.shape) for name, p in head.decoder.named_parameters(recurse=False)}
    assert own == {"iou_token": (1, 64), "mask_tokens": (5, 64), "no_mask": (64,)}
