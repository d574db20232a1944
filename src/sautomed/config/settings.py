"""A whole experiment."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, field_validator

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
from sautomed.config.model import ModelSettings
from sautomed.config.section import Section
from sautomed.config.train import SegmentSettings, TrainSettings

AnyModelSettings = Annotated[
    ModelSettings
    | SamSettings
    | SamedSettings
    | MaSamSettings
    | SlideSamSettings
    | TransUNetSettings
    | SwinUnetSettings
    | DynUNetSettings
    | SwinUNETRSettings,
    Field(discriminator="name"),
]


class Settings(Section):
    """A whole experiment: what is built, what it sees, how it is trained and how it walks."""

    preset: str = Field("sam-vit-b", description="a name to know the run by")
    model: AnyModelSettings = ModelSettings()
    data: DataSettings = DataSettings()
    train: TrainSettings = TrainSettings()
    segment: SegmentSettings = SegmentSettings()

    @field_validator("model", mode="before")
    @classmethod
    def _sautomed_unless_said(cls, model: Any) -> Any:
        """`--set model.prompt=false` need not repeat which model the default is."""
        return {"name": "sautomed", **model} if isinstance(model, dict) else model
