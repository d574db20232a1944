"""The script that makes phantom-ct, with a small model: rounding, what is refused, the card."""

import importlib.util
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from sautomed.inference.bundle import load_bundle
from sautomed.inference.model import load
from sautomed.scans.paths import sha256_of


@pytest.fixture(scope="module")
def script():
    path = Path(__file__).parents[2] / "tools" / "make_phantom_model.py"
    spec = importlib.util.spec_from_file_location("make_phantom_model", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def trained(trained_run, tmp_path):
    """A trained model folder that a test may change."""
    return shutil.copytree(trained_run / "fold_0" / "model", tmp_path / "model")


def test_a_trained_model_is_rounded_and_has_a_card_with_its_hash(script, trained, tmp_path, capsys):
    script.ship(trained, tmp_path / "shipped")
    weights = tmp_path / "shipped" / "model.safetensors"
    assert weights.stat().st_size < 0.6 * (trained / "model.safetensors").stat().st_size
    full, rounded = (load_bundle(folder).network.state_dict() for folder in (trained, tmp_path / "shipped"))
    for name, value in full.items():
        assert rounded[name].dtype == value.dtype
        assert torch.equal(rounded[name], value.half().float() if value.is_floating_point() else value), name
    card = (tmp_path / "shipped" / "MODEL_CARD.md").read_text()
    assert sha256_of([weights]) in card
    assert "-m phantom-ct" in card


@pytest.mark.parametrize("number", [7e4, -7e4, float("nan")])
def test_what_float16_cannot_hold_is_refused(script, trained, tmp_path, number):
    state = load_file(trained / "model.safetensors")
    name = next(name for name, value in state.items() if value.is_floating_point())
    state[name].view(-1)[0] = number
    save_file(state, trained / "model.safetensors")
    with pytest.raises(SystemExit, match=name):
        script.ship(trained, tmp_path / "shipped")
    assert not (tmp_path / "shipped").exists()


def test_a_model_that_is_too_large_is_refused(script, trained, tmp_path, monkeypatch):
    monkeypatch.setattr(script, "MOST_BYTES", 1000)
    with pytest.raises(SystemExit, match="at most 1,000"):
        script.ship(trained, tmp_path / "shipped")
    assert not (tmp_path / "shipped").exists()


def test_the_recipe_is_that_of_the_card(script):
    """The settings that the script trains with are those of the shipped model."""
    from sautomed.config import load_settings
    from sautomed.inference.shipped import PHANTOM_CT

    shipped, recipe = load(PHANTOM_CT, "cpu").settings, load_settings("tiny", script.SETTINGS)
    assert (shipped.preset, shipped.model, shipped.train) == (recipe.preset, recipe.model, recipe.train)
    assert shipped.data.image_size == recipe.data.image_size
