"""A study file -> the list of its runs. Touches no data and no network."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal
from unicodedata import category, normalize

from pydantic import AfterValidator, Field, ValidationError

from sautomed.config import Settings, load_settings, preset_names, read_yaml
from sautomed.config.section import Section
from sautomed.datasets.layouts import AUTO
from sautomed.errors import UnknownSetting
from sautomed.evaluation import DEFAULT_TOLERANCE_MM, OURS, convention_named
from sautomed.study.external import EXTERNAL, check_changes
from sautomed.study.report.runs import Prompts

_EXAMPLE = "{title: ..., data: [...], models: [...]}"
_LONGEST_NAME = 64  # ours: a run's folder is named by two of them and a data set's; systems take 255 letters


def _one_line(text: str) -> str:
    """Line breaks and tabs become spaces, for tables and terminals; other control characters are refused."""
    line = " ".join(text.split())
    hidden = [sign for sign in line if category(sign) == "Cc"]
    if hidden:
        raise ValueError(f"has {hidden[0]!a} in it, which cannot be printed")
    return line


def _filled(line: str) -> str:
    if not line:
        raise ValueError("must not be empty")
    return line


Overrides = tuple[str, ...]  # such as train.batch=4
Line = Annotated[str, AfterValidator(_one_line)]
FilledLine = Annotated[Line, AfterValidator(_filled)]
Number = Annotated[int, Field(ge=0, lt=2**32)]  # what every library takes for a seed


class Phantom(Section):
    """A data set that the study makes itself, as `sautomed phantom` does."""

    kind: str = Field("abdomen-ct", description="abdomen-ct, abdomen-mr or thorax-ct")
    count: int = Field(12, ge=1, description="cases")
    seed: int = Field(0, ge=0, description="of the anatomy and the noise")


class DataEntry(Section):
    """A data set of a study."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$", max_length=40, description="for folders and tables")]
    folder: str | None = Field(None, description="relative to the study file; `--data NAME=FOLDER` replaces it")
    layout: str = Field(AUTO, description="a key of DATASETS")
    phantom: Phantom | None = Field(None, description="made where there is no folder")
    folds: Annotated[tuple[Number, ...], Field(min_length=1)] = (0,)


class ModelEntry(Section):
    """A system of a study, a row of its tables (for each setting)."""

    label: FilledLine = Field(max_length=_LONGEST_NAME, description="as tables print it")
    preset: str = Field(description="its recipe: a preset, or a YAML file relative to the study file")
    changes: Overrides = Field((), alias="set", description="as --set of the command line")
    note: Line = Field("", description="shown beside the row")
    left_out: FilledLine | None = Field(None, description="why it is not run; shown in its row")


class SettingEntry(Section):
    """Something that every system is run with, such as few training cases."""

    name: Line = Field("", max_length=_LONGEST_NAME)
    changes: Overrides = Field((), alias="set", description="on top of the system's own")
    train_cases: int | None = Field(None, ge=1, description="of the fold's, drawn by the seed; none: all")
    walk: Literal["mid_to_ends", "end_to_end"] | None = None


class StudyFile(Section):
    """What a study compares, and how it counts."""

    title: Line
    data: Annotated[tuple[DataEntry, ...], Field(min_length=1)]
    models: Annotated[tuple[ModelEntry, ...], Field(min_length=1)]
    settings: Annotated[tuple[SettingEntry, ...], Field(min_length=1)] = (SettingEntry(),)
    seeds: Annotated[tuple[Number, ...], Field(min_length=1)] = (0,)
    minutes: float | None = Field(
        None, gt=0, description="of each training, from its data to its model; none: by steps"
    )
    clock: Literal["wall", "processor"] = Field(
        "wall", description="what the minutes count; processor: those computed, so that a busy machine is fair to all"
    )
    common: Overrides = Field((), description="one recipe for all: changes to every preset, before the system's own")
    convention: str = OURS
    tolerance_mm: float = Field(DEFAULT_TOLERANCE_MM, gt=0, description="of the NSD")


