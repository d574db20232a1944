"""Read and write FILE.prompts.json: one line for each organ of a slice, so that two files can be compared."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from sautomed.errors import BadPrompts
from sautomed.inference.prompts.document import SCHEMA, PromptsDocument
from sautomed.scans.files import write_text
from sautomed.scans.paths import read_bytes, require_file

ENDING = ".prompts.json"
LARGEST_BYTES = 2**28  # ours: 500 slices with 13 organs take 1 MB, and with painted masks on all of them 50 MB

_AGAIN = "Segment the scan again, which writes the file anew."


def write_prompts(path: str | Path, document: PromptsDocument) -> None:
    """Write the document atomically; an existing file is replaced.

    Raises:
        UnwritableTarget: The file cannot be written.
    """
    write_text(path, prompts_text(document))


def prompts_text(document: PromptsDocument) -> str:
    """Return the document as the text of its file."""
    content = document.model_dump(mode="json", by_alias=True)
    lines = [f" {_json(name)}: {_json(value)}" for name, value in content.items() if not isinstance(value, list)]
    lines += [_list(name, content[name]) for name in ("carried", "locked")]
    lines.append(f' "slices": [\n{_joined(_slice_lines(content["slices"]))}\n ]')
    return f"{{\n{_joined(lines)}\n}}\n"


def _slice_lines(slices: Iterable[dict[str, Any]]) -> Iterator[str]:
    for part in slices:
        organs = _joined(f"   {_json(organ)}: {_json(prompt)}" for organ, prompt in part["organs"].items())
        yield f'  {{"index": {part["index"]}, "organs": {{\n{organs}}}}}'


def _list(name: str, items: list[Any]) -> str:
    return f" {_json(name)}: [\n{_joined(f'  {_json(item)}' for item in items)}\n ]" if items else f" {_json(name)}: []"


def _joined(lines: Iterable[str]) -> str:
    return ",\n".join(lines)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def read_prompts(path: str | Path) -> PromptsDocument:
    """Read and check a document.

    Raises:
        MissingFile: There is no such file, or it may not be read.
        DataError: The system cannot read it, as its disk fails.
        BadPrompts: It is no such document, of another version, or contradicts itself.
    """
    path = Path(path)
    require_file(path)
    if path.stat().st_size > LARGEST_BYTES:
        raise BadPrompts(f"is larger than {LARGEST_BYTES // 2**20} MB, which no file of prompts is.", where=path,
                         cure="Give the file that `sautomed segment` wrote.")  # fmt: skip
    content = read_bytes(path)
    try:
        return PromptsDocument.model_validate_json(content)
    except ValidationError as error:
        _refuse_other_schema(content, path)
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        fault = f"{place}: {first['msg']}" if place else first["msg"]
        raise BadPrompts(f"is no file of prompts: {fault}.", where=path, cure=_AGAIN) from error


def _refuse_other_schema(content: bytes, path: Path) -> None:
    """Raise BadPrompts for a document of another version."""
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):  # no JSON, which was found before
        return
    schema = found.get("schema") if isinstance(found, dict) else None
    if isinstance(schema, str) and schema.startswith(SCHEMA.rstrip("0123456789")) and schema != SCHEMA:
        raise BadPrompts(
            f"has the format '{schema}', but this version reads '{SCHEMA}'.",
            where=path,
            cure="Use the sautomed version that wrote it, or segment the scan again with this one.",
        )
