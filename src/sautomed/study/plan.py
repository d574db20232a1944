"""The plan of a study: from the study file to the list of its runs. Touches no data and no network."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from types import MappingProxyType
from typing import Any
from unicodedata import normalize

from sautomed.config import Settings, load_settings
from sautomed.config.baselines import SamSettings, SlideSamSettings
from sautomed.errors import UnknownSetting
from sautomed.errors.text import listed
from sautomed.study.nnunet.settings import read_changes
from sautomed.study.report.runs import Prompts
from sautomed.study.study_file import DataEntry, ModelEntry, Overrides, SettingEntry, StudyFile

# Systems in packages of their own, by the name that stands for their preset, with the check of a study's changes to
# them. `one_run.EXTERNAL_ADAPTERS` runs them.
EXTERNAL_CHECKS: Mapping[str, Callable[[Iterable[str]], object]] = MappingProxyType({"nnunet": read_changes})


@dataclass(frozen=True)
class PlannedRun:
    """One system in one setting on one fold with one seed.

    Attributes:
        id: Name of its folder in STUDY/runs.
        order: Position of its row in the tables.
        settings: None for a system in a package of its own.
        training: Name of the folder of its training; runs that differ in `segment.*` alone share one.
        train_settings: Settings of that training: those of the first run that shares it.
        train_cases: Number of training cases; None takes all of the fold.
        left_out: Why it is not run; None for a run that is.
        changes: The settings of an external system as name=value; `common` does not apply to it.
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
        """Settings that decide how it segments with its training; `chunk` does not change the result."""
        return {} if self.settings is None else self.settings.segment.model_dump(mode="json", exclude={"chunk"})

    @property
    def name(self) -> str:
        """The run for people: `SAMed (3 cases), chaos, fold 0, seed 0`."""
        setting = f" ({self.setting})" if self.setting else ""
        return f"{self.label}{setting}, {self.dataset}, fold {self.fold}, seed {self.seed}"

    @property
    def expected_prompts(self) -> Prompts:
        """Prompts that it takes from the truth, as far as its settings show; a trained network knows for sure."""
        model = None if self.settings is None else self.settings.model
        if isinstance(model, SamSettings):
            return model.prompt
        return "box" if isinstance(model, SlideSamSettings) else "none"


def plan_runs(study: StudyFile) -> tuple[PlannedRun, ...]:
    """Return every run, in working order: one fold of all systems before the next, so that tables fill evenly.

    Raises:
        UnknownSetting: A preset or a setting does not exist, or two runs would have one name.
    """
    runs = list(_share_trainings(_runs(study)))
    repeated = [name for name, times in Counter(run.id for run in runs).items() if times > 1]
    if repeated:
        raise UnknownSetting(
            f"gives several runs the name {listed(repeated)}.",
            where=study.title,
            cure="Give labels, settings and data sets names that differ in their letters and digits, and each seed "
            "and fold once.",
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
    """Give runs of one training the same training settings: `segment.*` decides which checkpoint is kept as best."""
    first: dict[str, Settings | None] = {}
    for run in runs:
        yield replace(run, train_settings=first.setdefault(run.training, run.settings))


def _settings_of(study: StudyFile, model: ModelEntry, setting: SettingEntry) -> Settings | None:
    if model.preset in EXTERNAL_CHECKS:
        EXTERNAL_CHECKS[model.preset]((*model.changes, *setting.changes))
        return None
    walk = () if setting.walk is None else (f"segment.walk={setting.walk}",)
    return load_settings(model.preset, (*study.common, *model.changes, *setting.changes, *walk))


def _training_name(
    model: ModelEntry, setting: SettingEntry, settings: Settings | None, data: DataEntry, seed: int
) -> str:
    """Return a readable name with a hash of everything that decides the weights, except the fold, a folder within."""
    changes = [model.preset, *model.changes, *setting.changes]
    tree = changes if settings is None else settings.model_dump(mode="json", exclude={"segment", "preset"})
    decisive = json.dumps([tree, data.name, data.layout, seed, setting.train_cases], sort_keys=True)
    few = f"{setting.train_cases}cases" if setting.train_cases else ""
    parts = [_slug(Path(model.preset).stem), data.name, few, f"seed{seed}", _hash(decisive)]
    return "__".join(part for part in parts if part)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _slug(name: str) -> str:
    """Return a name as part of a folder's: `3D-SAutoMed` -> `3d_sautomed`; adds a hash where letters are not ASCII."""
    name = normalize("NFC", name)
    plain = [normalize("NFKD", character).encode("ascii", "ignore").decode() for character in name]
    lost = any(character.isalnum() and not kept for character, kept in zip(name, plain, strict=True))
    slug = re.sub(r"[^a-z0-9]+", "_", "".join(plain).lower()).strip("_")
    return "_".join(part for part in (slug, _hash(name) if lost else "") if part)
