"""Model folders of all systems on SAM: the frozen part is left out, and only then SAM's weights are read again."""

import json

import pytest
import torch
from safetensors.torch import load_file

from sautomed import errors
from sautomed.baselines import build_segmenter
from sautomed.config import SYSTEMS, Settings
from sautomed.inference.bundle import Bundle, load_bundle, save_bundle

from ..model.sam.official_layout import write_official

SIZE = 128
ON_SAM = [name for name, settings in SYSTEMS.items() if "trunk" in settings.model_fields]


@pytest.fixture
def weights(tmp_path):
    return write_official(tmp_path / "sam_tiny.pth")


def save_trained(name, weights, folder):
    """Save a model whose trained parameters differ from their initial values, and return it."""
    trunk = {"kind": "sam", "weights": str(weights)}
    settings = Settings.model_validate({"model": {"name": name, "trunk": trunk}, "data": {"image_size": SIZE}})
    network = build_segmenter(settings.model, 2, SIZE).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.requires_grad:
                parameter.add_(0.5)
    save_bundle(folder, Bundle(network, settings, {1: "a", 2: "b"}, "CT"))
    return network


def same_state(network, other):
    pairs = zip(network.state_dict().items(), other.state_dict().items(), strict=True)
    return all(name == found and torch.equal(own, value) for (name, own), (found, value) in pairs)


@pytest.mark.parametrize("name", ON_SAM)
def test_a_folder_leaves_out_exactly_the_frozen_part_of_the_trunk(name, weights, tmp_path):
    network = save_trained(name, weights, tmp_path / "model")
    held = load_file(tmp_path / "model" / "model.safetensors").keys()
    left_out = network.state_dict().keys() - held
    frozen = {key for key, p in network.named_parameters() if key.startswith("trunk.") and not p.requires_grad}
    assert left_out == frozen
    assert (not left_out) == (name == "slide_sam")
    assert same_state(load_bundle(tmp_path / "model").network, network)
    weights.unlink()
    if left_out:
        with pytest.raises(errors.WeightsNotFound, match="--weights"):
            load_bundle(tmp_path / "model")
    else:
        again = load_bundle(tmp_path / "model")
        assert same_state(again.network, network)
        save_bundle(tmp_path / "copy", again)
        assert same_state(load_bundle(tmp_path / "copy").network, network)


def test_a_folder_with_the_whole_trunk_refuses_weights(weights, tmp_path):
    save_trained("slide_sam", weights, tmp_path / "model")
    with pytest.raises(errors.UsageError, match="no pretrained trunk"):
        load_bundle(tmp_path / "model", str(weights))


def change_trunk(folder, **changes):
    path = folder / "config.json"
    config = json.loads(path.read_text())
    config["pretrained_trunk"].update(changes)
    path.write_text(json.dumps(config))


def test_a_folder_with_the_whole_trunk_but_without_its_shape_is_read_with_sams_weights(weights, tmp_path):
    network = save_trained("slide_sam", weights, tmp_path / "model")
    change_trunk(tmp_path / "model", shape=None)
    assert same_state(load_bundle(tmp_path / "model").network, network)


SHAPE = {"sizes": {"dim": 32, "depth": 3, "heads": 2, "global_blocks": [2]}, "lora_rank": 8}


@pytest.mark.parametrize(
    ("name", "shape", "match"),
    [
        ("slide_sam", {**SHAPE, "lora_rank": None}, r"damaged.*pretrained_trunk\.shape\.lora_rank"),
        ("slide_sam", "whole", r"damaged.*pretrained_trunk\.shape"),
        ("samed", SHAPE, "SAMed has no pretrained trunk that is trained as a whole"),
    ],
)
def test_an_impossible_shape_is_an_error_of_the_model_folder(name, shape, match, weights, tmp_path):
    save_trained(name, weights, tmp_path / "model")
    change_trunk(tmp_path / "model", shape=shape)
    with pytest.raises(errors.NotAModel, match=match):
        load_bundle(tmp_path / "model")


def test_a_shape_that_contradicts_the_weights_is_refused(weights, tmp_path):
    save_trained("slide_sam", weights, tmp_path / "model")
    change_trunk(tmp_path / "model", shape={**SHAPE, "lora_rank": 3})
    with pytest.raises(errors.WrongWeights, match="lora_A"):
        load_bundle(tmp_path / "model")
