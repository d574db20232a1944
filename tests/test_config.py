"""Presets, files and overrides."""

import pytest

from sautomed.config import load_settings, parse_settings, preset_names
from sautomed.errors import UnknownSetting


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_is_valid_and_survives_its_own_dump(name):
    settings = load_settings(name)
    assert settings.preset == name
    assert parse_settings(settings.model_dump(mode="json"), "again") == settings


def test_the_paper_preset_is_the_paper():
    settings = load_settings("sam-vit-b")
    assert (settings.train.learning_rate, settings.train.weight_decay, settings.train.batch) == (1e-4, 1e-4, 8)
    assert settings.model.local_3d and settings.model.global_3d and settings.model.prompt  # noqa: PT018
    assert settings.data.image_size == 512
    assert settings.segment.walk == "mid_to_ends"


def test_overrides_win_over_the_preset():
    settings = load_settings("tiny", ["train.batch=3", "model.global_3d=false", "data.window_hu=[-100, 240]"])
    assert settings.train.batch == 3
    assert not settings.model.global_3d
    assert settings.data.window_hu == (-100, 240)


def test_a_trunk_setting_needs_no_kind_where_the_default_is_meant():
    assert load_settings("sam-vit-b", ["model.trunk.lora.rank=8"]).model.trunk.lora.rank == 8


def test_a_file_is_as_good_as_a_preset(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("preset: mine\ntrain: {batch: 2}\n")
    assert load_settings(file).train.batch == 2


@pytest.mark.parametrize(
    ("preset", "overrides", "words"),
    [
        ("no-such-preset", [], ["no-such-preset", "tiny"]),
        ("tiny", ["train.bacth=3"], ["train.bacth", "not permitted"]),
        ("tiny", ["train.batch=many"], ["train.batch", "integer"]),
        ("tiny", ["data.image_size=100"], ["100", "multiple of 16"]),
        ("tiny", ["model.trunk.widths=[8, 16]"], ["widths", "at least 16"]),
        ("tiny", ["train.batch"], ["train.batch", "name=value"]),
        ("tiny", ["preset.x=1"], ["preset", "no settings below"]),
    ],
)
def test_what_cannot_be_used_is_named(preset, overrides, words):
    with pytest.raises(UnknownSetting) as caught:
        load_settings(preset, overrides)
    assert caught.value.exit_code == 2
    for word in words:
        assert word in str(caught.value)