@dataclass(frozen=True)
class PlannedRun:
    """One system in one setting on one fold with one seed.

    Attributes:
        order: Of its row in the tables.
        settings: None for a system that runs outside of this package.
        training: Name of the folder of its training; runs that differ in `segment.*` alone share one.
        train_settings: What that training is done with: the settings of the first run that shares it.
        train_cases: None takes all of the fold.
        changes: What an external system is told; `common` is not for it.
    """

    id: str
    order: int
    label: str
    preset: str
    setting: str
    dataset: str
    fold: int
    seed: int
    settings: Settings | None
    training: str
    train_settings: Settings | None
    train_cases: int | None = None
    note: str = ""
    left_out: str | None = None
    changes: Overrides = ()

    @property
    def model(self) -> str:
        """A key of MODELS, or the name of an external system."""
        return self.preset if self.settings is None else self.settings.model.name

    @property
    def segment(self) -> dict[str, Any]:
        """What decides how it segments with its training; slices at a time change nothing."""
        return {} if self.settings is None else self.settings.segment.model_dump(mode="json", exclude={"chunk"})

    @property
    def name(self) -> str:
        """For people: `SAMed (3 cases), chaos, fold 0`."""
        setting = f" ({self.setting})" if self.setting else ""
        return f"{self.label}{setting}, {self.dataset}, fold {self.fold}, seed {self.seed}"

    @property
    def expected_prompts(self) -> Prompts:
        """What the truth will have to give, as long as there is no network to ask."""
        if self.model == "sam":
            return getattr(self.settings.model, "prompt", "points") if self.settings else "points"
        return "box" if self.model == "slide_sam" else "none"


def read_study_file(path: Path, folders: Mapping[str, Path] | None = None) -> StudyFile:
    """A study with every data set's folder and every preset's file whole, so that it means the same from anywhere.

    Args:
        folders: By name of a data set, where it lies; rules over the file.
    Raises:
        UnknownSetting: It is no YAML, has a name that does not exist or a value that cannot be, or lacks a folder.
        UsageError: There is no such metric convention.
    """
    tree = read_yaml(path, _EXAMPLE)
    try:
        study = StudyFile.model_validate(tree)
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise UnknownSetting(
            f"is no study: {faults}.", where=path, cure="Take one of the files in studies/ as a pattern."
        ) from error
    convention_named(study.convention)
    _refuse_doubles(path, study)
    data = tuple(_with_folder(entry, path, folders or {}) for entry in study.data)
    strangers = (folders or {}).keys() - {entry.name for entry in data}
    if strangers:
        raise UnknownSetting(
            f"names {', '.join(sorted(strangers))}, which is no data set of {path}.",
            where="--data",
            cure=f"It has {', '.join(entry.name for entry in data)}.",
        )
    models = tuple(entry.model_copy(update={"preset": _whole_preset(entry.preset, path)}) for entry in study.models)
    return study.model_copy(update={"data": data, "models": models})


def plan_runs(study: StudyFile) -> tuple[PlannedRun, ...]:
    """Every run, in the order in which they are taken: one fold of all systems before the next, so tables fill evenly.

    Raises:
        UnknownSetting: A preset or a setting that does not exist, or two runs of one name.
    """
    runs = list(_share_trainings(_runs(study)))
    doubles = [name for name, times in Counter(run.id for run in runs).items() if times > 1]
    if doubles:
        raise UnknownSetting(
            f"gives several runs the name {', '.join(doubles)}.",
            where=study.title,
            cure="Give labels, settings and data sets names that differ in their letters and digits.",
        )
    return tuple(runs)


