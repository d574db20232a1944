"""Write docs/errors.md from the error classes: python docs/make_errors.py

The test `tests/docs/test_errors.py` fails when the page and the classes differ.
"""

import inspect
from pathlib import Path

from sautomed import errors

PAGE = Path(__file__).with_name("errors.md")
HEAD = """# Faults

Made by `docs/make_errors.py`; do not edit.

Every message says *where* (file, case, slice), *what* is wrong and why it matters, and the *cure*.
Each kind of fault has an id that never changes its meaning, shown before the message and kept in the JSON reports, and
each family an exit code, so that a script can tell bad data from a bad model. In Python, all are subclasses of
`sautomed.errors.SautomedError`, with the attributes `id`, `exit_code`, `fault`, `where` and `cure`.
"""
FAMILIES = {
    errors.EXIT_USAGE: "Exit 2: the command line, a setting or a target",
    errors.EXIT_DATA: "Exit 3: a scan, a label map or a dataset",
    errors.EXIT_MODEL: "Exit 4: weights, a model folder or a checkpoint",
    errors.EXIT_MEMORY: "Exit 5: memory",
    errors.EXIT_SOME_CASES: "Exit 6: some cases of a batch failed, the others are done",
    errors.EXIT_INTERNAL: "Exit 1: a bug; please report it",
}


def faults() -> list[type[errors.SautomedError]]:
    """Return every error class that can be raised, by id; only the root class is left out."""
    kinds = {kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, errors.SautomedError)}
    return sorted(kinds - {errors.SautomedError}, key=lambda kind: kind.id)


def make_page() -> str:
    """Return the whole page."""
    lines = [HEAD]
    for code, title in FAMILIES.items():
        lines += [f"## {title}", "", "| id | name | meaning |", "|---|---|---|"]
        lines += [f"| `{k.id}` | `{k.__name__}` | {_meaning(k)} |" for k in faults() if k.exit_code == code]
        lines.append("")
    lines += ["0 is success; 130 is an interruption by Ctrl-C, 143 one of a training by SIGTERM.", ""]
    return "\n".join(lines)


def _meaning(kind: type[errors.SautomedError]) -> str:
    return " ".join((inspect.getdoc(kind) or "").split("\n\n")[0].split())


if __name__ == "__main__":
    PAGE.write_text(make_page(), encoding="utf-8")
