"""Presets, files and overrides, and what is refused in them."""

import pytest

from sautomed.config import ModelSettings, load_settings, parse_settings, preset_names
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


def test_tiny_on_imagenet_weights_differs_from_tiny_in_the_trunk_alone():
    settings, tiny = load_settings("tiny-imagenet"), load_settings("tiny", ["model.trunk.kind=efficientnet_lite0"])
    assert settings == tiny.model_copy(update={"preset": "tiny-imagenet"})
    assert settings.model.trunk.weights == "imagenet"


def test_several_settings_of_a_section_leave_its_others_as_they_are():
    by_one, preset = load_settings("tiny", ["train={batch: 3, augment: {shift: 0.2}}"]), load_settings("tiny")
    assert by_one == load_settings("tiny", ["train.batch=3", "train.augment.shift=0.2"])
    assert (by_one.train.batch, by_one.train.ema) == (3, preset.train.ema)
    assert load_settings("tiny", ["data={}"]) == preset


def test_a_section_of_another_kind_replaces_the_old_one():
    trunk = load_settings("sam-vit-b", ["model.trunk.lora.rank=8", "model.trunk={kind: resnet}"]).model.trunk
    assert trunk == ModelSettings(trunk={"kind": "resnet"}).trunk


def test_overrides_win_over_the_preset():
    settings = load_settings("tiny", ["train.batch=3", "model.global_3d=false", "data.window_hu=[-100, 240]"])
    assert settings.train.batch == 3
    assert not settings.model.global_3d
    assert settings.data.window_hu == (-100, 240)


def test_the_name_of_a_system_without_a_preset_gives_its_defaults():
    settings = load_settings("sautomed", ["train.batch=3"])
    assert (settings.preset, settings.model, settings.train.batch) == ("sautomed", ModelSettings(), 3)
    with pytest.raises(UnknownSetting, match="ma-sam"):
        load_settings("ma_sam")  # it has a preset, whose recipe is meant


def test_a_file_is_as_good_as_a_preset(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("preset: mine\ntrain: {batch: 2}\n")
    assert load_settings(file).train.batch == 2


@pytest.mark.parametrize(
    ("preset", "overrides", "words"),
    [
        ("no-such-preset", [], ["no-such-preset", "tiny"]),
        ("tiny", ["train.bacth=3"], ["train.bacth", "not permitted"]),
        ("tiny", ["train.batch=many"], ["train.batch", "integer", "(got 'many')"]),
        ("tiny", ["data.image_size=100"], ["data.image_size: ", "multiple of 16 (got 100)", "'auto'"]),
        ("tiny", ["model.trunk.widths=[8, 16]"], ["trunk.widths.0", "greater than or equal to 16 (got 8)"]),
        ("tiny", ["train.batch"], ["train.batch", "name=value"]),
        ("tiny", ["preset.x=1"], ["preset", "no settings below"]),
        ("tiny", ["train.batch=[4"], ["--set train.batch=[4", "not valid YAML"]),
        ("tiny", ["preset=2024-13-45"], ["--set preset", "not valid YAML"]),
        ("tiny", ["data.window_hu=[300, -100]"], ["window_hu", "must be below"]),
        ("tiny", ["data.window_hu=[0, 0]"], ["window_hu", "must be below"]),
        ("tiny", ["data.window_hu=[0, .inf]"], ["window_hu", "finite"]),
        ("tiny", ["data.percentiles=[99, 1]"], ["percentiles", "must be below"]),
        ("tiny", ["data.percentiles=[0, 101]"], ["percentiles.1", "less than or equal to 100 (got 101)"]),
        ("tiny", ["data.auto_size=[256, 128]"], ["auto_size", "smallest"]),
        ("tiny", ["model.dim=126"], ["model.dim", "multiple of 4 (got 126)"]),
        ("tiny", ["model.dim=0"], ["model.dim", "greater than or equal to 4"]),
        ("tiny", ["model.slice_attention.heads=3"], ["slice_attention.heads is 3", "divide dim, which is 128"]),
        ("tiny", ["model.box_prompt.heads=3"], ["box_prompt.heads is 3", "divide dim, which is 128"]),
        ("tiny", ["model.decoder.heads=128"], ["decoder.heads is 128", "divide dim / 2, which is 64"]),
        ("tiny", ["model.trunk.widths=[32]"], ["trunk.widths", "at least 2 items"]),
        ("tiny", ["model.trunk.depths=[1, 1]"], ["depths must be as many as widths (4)"]),
        ("tiny", ["model.trunk.depths=[1, 0, 1, 1]"], ["trunk.depths.1", "greater than 0 (got 0)"]),
        ("tiny", ["model.decoder.widths=[16, 0]"], ["decoder.widths.1", "greater than 0 (got 0)"]),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(preset, overrides, words):
    with pytest.raises(UnknownSetting) as caught:
        load_settings(preset, overrides)
    assert caught.value.exit_code == 2
    for word in words:
        assert word in str(caught.value)


def test_a_file_in_utf_8_is_read_whatever_the_systems_own_encoding(tmp_path, monkeypatch):
    monkeypatch.setattr("io.text_encoding", lambda encoding, *_: encoding or "ascii")
    file = tmp_path / "mine.yaml"
    file.write_bytes("preset: Münster\n".encode())
    assert load_settings(file).preset == "Münster"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"train: {batch: [4", "is not valid YAML"),
        (b"- train", "holds no settings"),
        (b"hello", "holds no settings"),
        (b"preset: \xff\xfe", "is not UTF-8 text"),
        (b"1: 2", "settings that cannot be used"),
    ],
)
def test_a_file_that_holds_no_settings_is_refused_by_its_name(tmp_path, content, words):
    file = tmp_path / "mine.yaml"
    file.write_bytes(content)
    with pytest.raises(UnknownSetting, match=words) as caught:
        load_settings(file, ["train.batch=4"] if content[:1] != b"1" else [])
    assert str(file) in str(caught.value)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("tree", "near"),
    [
        ({"train": {"bach": 1}}, "train.batch"),
        ({"model": {"trunk": {"kind": "sam", "lora": {"ranc": 3}}}}, "model.trunk.lora.rank"),
        ({"a.b": 1}, None),
        ({"model": {"trunk": {"kind": "resnet", "zzz": 3}}}, None),
    ],
)
def test_an_unknown_setting_names_the_nearest_one_of_its_section(tree, near):
    with pytest.raises(UnknownSetting) as caught:
        parse_settings(tree, "mine.yaml")
    assert ("Did you mean" in caught.value.cure) == (near is not None)
    assert near is None or f"Did you mean {near}?" in caught.value.cure
