"""Write the JSON schema of FILE.prompts.json from its classes: python docs/make_prompts_schema.py

The test `tests/docs/test_prompts_schema.py` fails when the schema and the classes differ.
"""

import json
from importlib.resources import files
from pathlib import Path

from sautomed.inference.prompts.document import PromptsDocument

SCHEMA_FILE = Path(str(files("sautomed.inference.prompts"))) / "prompts.schema.json"


def make_schema() -> str:
    """Return the text of the schema."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **PromptsDocument.model_json_schema()}
    return json.dumps(schema, indent=1) + "\n"


if __name__ == "__main__":
    SCHEMA_FILE.write_text(make_schema(), encoding="utf-8")