def _runs(study: StudyFile) -> Iterator[PlannedRun]:
    rows = [
        (order, model, setting, _settings_of(study, model, setting))
        for order, (model, setting) in enumerate(product(study.models, study.settings))
    ]
    for data, seed in product(study.data, study.seeds):
        for fold, (order, model, setting, settings) in product(data.folds, rows):
            parts = [_slug(model.label), data.name, _slug(setting.name), f"fold{fold}", f"seed{seed}"]
            yield PlannedRun(
                id="__".join(part for part in parts if part),
                order=order,
                label=model.label,
                preset=model.preset,
                setting=setting.name,
                dataset=data.name,
                fold=fold,
                seed=seed,
                settings=settings,
                training=_training_name(model, setting, settings, data, seed),
                train_settings=settings,
                train_cases=setting.train_cases,
                note=model.note,
                left_out=model.left_out,
                changes=() if settings else (*model.changes, *setting.changes),
            )


def _share_trainings(runs: Iterable[PlannedRun]) -> Iterator[PlannedRun]:
    """Whichever run comes first, a training is the same: `segment.*` decides which checkpoint is kept as the best."""
    first: dict[str, Settings | None] = {}
    for run in runs:
        yield replace(run, train_settings=first.setdefault(run.training, run.settings))


def _settings_of(study: StudyFile, model: ModelEntry, setting: SettingEntry) -> Settings | None:
    if model.preset in EXTERNAL:
        check_changes(model.preset, (*model.changes, *setting.changes))
        return None
    walk = () if setting.walk is None else (f"segment.walk={setting.walk}",)
    return load_settings(model.preset, (*study.common, *model.changes, *setting.changes, *walk))


def _training_name(
    model: ModelEntry, setting: SettingEntry, settings: Settings | None, data: DataEntry, seed: int
) -> str:
    """Readable, with a hash of what decides the weights; the fold is a folder within it."""
    own = [model.preset, *model.changes, *setting.changes]
    tree = own if settings is None else settings.model_dump(mode="json", exclude={"segment", "preset"})
    decisive = json.dumps([tree, data.name, data.layout, seed, setting.train_cases], sort_keys=True)
    few = f"{setting.train_cases}cases" if setting.train_cases else ""
    parts = [_slug(Path(model.preset).stem), data.name, few, f"seed{seed}", _hash(decisive)]
    return "__".join(part for part in parts if part)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _slug(name: str) -> str:
    """Letters and digits of a name, for a folder: `3D-SAutoMed` -> `3d_sautomed`; a hash for those beyond ASCII."""
    name = normalize("NFC", name)
    plain = [normalize("NFKD", sign).encode("ascii", "ignore").decode() for sign in name]
    lost = any(sign.isalnum() and not kept for sign, kept in zip(name, plain, strict=True))
    slug = re.sub(r"[^a-z0-9]+", "_", "".join(plain).lower()).strip("_")
    return "_".join(part for part in (slug, _hash(name) if lost else "") if part)


def _refuse_doubles(path: Path, study: StudyFile) -> None:
    groups = {
        "data": [entry.name for entry in study.data],
        "models": [entry.label for entry in study.models],
        "settings": [entry.name for entry in study.settings],
    }
    for group, names in groups.items():
        doubles = [name for name, times in Counter(names).items() if times > 1]
        if doubles:
            raise UnknownSetting(
                f"has {doubles[0]!r} twice in {group}.", where=path, cure="Give each one a name of its own."
            )


def _with_folder(entry: DataEntry, path: Path, folders: Mapping[str, Path]) -> DataEntry:
    if entry.name in folders:
        folder = folders[entry.name].absolute()
    elif entry.folder is not None:
        folder = (path.parent / entry.folder).absolute()
    elif entry.phantom is not None:
        return entry
    else:
        raise UnknownSetting(
            f"does not say where the data set {entry.name} lies.", where=path, cure=f"Say --data {entry.name}=FOLDER."
        )
    return entry.model_copy(update={"folder": str(folder), "phantom": None})


def _whole_preset(preset: str, path: Path) -> str:
    """A settings file by its whole path; a preset's name as it is."""
    beside = path.parent / preset
    return str(beside.absolute()) if preset not in preset_names() and beside.is_file() else preset
