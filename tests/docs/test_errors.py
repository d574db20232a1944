"""docs/errors.md is up to date, and every error has its own id."""

import importlib.util
from collections import Counter
from pathlib import Path

import pytest

from sautomed import errors

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("make_errors", DOCS / "make_errors.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_up_to_date(script):
    page = (DOCS / "errors.md").read_text(encoding="utf-8")
    assert page == script.make_page(), "run: python docs/make_errors.py"


def test_each_error_has_its_own_id_and_a_row(script):
    assert [name for name, times in Counter(kind.id for kind in script.faults()).items() if times > 1] == []
    page = script.make_page()
    assert [kind for kind in script.faults() if page.count(f"| `{kind.__name__}` |") != 1] == []


def test_every_error_class_is_exported(script):
    def below(kind):
        return {kind}.union(
            *(below(child) for child in kind.__subclasses__() if child.__module__.startswith("sautomed"))
        )

    assert {kind.__name__ for kind in below(errors.SautomedError)} <= set(errors.__all__)


def test_a_message_names_the_place_the_fault_and_the_cure():
    fault = errors.GantryTilt("is tilted by 12 degrees.", where="scan", cure="Use --resample.")
    assert str(fault) == "scan: is tilted by 12 degrees. Use --resample."
    assert (fault.id, fault.exit_code) == ("SAM-E0353", 3)
