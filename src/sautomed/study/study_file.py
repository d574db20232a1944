"""The study file: what a study compares, as YAML, checked when it is read. Touches no data and no network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self, TypeVar
from unicodedata import category

from pydantic import AfterValidator, Field, ValidationError, field_validator, model_validator

from sautomed.config import preset_names, read_yaml
from sautomed.config.section import Section
from sautomed.datasets.layouts import AUTO
from sautomed.errors import UnknownSetting
from sautomed.errors.text import listed
from sautomed.evaluation import DEFAULT_TOLERANCE_MM, OURS, convention_named
from sautomed.training.budget import Clock

_EXAMPLE = "{title: ..., data: [...], models: [...]}"
_LONGEST_NAME = 64  # ours: a run's folder is named by two of them and a data set's; file systems take 255 characters

Entries = TypeVar("Entries", bound="tuple[DataEntry, ...] | tuple[ModelEntry, ...] | tuple[SettingEntry, ...]")


def _one_line(text: str) -> str:
    """Replace line breaks and tabs by spaces, for tables and terminals; refuse other control characters."""
    line = " ".join(text.split())
    control = [character for character in line if category(character) == "Cc"]
    if control:
        raise ValueError(f"contains {control[0]!a}, which cannot be printed")
    return line


def _not_empty(line: str) -> str:
    if not line:
        raise ValueError("must not be empty")
    return line


Overrides = tuple[str, ...]  # such as train.batch=4
Line = Annotated[str, AfterValidator(_one_line)]
FilledLine = Annotated[Line, AfterValidator(_not_empty)]
Number = Annotated[int, Field(ge=0, lt=2**32)]  # the range that every library accepts as a seed


class Phantom(Section):
    """Synthetic patients that the study writes itself, as `sautomed phantom` does."""

    kind: str = Field("abdomen-ct", description="abdomen-ct, abdomen-ct-unenhanced, abdomen-mr or thorax-ct")
    count: int = Field(12, ge=1, description="cases")
    seed: int = Field(0, ge=0, description="of the anatomy and the noise")


class DataEntry(Section):
    """A data set of a study."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$", max_length=40, description="for folders and tables")]
    folder: str | None = Field(None, description="relative to the study file; `--data NAME=FOLDER` replaces it")
    layout: str = Field(AUTO, description="a key of DATASETS")
    phantom: Phantom | None = Field(None, description="written if there is no folder")
    folds: Annotated[tuple[Number, ...], Field(min_length=1)] = (0,)


class ModelEntry(Section):
    """A system of a study: one row of its tables for each setting."""

    label: FilledLine = Field(max_length=_LONGEST_NAME, description="as tables print it")
    preset: str = Field(description="its recipe: a preset, or a YAML file relative to the study file")
    changes: Overrides = Field((), alias="set", description="as --set of the command line")
    note: Line = Field("", description="shown beside the row")
    left_out: FilledLine | None = Field(None, description="why it is not run; shown in its row")


class SettingEntry(Section):
    """A condition that every system is run under, such as few training cases."""

    name: Line = Field("", max_length=_LONGEST_NAME)
    changes: Overrides = Field((), alias="set", description="on top of the system's own")
    train_cases: int | None = Field(None, ge=1, description="of the fold's, drawn by the seed; none: all")
    walk: Literal["mid_to_ends", "end_to_end"] | None = None


class StudyFile(Section):
    """What a study compares, and how it scores."""

    title: Line
    data: Annotated[tuple[DataEntry, ...], Field(min_length=1)]
    models: Annotated[tuple[ModelEntry, ...], Field(min_length=1)]
    settings: Annotated[tuple[SettingEntry, ...], Field(min_length=1)] = (SettingEntry(),)
    seeds: Annotated[tuple[Number, ...], Field(min_length=1)] = (0,)
    minutes: float | None = Field(
        None, gt=0, description="of each training, from its data to its model; none: train by steps"
    )
    clock: Clock = Field(
        "wall", description="what the minutes count; processor: computing time, which is fair on a busy machine"
    )
    common: Overrides = Field((), description="one recipe for all: changes to every preset, before the system's own")
    convention: str = OURS
    tolerance_mm: float = Field(DEFAULT_TOLERANCE_MM, gt=0, description="of the NSD")

    @field_validator("data", "models", "settings")
    @classmethod
    def _refuse_repeated_names(cls, entries: Entries) -> Entries:
        names = [entry.label if isinstance(entry, ModelEntry) else entry.name for entry in entries]
        repeated = [name for name in names if names.count(name) > 1]
        if repeated:
            raise ValueError(f"has {repeated[0]!r} twice, but each entry needs a name of its own")
        return entries

    @model_validator(mode="after")
    def _check_convention(self) -> Self:
        convention_named(self.convention)  # pydantic lets its UsageError pass, which lists the conventions
        return self


def read_study_file(path: Path, folders: Mapping[str, Path] | None = None) -> StudyFile:
    """Read a study file, with all paths absolute, so that it means the same from any directory.

    Args:
        folders: Folder of a data set by its name; replaces that in the file.
    Raises:
        UnknownSetting: The file is no YAML, has an unknown name or an invalid value, or lacks a data set's folder.
        UsageError: There is no such metric convention.
    """
    folders = folders or {}
    tree = read_yaml(path, _EXAMPLE)
    try:
        study = StudyFile.model_validate(tree)
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise UnknownSetting(
            f"is no study: {faults}.", where=path, cure="Take one of the files in studies/ as a pattern."
        ) from error
    data = tuple(_with_folder(entry, path, folders) for entry in study.data)
    unknown = folders.keys() - {entry.name for entry in data}
    if unknown:
        raise UnknownSetting(
            f"{path} has no data set of the name {listed(sorted(unknown))}.",
            where="--data",
            cure=f"Use one of {listed(entry.name for entry in data)}.",
        )
    models = tuple(entry.model_copy(update={"preset": _absolute_preset(entry.preset, path)}) for entry in study.models)
    return study.model_copy(update={"data": data, "models": models})


def _with_folder(entry: DataEntry, path: Path, folders: Mapping[str, Path]) -> DataEntry:
    """Make the folder of a data set absolute; phantoms stay without one, unless a folder replaces them."""
    if entry.name in folders:
        folder = folders[entry.name].absolute()
    elif entry.folder is not None:
        folder = (path.parent / entry.folder).absolute()
    elif entry.phantom is not None:
        return entry
    else:
        raise UnknownSetting(
            f"gives no folder for the data set {entry.name}.", where=path, cure=f"Give --data {entry.name}=FOLDER."
        )
    return entry.model_copy(update={"folder": str(folder), "phantom": None})


def _absolute_preset(preset: str, path: Path) -> str:
    """Make the path of a settings file absolute; leave a preset's name as it is."""
    file = path.parent / preset
    return str(file.absolute()) if preset not in preset_names() and file.is_file() else preset
