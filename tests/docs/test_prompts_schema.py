"""The JSON schema in the package is that of the classes, and explains every field."""

import importlib.util
import json
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("make_prompts_schema", DOCS / "make_prompts_schema.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_schema_is_up_to_date(script):
    text = script.SCHEMA_FILE.read_text(encoding="utf-8")
    assert text == script.make_schema(), "run: python docs/make_prompts_schema.py"


def test_the_schema_names_its_version_and_requires_it(script):
    schema = json.loads(script.make_schema())
    assert schema["properties"]["schema"]["const"] == "sautomed prompts 1"
    assert "schema" in schema["required"]


def test_the_page_names_every_field(script):
    schema, page = json.loads(script.make_schema()), (DOCS / "prompts.md").read_text(encoding="utf-8")
    fields = {name for part in (schema, *schema["$defs"].values()) for name in part["properties"]}
    assert [name for name in sorted(fields) if f"`{name}`" not in page] == []
