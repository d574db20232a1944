"""Every setting of a model and its training, checked once and written into every run.

A variant is data: parts are chosen here when a model is built, and no `forward` asks the settings anything.
Where the paper is silent, `docs/paper.md` gives the reason for the default.
"""

from sautomed.config.baselines import (
    DynUNetSettings,
    MaSamSettings,
    SamedSettings,
    SamSettings,
    SlideSamSettings,
    SwinUNETRSettings,
    SwinUnetSettings,
    TransUNetSettings,
)
from sautomed.config.data import DataSettings
from sautomed.config.load import load_settings, parse_settings, preset_names, read_yaml
from sautomed.config.model import (
    BoxPromptSettings,
    HistorySettings,
    LoraSettings,
    MaskDecoderSettings,
    ModelSettings,
    ResNetTrunkSettings,
    SamTrunkSettings,
    SliceAttentionSettings,
    TrunkSettings,
)
from sautomed.config.settings import AnyModelSettings, Settings
from sautomed.config.train import AugmentSettings, SegmentSettings, TrainSettings

__all__ = [
    "AnyModelSettings",
    "AugmentSettings",
    "BoxPromptSettings",
    "DataSettings",
    "DynUNetSettings",
    "HistorySettings",
    "LoraSettings",
    "MaSamSettings",
    "MaskDecoderSettings",
    "ModelSettings",
    "ResNetTrunkSettings",
    "SamSettings",
    "SamTrunkSettings",
    "SamedSettings",
    "SegmentSettings",
    "Settings",
    "SliceAttentionSettings",
    "SlideSamSettings",
    "SwinUNETRSettings",
    "SwinUnetSettings",
    "TrainSettings",
    "TransUNetSettings",
    "TrunkSettings",
    "load_settings",
    "parse_settings",
    "preset_names",
    "read_yaml",
]
