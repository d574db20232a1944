"""Writes docs/settings.md from the settings themselves: python docs/make_settings.py

The test `tests/test_settings_doc.py` fails when the page and the settings differ.
"""

from collections.abc import Iterator
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
defaults, and `--set name=value` (as often as wanted) changes single settings on top: `--set train.batch=4`,
`--set data.window_hu=[-160,240]`. A name or a value that does not exist is refused. The settings of a run, with nothing
left on `auto`, are kept in its `config.json`. The reasons for the defaults are in [paper.md](paper.md).

The defaults are those of the preset `sam-vit-b`. The last column says which presets differ, and how.
"""


def make_page() -> str:
    """The whole page."""
    presets = {name: load_settings(name) for name in preset_names()}
    return "\n".join([HEAD, *_sections(Settings, "", presets)])


def _sections(model: type[BaseModel], prefix: str, presets: dict[str, Any], kind: str = "") -> Iterator[str]:
    """A table of a model's own settings, then its parts. `presets` holds each preset's value of this model."""
    title = f"`{prefix}`" if prefix else "The whole"
    if about := (model.__dict__.get("__doc__") or "").strip():
        about = about.splitlines()[0] + "\n\n"
    plain = {name: field for name, field in model.model_fields.items() if not _models(field.annotation)}
    if kind:
        about += f"Presets: {', '.join(presets)}.\n\n"
    if plain:
        rows = (_row(prefix, name, field, presets) for name, field in plain.items())
        yield f"## {title}{f', kind {kind}' if kind else ''}\n\n{about}" + "\n".join([*TABLE_HEAD, *rows, ""])
    for name, field in model.model_fields.items():
        choices = _models(field.annotation)
        for part in choices:
            inside = {p: getattr(value, name) for p, value in presets.items()}
            of_kind = {p: value for p, value in inside.items() if isinstance(value, part)}
            kind = part.model_fields["kind"].default if len(choices) > 1 else ""
            yield from _sections(part, f"{prefix}.{name}".lstrip("."), of_kind, kind)


TABLE_HEAD = ["| setting | values | default | meaning | presets |", "|---|---|---|---|---|"]


def _row(prefix: str, name: str, field: FieldInfo, presets: dict[str, Any]) -> str:
    other = {p: getattr(value, name) for p, value in presets.items() if getattr(value, name) != field.default}
    cells = [
        f"`{f'{prefix}.{name}'.lstrip('.')}`",
        _values(field.annotation) + _bounds(field),
        f"`{_shown(field.default)}`",
        field.description or "",
        ", ".join(f"{preset}: `{_shown(value)}`" for preset, value in other.items()),
    ]
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


def _models(annotation: Any) -> list[type[BaseModel]]:
    """The settings classes that a field may hold; none for a plain value."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if get_origin(annotation) in (Annotated, Union, UnionType):
        return [model for part in get_args(annotation) for model in _models(part)]
    return []


def _values(annotation: Any) -> str:
    """A type in words."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in parts)
    if origin in (Union, UnionType):
        return " or ".join(_values(part) for part in parts)
    if origin is tuple:
        many = _values(parts[0]).replace("number", "numbers")
        return f"list of {many}" if parts[-1] is Ellipsis else f"{len(parts)} {many}"
    names = {int: "whole number", float: "number", bool: "`true`, `false`", str: "text", NoneType: "`null`"}
    return names[annotation]


def _bounds(field: FieldInfo) -> str:
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    limits = [f"{sign} {getattr(m, key)}" for m in field.metadata for key, sign in signs.items() if hasattr(m, key)]
    return f", {', '.join(limits)}" if limits else ""


def _shown(value: Any) -> str:
    """A value as one would write it in YAML."""
    if isinstance(value, tuple):
        return f"[{', '.join(map(_shown, value))}]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return f"{value:g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    PAGE.write_text(make_page(), encoding="utf-8")
