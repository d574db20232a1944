"""The base classes of all settings."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, model_validator

_TAGS = ("name", "kind")  # the fields that distinguish the alternatives for a part


class Section(BaseModel):
    """A group of settings: checked once, then never changed; unknown names are refused.

    A mapping for a part needs to name only what differs from the part's default in this section, so
    `--set model.trunk.lora.rank=8` repeats neither the kind of trunk nor what else a system has set in it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _complete_parts(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        parts = {name: field.default for name, field in cls.model_fields.items() if isinstance(field.default, Section)}
        return {name: _completed(value, parts[name]) if name in parts else value for name, value in given.items()}


def _completed(given: Any, default: Section) -> Any:
    """Return `given` with the default's values for what it leaves out; unchanged if it is of another kind."""
    if not isinstance(given, Mapping) or any(given.get(tag, value) != value for tag, value in default if tag in _TAGS):
        return given
    parts = {
        name: _completed(given[name], part) for name, part in default if name in given and isinstance(part, Section)
    }
    return {**dict(default), **given, **parts}


class SystemSettings(Section):
    """Settings of one system, 3D-SAutoMed or a baseline: each has a field `name: Literal[...]` of its own."""

    if TYPE_CHECKING:  # not a field here, since a subclass that has none describes no system
        name: str
