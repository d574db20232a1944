"""When a case counts as done, so that a run that resumes skips it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sautomed.inference.batch.case_report import Provenance
from sautomed.inference.batch.json_files import read_object
from sautomed.inference.batch.remote import RemoteFile
from sautomed.inference.batch.report_parts import (
    SCHEMA,
    meant_settings,
    output_rows,
    part_of,
    relative_name,
    settings_of,
)
from sautomed.scans.paths import sha256_of

log = logging.getLogger(__name__)

UNFINISHED = "it was not finished"


def why_not_done(path: Path, provenance: Provenance, outputs: Sequence[Path]) -> str | None:
    """Return why a case must be segmented again, or None if its report and outputs are complete and still valid.

    Args:
        path: CASE.json.
        provenance: That of the result which this run would write.
        outputs: The files that this run would write, without the report.
    """
    report = read_object(path)
    outdated = _why_outdated(report, provenance, [relative_name(output, path) for output in outputs])
    if outdated is not None:
        if not _is_whole_correction(report, path):
            return outdated
        log.warning("%s: %s, but a person has corrected it, so it stays. --overwrite makes it anew.", path, outdated)
        return None
    hashes = {row.get("path"): row.get("sha256") for row in output_rows(report)}
    for output in outputs:
        if not output.is_file():
            return f"{output.name} is missing"
        if sha256_of([output]) != hashes[relative_name(output, path)]:
            return f"{output.name} has changed since it was written"
    return None


def _is_whole_correction(report: Mapping[str, Any], path: Path) -> bool:
    """Return whether a case was corrected by a person, and all its outputs are as they were left."""
    if report.get("schema") != SCHEMA or report.get("status") != "done" or report.get("corrected") is not True:
        return False
    outputs = [(path.parent / str(row.get("path")), row.get("sha256")) for row in output_rows(report)]
    return bool(outputs) and all(output.is_file() and sha256_of([output]) == sha256 for output, sha256 in outputs)


def why_remote_not_done(
    report: Mapping[str, Any],
    provenance: Provenance,
    results: Mapping[str, RemoteFile | None],
    sha256_of_result: Callable[[str], str | None],
) -> str | None:
    """Return the same of a case whose outputs are in a remote store, which are read only if their MD5 is not known.

    Args:
        report: The content of CASE.json.
        results: What the store says of the files that this run would write, as the report names them.
        sha256_of_result: Reads one of them.
    """
    outdated = _why_outdated(report, provenance, list(results))
    if outdated is not None:
        return outdated
    for row in output_rows(report):
        name = str(row.get("path"))
        found = results[name]
        if found is None:
            return f"{name} is missing"
        is_known = found.md5 is not None and found.md5 == row.get("md5")
        if found.size != row.get("bytes") or not (is_known or sha256_of_result(name) == row.get("sha256")):
            return f"{name} has changed since it was written"
    return None


def _why_outdated(report: Mapping[str, Any], provenance: Provenance, outputs: Sequence[str]) -> str | None:
    """Return why a CASE.json is not that of a finished case of this provenance, whatever became of its outputs.

    Args:
        outputs: The files that this run would write, as the report names them.
    """
    if report.get("schema") != SCHEMA or report.get("status") != "done":
        return UNFINISHED
    if part_of(report, "input").get("sha256") != provenance.input_sha256:
        return "its scan has changed"
    if provenance.model_sha256 is None or part_of(report, "model").get("sha256") != provenance.model_sha256:
        return "it was made with another model"
    names = {str(row.get("path")) for row in output_rows(report)}
    if provenance.settings not in (settings_of(report), meant_settings(report)) or names != set(outputs):
        return "it was made with other settings"
    return None


def known_sha256(report: Mapping[str, Any], version: str | None) -> str | None:
    """Return the hash of the remote scan that a report is about, without reading it; None if it is another version."""
    known = part_of(report, "input")
    return str(known.get("sha256")) if version is not None and known.get("version") == version else None
