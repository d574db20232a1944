"""Settings of nnU-Net that a study may choose; nnU-Net plans all others."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import yaml
from pydantic import Field, ValidationError

from sautomed.config.section import Section
from sautomed.errors import UnknownSetting
from sautomed.errors.text import listed


class NnUNetSettings(Section):
    """Settings of nnU-Net, in a study file `{label: nnU-Net, preset: nnunet, set: [configuration=2d]}`."""

    configuration: Literal["2d", "3d_fullres"] = Field("3d_fullres", description="one network, no ensemble, no cascade")
    planner: Literal["ExperimentPlanner", "nnUNetPlannerResEncM", "nnUNetPlannerResEncL", "nnUNetPlannerResEncXL"] = (
        Field("ExperimentPlanner", description="the plain U-Net, or one with a residual encoder")
    )
    memory_gb: float | None = Field(
        None, gt=0, description="of the GPU that patch and batch are planned for; none: the planner's default (8)"
    )


def read_changes(changes: Iterable[str]) -> NnUNetSettings:
    """Read settings from texts `name=value`.

    Raises:
        UnknownSetting: A name does not exist, or cannot have this value.
    """
    pairs = (change.partition("=") for change in changes)
    try:
        return NnUNetSettings.model_validate({name.strip(): yaml.safe_load(value) for name, _, value in pairs})
    except (ValidationError, yaml.YAMLError) as error:
        raise UnknownSetting(
            f"nnU-Net cannot be given these settings: {' '.join(str(error).split())}.",
            where="nnunet",
            cure=f"Choose from {listed(NnUNetSettings.model_fields)}; write, for example, configuration=2d.",
        ) from error
