"""Load settings from presets, YAML files and the command line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from difflib import get_close_matches
from functools import reduce
from importlib import resources
from operator import getitem
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from sautomed.config.settings import SYSTEMS, Settings
from sautomed.errors import UnknownSetting

_PRESETS = resources.files("sautomed.config.presets")
_EXAMPLE = "train: {batch: 4}"
_UNKNOWN = "extra_forbidden"  # pydantic's name of the fault
_WITH_ALTERNATIVES = ("model", "trunk", "image_size")
_NAMES_OF_ALTERNATIVES = ("name", "kind")


def preset_names() -> list[str]:
    """Return the names of all presets, sorted."""
    return sorted(file.name.removesuffix(".yaml") for file in _PRESETS.iterdir() if file.name.endswith(".yaml"))


def load_settings(preset_or_file: str | Path, overrides: Iterable[str] = ()) -> Settings:
    """Load settings from a preset or a YAML file, with `a.b=c` overrides on top.

    Args:
        preset_or_file: A preset's name, a file, or the name of a system that has no preset: then its defaults.
        overrides: As given to `--set`; the later ones win. Settings of a section, as in "train={batch: 4}", leave its
            others as they are, unless they name another kind of it.
    Raises:
        UnknownSetting: There is no such preset or file, it is no YAML, a setting does not exist, or it cannot take
            the value.
    """
    name, path = str(preset_or_file), Path(preset_or_file)
    if name in preset_names():
        tree = _parse_mapping((_PRESETS / f"{name}.yaml").read_text(encoding="utf-8"), name, _EXAMPLE)
    elif path.is_file():
        tree = _parse_mapping(_read_text(path), path, _EXAMPLE)
    elif name in SYSTEMS and name.replace("_", "-") not in preset_names():
        tree = {"preset": name, "model": {"name": name}}
    else:
        raise UnknownSetting(
            f"there is no preset or settings file of the name '{name}'.",
            cure=f"Use one of {', '.join(preset_names())}, or the path of a YAML file.",
        )
    for override in overrides:
        _apply(tree, override)
    return parse_settings(tree, where=name)


def parse_settings(tree: Mapping[str, Any], where: str) -> Settings:
    """Return settings from plain data, as a run's `config.json` holds them.

    Args:
        where: The file or preset, for messages.
    Raises:
        UnknownSetting: A setting does not exist, or cannot take the value.
    """
    try:
        return Settings.model_validate(tree)
    except ValidationError as error:
        raise UnknownSetting(
            f"settings that cannot be used: {'; '.join(map(_describe, error.errors()))}.",
            where=where,
            cure=f"{_nearest_setting(tree, error)}docs/settings.md lists every setting with its values.",
        ) from error


def _nearest_setting(tree: Mapping[str, Any], error: ValidationError) -> str:
    """Return a question after the setting that the first unknown one may have meant; empty if none is near."""
    unknown = next((fault for fault in error.errors() if fault["type"] == _UNKNOWN), None)
    if unknown is None:
        return ""
    schema = Settings.model_json_schema()["$defs"].values()
    names = {name for part in schema for name in part.get("properties", ())}
    *sections, last = _setting_parts(unknown["loc"])
    for near in get_close_matches(str(last), names):
        corrected: dict[Any, Any] = deepcopy(dict(tree))
        try:
            section = reduce(getitem, sections, corrected)
            section[near] = section.pop(last)
        except (LookupError, TypeError):  # pydantic names the place in another way than the file
            return ""
        name = ".".join(map(str, (*sections, near)))
        if name not in _unknown_settings(corrected):
            return f"Did you mean {name}? "
    return ""


def _unknown_settings(tree: Mapping[str, Any]) -> set[str]:
    try:
        Settings.model_validate(tree)
    except ValidationError as error:
        return {_setting_name(fault["loc"]) for fault in error.errors() if fault["type"] == _UNKNOWN}
    return set()


def _describe(fault: ErrorDetails) -> str:
    """Return the setting, what is wrong with it, and the value that it was given if that is a single one."""
    message, given = fault["msg"].removeprefix("Value error, "), fault["input"]
    shown = f" (got {given!r})" if fault["type"] != "value_error" and isinstance(given, str | int | float) else ""
    return f"{_setting_name(fault['loc'])}: {message}{shown}"


def _setting_name(parts: Sequence[str | int]) -> str:
    """Return a setting's dotted name."""
    return ".".join(map(str, _setting_parts(parts)))


def _setting_parts(parts: Sequence[str | int]) -> list[str | int]:
    """Return where a setting is, without the steps by which pydantic names the alternative that it tried."""
    alternatives = {i + 1 for i, part in enumerate(parts[:-1]) if part in _WITH_ALTERNATIVES}
    return [part for i, part in enumerate(parts) if i not in alternatives]


def read_yaml(path: Path, example: str) -> dict[str, Any]:
    """Read names with values from a YAML file.

    Args:
        example: Shown in the message if the file holds something else.
    Raises:
        UnknownSetting: There is no such file, or it holds no names with values.
    """
    if not path.is_file():
        raise UnknownSetting("is no file.", where=path, cure="Give the path of a YAML file.")
    return _parse_mapping(_read_text(path), path, example)


def _parse_mapping(text: str, where: str | Path, example: str) -> dict[str, Any]:
    tree = _parse_yaml(text, where) or {}
    if not isinstance(tree, dict):
        raise UnknownSetting(
            "holds no settings, but a list or a single value instead of names with values.",
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


def _parse_yaml(text: str, where: str | Path) -> Any:
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date that does not exist
        raise UnknownSetting(
            f"is not valid YAML: {' '.join(str(error).split())}.",
            where=where,
            cure="Check brackets, quotes and indentation.",
        ) from error


def _apply(tree: dict[str, Any], override: str) -> None:
    """Set one value in a tree of settings.

    Args:
        override: Such as "train.batch=4"; the value is YAML.
    """
    key, equals, value = override.partition("=")
    if not equals or not key:
        raise UnknownSetting(
            f"'{override}' is not of the form name=value.",
            where="--set",
            cure="Write, for example, --set train.batch=4.",
        )
    *sections, last = key.strip().split(".")
    for depth, section in enumerate(sections, start=1):
        tree = tree.setdefault(section, {})
        if not isinstance(tree, dict):
            raise UnknownSetting(
                f"'{section}' in '{key}' has no settings below it.",
                where="--set",
                cure=f"Set {'.'.join(sections[:depth])} itself; docs/settings.md lists every setting.",
            )
    _merge(tree, last, _parse_yaml(value, f"--set {override}"))


def _is_another(value: dict[str, Any], section: dict[str, Any]) -> bool:
    """Return whether a section names another kind than the one that is there."""
    return any(name in value and value[name] != section.get(name) for name in _NAMES_OF_ALTERNATIVES)


def _merge(tree: dict[str, Any], key: str, value: Any) -> None:
    """Set a value in a section; several settings of a section of its own leave the others there as they are."""
    section = tree.get(key)
    if isinstance(value, dict) and isinstance(section, dict) and not _is_another(value, section):
        for name, inner in value.items():
            _merge(section, name, inner)
    else:
        tree[key] = value
