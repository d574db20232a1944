"""Write docs/settings.md from the settings' classes: python docs/make_settings.py

The test `tests/docs/test_settings.py` fails when the page and the settings differ.
"""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from sautomed.config import Settings, load_settings, preset_names

PAGE = Path(__file__).with_name("settings.md")
HEAD = """# Settings

Made by `docs/make_settings.py`; do not edit.

`sautomed train -c PRESET` starts from a preset, `-c FILE.yaml` from a file that names only what differs from the
defaults, and `--set name=value` (as often as wanted) changes settings on top: `--set train.batch=4`, `--set
data.window_hu=[-160,240]`, or several of a section, whose others stay: `--set "train={batch: 4, ema: 0.98}"`. A name
or a value that does not exist is refused. The settings of a run, with every
`auto` decided, are kept in its `config.json`. The reasons for the defaults are in [paper.md](paper.md).

The defaults are those of the preset `sam-vit-b`. The last column says which presets differ, and how.
"""


def make_page() -> str:
    """Return the whole page; a part that several systems have, such as a trunk, has one section."""
    presets = {name: load_settings(name) for name in preset_names()}
    places: dict[tuple[str, type[BaseModel]], dict[str, Any]] = {("", Settings): presets}
    _collect(Settings, "", presets, places)
    alternatives = Counter(prefix for prefix, _ in places)
    sections = (
        _section(model, prefix, values, _tag(model) if alternatives[prefix] > 1 else "")
        for (prefix, model), values in places.items()
    )
    return "\n".join([HEAD, *filter(None, sections)])


def _collect(
    model: type[BaseModel],
    prefix: str,
    presets: dict[str, Any],
    places: dict[tuple[str, type[BaseModel]], dict[str, Any]],
) -> None:
    """Collect, for every place in the tree of settings and every class it may hold, the presets that use the class."""
    for name, field in model.model_fields.items():
        place = f"{prefix}.{name}".lstrip(".")
        for part in _models(field.annotation):
            inside = {p: getattr(value, name) for p, value in presets.items()}
            of_kind = {p: value for p, value in inside.items() if isinstance(value, part)}
            places.setdefault((place, part), {}).update(of_kind)
            _collect(part, place, of_kind, places)


def _section(model: type[BaseModel], prefix: str, presets: dict[str, Any], tag: str) -> str:
    """Return the table of a class's own settings, or "" if it has only parts."""
    plain = {name: field for name, field in model.model_fields.items() if not _models(field.annotation)}
    if not plain:
        return ""
    about = (model.__dict__.get("__doc__") or "").strip()
    lines = [about.splitlines()[0]] if about else []
    if tag and presets:
        lines.append(f"Presets: {', '.join(presets)}.")
    title = f"`{prefix}`" if prefix else "The whole"
    rows = [_row(prefix, name, field, presets) for name, field in plain.items()]
    return "\n\n".join([f"## {title}{f', {tag}' if tag else ''}", *lines, "\n".join([*TABLE_HEAD, *rows])]) + "\n"


def _tag(part: type[BaseModel]) -> str:
    """Return what distinguishes one of several alternatives: `kind resnet`, `name samed`."""
    field = next(name for name in ("kind", "name") if name in part.model_fields)
    return f"{field} {part.model_fields[field].default}"


TABLE_HEAD = ["| setting | values | default | meaning | presets |", "|---|---|---|---|---|"]


def _row(prefix: str, name: str, field: FieldInfo, presets: dict[str, Any]) -> str:
    other = {p: getattr(value, name) for p, value in presets.items() if getattr(value, name) != field.default}
    cells = [
        f"`{f'{prefix}.{name}'.lstrip('.')}`",
        ", ".join(filter(None, (_values(field.annotation), _bounds(field.metadata)))),
        f"`{_shown(field.default)}`",
        field.description or "",
        ", ".join(f"{preset}: `{_shown(value)}`" for preset, value in other.items()),
    ]
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


def _models(annotation: Any) -> list[type[BaseModel]]:
    """Return the settings classes that a field may hold; none for a plain value."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if get_origin(annotation) in (Annotated, Union, UnionType):
        return [model for part in get_args(annotation) for model in _models(part)]
    return []


def _values(annotation: Any) -> str:
    """Return a type in words."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return f"{_values(parts[0])} ({_bounds(parts[1:])})"
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in parts)
    if origin in (Union, UnionType):
        return " or ".join(_values(part) for part in parts)
    if origin is tuple:
        many = _values(parts[0]).replace("number", "numbers")
        return f"list of {many}" if parts[-1] is Ellipsis else f"{len(parts)} {many}"
    names = {int: "whole number", float: "number", bool: "`true`, `false`", str: "text", NoneType: "`null`"}
    return names[annotation]


def _bounds(constraints: Iterable[Any]) -> str:
    """Return the bounds of a number, such as "≥ 1, < 4", from the constraints that pydantic keeps for it."""
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    single = [one for some in constraints for one in (some.metadata if isinstance(some, FieldInfo) else [some])]
    return ", ".join(
        f"{sign} {getattr(one, key)}" for one in single for key, sign in signs.items() if hasattr(one, key)
    )


def _shown(value: Any) -> str:
    """Return a value as one would write it in YAML."""
    if isinstance(value, tuple):
        return f"[{', '.join(map(_shown, value))}]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return f"{value:g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    PAGE.write_text(make_page(), encoding="utf-8")
