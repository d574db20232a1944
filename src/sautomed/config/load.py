"""Settings from presets, YAML files and the command line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from sautomed.config.settings import Settings
from sautomed.errors import UnknownSetting


def preset_names() -> list[str]:
    return sorted(
        p.name.removesuffix(".yaml")
        for p in resources.files("sautomed.config.presets").iterdir()
        if p.name.endswith(".yaml")
    )


def load_settings(preset_or_file: str | Path, overrides: Iterable[str] = ()) -> Settings:
    """Settings from a preset's name or a YAML file, with `a.b=c` overrides on top.

    Raises:
        UnknownSetting: neither a preset nor a file, no YAML, a key that does not exist, or a value it cannot take.
    """
    path = Path(preset_or_file)
    if str(preset_or_file) in preset_names():
        text = (resources.files("sautomed.config.presets") / f"{preset_or_file}.yaml").read_text(encoding="utf-8")
    elif path.is_file():
        text = _read_text(path)
    else:
        raise UnknownSetting(
            f"there is no preset or settings file of the name '{preset_or_file}'.",
            cure=f"Use one of {', '.join(preset_names())}, or the path of a YAML file.",
        )
    tree = _mapping(text, preset_or_file, "train: {batch: 4}")
    for override in overrides:
        _apply(tree, override)
    return parse_settings(tree, where=str(preset_or_file))


def parse_settings(tree: Mapping[str, Any], where: str) -> Settings:
    """Settings from plain data, as a run's `config.json` holds them."""
    try:
        return Settings.model_validate(tree)
    except ValidationError as error:
        faults = "; ".join(f"{_place(e['loc'])}: {e['msg']}" for e in error.errors())
        raise UnknownSetting(
            f"settings that cannot be used: {faults}.",
            where=where,
            cure="docs/settings.md lists every setting with its values.",
        ) from error


def _place(parts: Sequence[str | int]) -> str:
    """A setting's name as one writes it: pydantic names the chosen kind of model and of trunk as a step of its own."""
    chosen = {i + 1 for i, part in enumerate(parts[:-1]) if part in ("model", "trunk")}
    return ".".join(str(part) for i, part in enumerate(parts) if i not in chosen)


def read_yaml(path: Path, example: str) -> dict[str, Any]:
    """Names with values from a YAML file; raises UnknownSetting with the `example` where it is something else."""
    if not path.is_file():
        raise UnknownSetting("is no file.", where=path, cure="Give the path of a YAML file.")
    return _mapping(_read_text(path), path, example)


def _mapping(text: str, where: str | Path, example: str) -> dict[str, Any]:
    tree = _parse_yaml(text, str(where)) or {}
    if not isinstance(tree, dict):
        raise UnknownSetting(
            "holds no settings: a list or a single value stands where names with values should.",
            where=where,
            cure=f"Write names with values, for example {example}.",
        )
    return tree


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnknownSetting("is not UTF-8 text.", where=path, cure="Save it as UTF-8.") from error
    except OSError as error:
        raise UnknownSetting(
            f"cannot be read: {error.strerror}.", where=path, cure="Change its permissions."
        ) from error


def _parse_yaml(text: str, where: str) -> Any:
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date that does not exist
        raise UnknownSetting(
            f"is not valid YAML: {' '.join(str(error).split())}.",
            where=where,
            cure="Check brackets, quotes and indentation.",
        ) from error


def _apply(tree: dict[str, Any], override: str) -> None:
    key, equals, value = override.partition("=")
    if not equals or not key:
        raise UnknownSetting(
            f"'{override}' is not of the form name=value.",
            where="--set",
            cure="Write, for example, --set train.batch=4.",
        )
    *sections, last = key.strip().split(".")
    for section in sections:
        tree = tree.setdefault(section, {})
        if not isinstance(tree, dict):
            raise UnknownSetting(
                f"'{section}' in '{key}' has no settings below it.",
                where="--set",
                cure="docs/settings.md lists every setting.",
            )
    tree[last] = _parse_yaml(value, f"--set {override}")
