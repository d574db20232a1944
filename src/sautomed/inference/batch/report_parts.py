"""Parts of a CASE.json that has been read: it may be of an older version, or none of ours. case_report.py writes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sautomed.inference.batch.json_files import read_object
from sautomed.inference.batch.places import Place
from sautomed.inference.engine import FLOAT32

SCHEMA = "sautomed case 1"
FAILURES_SCHEMA = "sautomed failures 1"


def is_report(path: Place) -> bool:
    """Return whether a file is a complete CASE.json."""
    return read_object(path).get("schema") == SCHEMA


def reported_outputs(report: Mapping[str, Any]) -> set[str]:
    """Return the names of the files that the content of a CASE.json lists; none if it is not ours."""
    return {str(row.get("path")) for row in output_rows(report)} if report.get("schema") == SCHEMA else set()


def is_failure_list(path: Place) -> bool:
    """Return whether a file is a complete failures.json."""
    return read_object(path).get("schema") == FAILURES_SCHEMA


def relative_name(output: Path, report: Path) -> str:
    """Return an output as CASE.json names it."""
    return output.relative_to(report.parent).as_posix()


def output_rows(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the outputs that a report lists: path relative to it, bytes and sha256."""
    rows = report.get("outputs")
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def part_of(report: Mapping[str, Any], key: str) -> dict[str, Any]:
    """Return an object within a report; an empty one if it has none of this name."""
    part = report.get(key)
    return part if isinstance(part, dict) else {}


def settings_of(report: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a report; before there was a choice, all was computed in one way."""
    return {**asdict(FLOAT32), **part_of(report, "settings")}


def meant_settings(report: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that a result was meant to have: others where memory ran out, as it would once more."""
    return {**settings_of(report), **part_of(report, "fell_back_from")}
