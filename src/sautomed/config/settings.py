"""Settings of a whole experiment."""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Union

from pydantic import Field

from sautomed.config import baselines
from sautomed.config.data import DataSettings
from sautomed.config.model import ModelSettings
from sautomed.config.section import Section, SystemSettings
from sautomed.config.train import SegmentSettings, TrainSettings


def _system_settings(module: ModuleType) -> list[type[SystemSettings]]:
    """Return the settings classes in a module that have a system's name, in the order of the file."""
    classes = (item for item in vars(module).values() if isinstance(item, type) and issubclass(item, SystemSettings))
    return [item for item in classes if "name" in item.model_fields]


_CLASSES: list[type[SystemSettings]] = [ModelSettings, *_system_settings(baselines)]
SYSTEMS = {item.model_fields["name"].default: item for item in _CLASSES}

if TYPE_CHECKING:
    OneSystem = SystemSettings
else:  # the union of all systems, from which the name picks one
    OneSystem = Annotated[Union[tuple(_CLASSES)], Field(discriminator="name")]  # noqa: UP007


class Settings(Section):
    """A whole experiment: the system, its input, its training, and how it goes through a volume."""

    preset: str = Field("sam-vit-b", description="a name to know the run by")
    model: OneSystem = ModelSettings()
    data: DataSettings = DataSettings()
    train: TrainSettings = TrainSettings()
    segment: SegmentSettings = SegmentSettings()
