"""Which values the settings take, and which systems they know."""

import inspect

import pytest

from sautomed.config import SYSTEMS, Settings, baselines, load_settings
from sautomed.config.section import SystemSettings
from sautomed.errors import UnknownSetting


def test_every_class_of_baselines_with_a_name_is_a_system():
    classes = [item for _, item in inspect.getmembers(baselines, inspect.isclass) if issubclass(item, SystemSettings)]
    named = {item for item in classes if "name" in item.model_fields}
    assert named == set(SYSTEMS.values()) - {SYSTEMS["sautomed"]}
    assert len(SYSTEMS) == len(named) + 1


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_name_picks_the_settings_of_its_system(name):
    assert type(Settings.model_validate({"model": {"name": name}}).model) is SYSTEMS[name]


@pytest.mark.parametrize(
    "override",
    [
        "model.slice_attention.heads=0",
        "model.slice_attention.blocks=0",
        "model.slice_attention.mlp_ratio=0",
        "model.box_prompt.heads=0",
        "model.box_prompt.feedforward=0",
        "model.decoder.heads=0",
        "model.decoder.mlp=0",
        "train.learning_rate=0",
        "train.learning_rate=.nan",
        "train.weight_decay=-1",
        "train.warmup_steps=-1",
        "train.poly_power=-1",
        "train.clip_norm=0",
        "train.earlier_weight=-1",
        "train.ce_weight=-1",
        "train.dice_weight=-1",
        "train.box_weight=-1",
        "train.presence_weight=-1",
        "train.box_jitter=-1",
        "train.augment.rotate_degrees=-1",
        "train.augment.scale=1",
        "train.augment.shift=-1",
    ],
)
def test_impossible_numbers_are_refused_by_name(override):
    with pytest.raises(UnknownSetting, match=override.partition("=")[0]):
        load_settings("tiny", [override])


def test_heads_of_a_part_that_is_not_built_do_not_matter():
    off = ["model.prompt=false", "model.box_prompt.heads=3"]
    assert not load_settings("tiny", off).model.prompt
