"""Slide-SAM on a tiny SAM and on a small ResNet."""

import pytest
import torch

from sautomed.baselines import build_segmenter
from sautomed.config.baselines import SlideSamSettings

from ...conftest import SMALL_MODEL
from ...model.sam.official_layout import noise, write_official

SIZE, ORGANS = 128, 2


@pytest.fixture(scope="session")
def weights(tmp_path_factory):
    return write_official(tmp_path_factory.mktemp("weights") / "sam_tiny.pth")


def on_sam(weights, **changes):
    return SlideSamSettings(trunk={"weights": str(weights), "lora": {"rank": 3}}, **changes)


def from_scratch(**changes):
    return SlideSamSettings(**{key: SMALL_MODEL[key] for key in ("trunk", "dim", "decoder")}, **changes)


@pytest.fixture(params=["sam", "resnet"])
def settings(request, weights):
    return on_sam(weights) if request.param == "sam" else from_scratch()


def make_model(settings):
    """Build a model without parameters that are all zero, so that every part has an effect."""
    torch.manual_seed(0)
    model = build_segmenter(settings, ORGANS, SIZE)
    for parameter in model.parameters():
        if parameter.requires_grad and not parameter.any():
            torch.nn.init.normal_(parameter, std=0.05)
    return model.eval()


def images(count=3):
    return noise(count * 3 * SIZE * SIZE, 9).reshape(count, 3, SIZE, SIZE).abs()


def boxes(count=3):
    corners = noise(4 * count, 5).reshape(count, 4).abs()
    return torch.cat([corners[:, :2] / 2, 0.5 + corners[:, 2:] / 2], 1)
