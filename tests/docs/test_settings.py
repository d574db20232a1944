"""docs/settings.md is up to date and explains every setting, and docs/paper.md names what exists."""

import importlib.util
import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("make_settings", DOCS / "make_settings.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_up_to_date(script):
    page = (DOCS / "settings.md").read_text(encoding="utf-8")
    assert page == script.make_page(), "run: python docs/make_settings.py"


def test_every_setting_is_explained(script):
    rows = [line.split(" | ") for line in script.make_page().splitlines() if line.startswith("| `")]
    assert len(rows) > 50
    assert [row[0] for row in rows if not row[3].strip()] == []


def test_a_known_row_reads_as_it_should(script):
    row = next(line for line in script.make_page().splitlines() if line.startswith("| `train.batch` "))
    assert row.startswith(
        "| `train.batch` | whole number, ≥ 1 | `8` | runs per step, on each of the processes of --devices |"
    )
    assert "tiny: `4`" in row


def test_the_paper_page_names_settings_that_exist(script):
    known = set(re.findall(r"^\| `([\w.]+)` ", script.make_page(), re.M))
    words = re.findall(r"`((?:model|data|train|segment)\.[\w.]+)", (DOCS / "paper.md").read_text(encoding="utf-8"))
    named = {word for word in words if not word.endswith((".py", ".safetensors"))}
    assert len(named) > 30
    assert {
        name for name in named if not any(k == name or k.startswith(f"{name.rstrip('.')}.") for k in known)
    } == set()


def test_the_paper_page_names_tests_and_code_that_exist():
    root, text = DOCS.parent, (DOCS / "paper.md").read_text(encoding="utf-8")
    sources = "\n".join(p.read_text(encoding="utf-8") for p in (root / "src").rglob("*.py"))
    for name in set(re.findall(r"`(?:[A-Z]\w+\.)?(\w+)`[,;: ]", " ".join(re.findall(r"^\| [1-5] .*$", text, re.M)))):
        assert re.search(rf"(?:def|class) {name}\b", sources), name
    tests = "\n".join(p.read_text(encoding="utf-8") for p in (root / "tests" / "model").glob("*.py"))
    prefixes = re.findall(r"`(test_[\w]+)\*`", text)
    assert len(prefixes) > 5
    assert [prefix for prefix in prefixes if f"def {prefix}" not in tests] == []
