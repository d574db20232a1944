"""Every place of the package that gives a cure: found in the source, so that none can be forgotten."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import sautomed

SOURCE = Path(sautomed.__file__).parent


@dataclass(frozen=True)
class Site:
    """A call with the argument `cure`.

    Args:
        key: Its module, function and error class, and from the second one of a function on its number there, such as
            "scans/payload.py check_size BadGeometry". Lines may move without changing it.
        path: The file.
        first: First line of the call.
        last: Its last line.
    """

    key: str
    path: str
    first: int
    last: int


def _find_sites() -> Iterator[Site]:
    for path in sorted(SOURCE.rglob("*.py")):
        module = path.relative_to(SOURCE).as_posix()
        if module.startswith("errors/"):
            continue  # the classes themselves pass their arguments on
        seen: Counter[str] = Counter()
        for function, call in _calls_with_cure(ast.parse(path.read_text(encoding="utf-8")), "module"):
            name = f"{module} {function} {ast.unparse(call.func).rpartition('.')[2]}"
            seen[name] += 1
            key = name if seen[name] == 1 else f"{name} {seen[name]}"
            yield Site(key, str(path), call.lineno, call.end_lineno or call.lineno)


def _calls_with_cure(node: ast.AST, function: str) -> Iterator[tuple[str, ast.Call]]:
    """Yield calls in the order of the source, each with the name of the function around it."""
    for child in ast.iter_child_nodes(node):
        inside = child.name if isinstance(child, ast.FunctionDef) else function
        if isinstance(child, ast.Call) and any(argument.arg == "cure" for argument in child.keywords):
            yield inside, child
        yield from _calls_with_cure(child, inside)


SITES = {site.key: site for site in _find_sites()}


def sites_of(frame: FrameType | None) -> set[str]:
    """Return the keys of all sites that a frame and its callers are in."""
    found = set()
    while frame is not None:
        path, line = frame.f_code.co_filename, frame.f_lineno
        if path.startswith(str(SOURCE)):
            found |= {site.key for site in SITES.values() if site.path == path and site.first <= line <= site.last}
        frame = frame.f_back
    return found
