"""What can be chosen of nnU-Net; everything else it chooses itself."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import yaml
from pydantic import Field, ValidationError

from sautomed.config.section import Section
from sautomed.errors import UnknownSetting


class NnUNetSettings(Section):
    """As in a study file: `{label: nnU-Net, preset: nnunet, set: [configuration=2d]}`."""

    configuration: Literal["2d", "3d_fullres"] = Field("3d_fullres", description="one network, no ensemble, no cascade")
    planner: Literal["ExperimentPlanner", "nnUNetPlannerResEncM", "nnUNetPlannerResEncL", "nnUNetPlannerResEncXL"] = (
        Field("ExperimentPlanner", description="the plain U-Net, or one with a residual encoder")
    )
    memory_gb: float | None = Field(
        None, gt=0, description="of the GPU that patch and batch are planned for; none: as the planner (8)"
    )


def read_changes(changes: Iterable[str]) -> NnUNetSettings:
    """Settings from `name=value`s.

    Raises:
        UnknownSetting: A name that does not exist, or a value that it cannot take.
    """
    pairs = (change.partition("=") for change in changes)
    try:
        return NnUNetSettings.model_validate({name.strip(): yaml.safe_load(value) for name, _, value in pairs})
    except (ValidationError, yaml.YAMLError) as error:
        names = ", ".join(NnUNetSettings.model_fields)
        raise UnknownSetting(
            f"settings that nnU-Net cannot be given: {' '.join(str(error).split())}.",
            where="nnunet",
            cure=f"There are {names}; write, for example, configuration=2d.",
        ) from error
