"""Measure the structure of one or more checkouts: files, lines, rooms, layers, and arrows between rooms.

    python benchmarks/structure.py CHECKOUT [CHECKOUT ...]

A room is what lies directly in `src/sautomed`: a package, or a module beside the packages. An arrow is a pair of rooms
of which one imports the other. Layers are those of the import contract in `pyproject.toml`.
"""

import ast
import sys
import tomllib
from pathlib import Path


def measure(checkout: Path) -> dict[str, int]:
    """Return the figures of a checkout."""
    root = checkout / "src" / "sautomed"
    modules = [path for path in root.rglob("*.py") if path.name != "__main__.py"]
    rooms = {room_of(path, root) for path in modules} - {""}
    imports = [(room_of(path, root), target) for path in modules for target in imported(path, root)]
    arrows = {(source, target) for source, target in imports if source and target in rooms and source != target}
    lines = [len(path.read_text(encoding="utf-8").splitlines()) for path in modules]
    return {
        "files": len(modules),
        "lines": sum(lines),
        "longest file": max(lines),
        "rooms": len(rooms),
        "modules beside the packages": sum((root / f"{room}.py").is_file() for room in rooms),
        "layers": len(layers_of(checkout)),
        "arrows between rooms": len(arrows),
        "imports between rooms": sum(1 for source, target in imports if (source, target) in arrows),
    }


def room_of(path: Path, root: Path) -> str:
    """Return the room of a module; an empty name for the package's own `__init__.py`."""
    first = path.relative_to(root).parts[0]
    return "" if first == "__init__.py" else first.removesuffix(".py")


def imported(path: Path, root: Path) -> list[str]:
    """Return the room of each import of this package in a module."""
    names: list[str] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            names += [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
    return [name.split(".")[1] for name in names if name.startswith(f"{root.name}.")]


def layers_of(checkout: Path) -> list[str]:
    """Return the layers of the import contract."""
    settings = tomllib.loads((checkout / "pyproject.toml").read_text(encoding="utf-8"))
    return next(c["layers"] for c in settings["tool"]["importlinter"]["contracts"] if c["type"] == "layers")


def main() -> None:
    """Print a row for each figure and a column for each checkout."""
    measured = [measure(Path(name)) for name in sys.argv[1:] or ["."]]
    for name in measured[0]:
        print(f"{name:<28}", *(f"{figures[name]:>8}" for figures in measured))


if __name__ == "__main__":
    main()
