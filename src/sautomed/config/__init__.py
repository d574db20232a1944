"""Every setting of a model and its training, checked once and written into every run.

A variant is data: parts are chosen here when a model is built, and no `forward` asks the settings anything.
Where the paper is silent, `docs/paper.md` gives the reason for the default.

section.py    the base classes
model.py      3D-SAutoMed: trunks and the parts of Fig. 1
baselines.py  the systems it is compared with, one class each; the whole list, imported from there
data.py       how scans become images
train.py      training and segmenting
settings.py   all of these as one experiment
load.py       settings from presets, YAML files and the command line
version.py    the version of the package
"""

from sautomed.config.data import DataSettings
from sautomed.config.load import load_settings, parse_settings, preset_names, read_yaml
from sautomed.config.model import (
    BoxPromptSettings,
    EfficientNetLiteTrunkSettings,
    HistorySettings,
    LoraSettings,
    MaskDecoderSettings,
    ModelSettings,
    ResNetTrunkSettings,
    SamTrunkSettings,
    SliceAttentionSettings,
    TrunkSettings,
)
from sautomed.config.section import SystemSettings
from sautomed.config.settings import SYSTEMS, Settings
from sautomed.config.train import AugmentSettings, SegmentSettings, TrainSettings

__all__ = [
    "SYSTEMS",
    "AugmentSettings",
    "BoxPromptSettings",
    "DataSettings",
    "EfficientNetLiteTrunkSettings",
    "HistorySettings",
    "LoraSettings",
    "MaskDecoderSettings",
    "ModelSettings",
    "ResNetTrunkSettings",
    "SamTrunkSettings",
    "SegmentSettings",
    "Settings",
    "SliceAttentionSettings",
    "SystemSettings",
    "TrainSettings",
    "TrunkSettings",
    "load_settings",
    "parse_settings",
    "preset_names",
    "read_yaml",
]
