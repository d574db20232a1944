"""docs/settings.md is what its script makes of the settings now, and says something of each."""

import importlib.util
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("make_settings", DOCS / "make_settings.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_not_stale(script):
    page = (DOCS / "settings.md").read_text(encoding="utf-8")
    assert page == script.make_page(), "run: python docs/make_settings.py"


def test_every_setting_is_explained(script):
    rows = [line.split(" | ") for line in script.make_page().splitlines() if line.startswith("| `")]
    assert len(rows) > 50
    assert [row[0] for row in rows if not row[3].strip()] == []


def test_a_known_row_reads_as_it_should(script):
    assert "| `train.batch` | whole number, ≥ 1 | `8` | runs per step | tiny: `4` |" in script.make_page().splitlines()
