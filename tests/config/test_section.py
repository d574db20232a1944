"""Parts of the settings that are given in part."""

import pytest
from pydantic import ValidationError

from sautomed.config import LoraSettings, SamTrunkSettings, Settings, load_settings
from sautomed.config.baselines import MaSamSettings, SlideSamSettings


def test_a_trunk_setting_needs_no_kind_where_the_default_is_meant():
    assert load_settings("sam-vit-b", ["model.trunk.lora.rank=8"]).model.trunk.lora.rank == 8


def test_a_model_setting_needs_no_name_where_the_default_is_meant():
    assert not Settings.model_validate({"model": {"prompt": False}}).model.prompt


def test_a_part_keeps_the_defaults_of_its_system():
    ma_sam = MaSamSettings.model_validate({"trunk": {"weights": "sam.pth"}, "decoder": {"heads": 4}})
    assert ma_sam.trunk == SamTrunkSettings(weights="sam.pth", input_norm="medsam", lora=LoraSettings(rank=0))
    assert (ma_sam.decoder.head, ma_sam.decoder.heads) == ("full", 4)
    slide_sam = SlideSamSettings.model_validate({"trunk": {"lora": {"alpha": 2}}})
    assert slide_sam.trunk.lora == LoraSettings(rank=8, alpha=2)


def test_a_part_of_another_kind_starts_from_that_kinds_defaults():
    trunk = MaSamSettings.model_validate({"trunk": {"kind": "resnet", "stem": 16}}).trunk
    assert (trunk.kind, trunk.stem) == ("resnet", 16)


def test_settings_never_change():
    with pytest.raises(ValidationError, match="frozen"):
        Settings().train.batch = 3
