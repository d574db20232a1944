"""CASE.json: the results of a case for scripts, and for a later run, which skips cases that are done.

{
  "schema": "sautomed case 1",
  "sautomed": version, "case": name, "status": "done" | "failed",
  "qc": "review" if a person should look at it, else "ok", which means no more than that; null if it failed,
  "review": [what a person should look at, such as "liver: slices 3-7: ..."], with slices counted from 0,
  "least_sure": smallest predicted_dsc of the organs, or null (docs/confidence.md),
  "confidence": {"cases": that the predicted DSC was fitted on, "calibrated": false if they are too few to rely on};
                null without a predicted DSC,
  "input": {"path" or URL, "sha256" (of several files: of their sorted hashes), "version" of a remote scan, which its
            store changes with the content, else null, "format", "shape" and "spacing_mm" along the file's axes,
            "affine" (4x4, index to RAS mm), "orientation" ("LAS": directions of the file's axes), "plane" of the
            slices}; a failed case may have only the path,
  "warnings": [sentence],
  "model": {"path", "sha256" (of config.json, dataset.json and model.safetensors)},
  "settings": {"engine": "torch" | "openvino", "precision": "32" | "bf16", "walk", "formats",
               "read": {"series", "frame", "channel", "resample", "assume_spacing"}, "prompts": the
               sha256 of the file of prompts that was replayed, or null},
  "fell_back_from": {"engine", "precision"} that were meant, if memory ran out and the device that had enough does not
                    compute so, else null; the settings name those of the result,
  "device": "cpu" | "cuda", "chunk": slices that passed through the trunk together,
  "seconds": {"read", "segment", "write"},
  "memory": {"predicted_bytes", "peak_bytes" of the process, "cuda_peak_bytes" or null},
  "organs": [{"value", "name", "present", "voxels", "volume_ml", "reason", "predicted_dsc": 0 to 1, or null, "signals":
            {name: number}}]; an organ that was not found has present false and 0, and no signals; a number that could
            not be computed is null, and reason says why,
  "outputs": [{"path" relative to CASE.json, "bytes", "sha256", "md5", by which stores know what they hold}],
  "corrected": true if a person has replaced an output since (in the studio); all else is of the automatic result,
  "error": null, or {"id", "message", "where", "cure", "exit_code"} of a failed case, whose model, settings, device,
            chunk, seconds and memory are null, and whose organs and outputs are empty
}

failures.json: {"schema": "sautomed failures 1", "cases": of the run, "failures": [{"case", "input", "id", "message",
"where", "cure", "exit_code"}]}.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from sautomed.config.version import __version__
from sautomed.errors import SautomedError
from sautomed.inference.batch.json_files import read_object, write_object
from sautomed.inference.batch.places import Place
from sautomed.inference.batch.report_parts import FAILURES_SCHEMA, SCHEMA, output_rows, part_of, relative_name
from sautomed.inference.confidence.review import CaseConfidence
from sautomed.inference.engine import FLOAT32, Computing
from sautomed.scans import Geometry, ReadOptions
from sautomed.scans.files import write_json
from sautomed.scans.paths import sha256_of
from sautomed.scans.volume import LabelMap

NOT_ASSESSED = CaseConfidence()


@dataclass(frozen=True)
class Provenance:
    """Everything that decides a result: the same provenance gives the same labels.

    The path and the hash of the model are None if it is in no folder.

    Args:
        input_version: Of a remote scan: changes with its content, and is known without reading it.
        fell_back_from: How it should have been computed, if memory ran out and the next device does not compute so.
    """

    input_path: Place
    input_sha256: str
    model_path: Path | None
    model_sha256: str | None
    walk: str
    formats: tuple[str, ...]
    reading: ReadOptions
    prompts_sha256: str | None = None
    input_version: str | None = None
    computing: Computing = FLOAT32
    fell_back_from: Computing | None = None

    def ended_by(self, computing: Computing) -> Provenance:
        """Return the provenance of a result that was computed in this way in the end."""
        return (
            self if computing == self.computing else replace(self, computing=computing, fell_back_from=self.computing)
        )

    @property
    def settings(self) -> dict[str, Any]:
        return {
            **asdict(self.computing),
            "walk": self.walk,
            "formats": list(self.formats),
            "read": asdict(self.reading),
            "prompts": self.prompts_sha256,
        }


@dataclass(frozen=True)
class OrganVolume:
    """Voxels and volume of an organ; numbers that could not be computed are None, and `reason` says why."""

    value: int
    name: str
    present: bool | None
    voxels: int | None
    volume_ml: float | None
    reason: str | None = None


@dataclass(frozen=True)
class Execution:
    """How a case was processed: device, slices at a time, seconds of each stage, memory and warnings."""

    device: str
    chunk: int
    seconds: dict[str, float]
    predicted_bytes: int
    peak_bytes: int
    cuda_peak_bytes: int | None
    warnings: tuple[str, ...]


def organ_volumes(labels: LabelMap) -> list[OrganVolume]:
    """Return voxels and millilitres of every organ that has a name, by value."""
    try:
        counts = labels.voxel_counts()
    except (MemoryError, ValueError) as error:
        reason = f"voxels could not be counted: {error or type(error).__name__}"
        return [OrganVolume(value, name, None, None, None, reason) for value, name in sorted(labels.names.items())]
    voxel_ml = abs(float(np.linalg.det(labels.affine[:3, :3]))) / 1000
    is_measurable = np.isfinite(voxel_ml) and voxel_ml > 0
    volumes = []
    for value, name in sorted(labels.names.items()):
        count = counts.get(value, 0)
        if count and not is_measurable:
            reason = f"the volume of a voxel is {voxel_ml:g} ml"
            volumes.append(OrganVolume(value, name, True, count, None, reason))
        else:
            volumes.append(OrganVolume(value, name, count > 0, count, count * voxel_ml if count else 0.0))
    return volumes


def done_report(
    case: str,
    path: Path,
    provenance: Provenance,
    geometry: Geometry,
    labels: LabelMap,
    outputs: Sequence[Path],
    execution: Execution,
    confidence: CaseConfidence = NOT_ASSESSED,
) -> dict[str, Any]:
    """Return the content of CASE.json for a case that was segmented.

    Args:
        path: Where it will be written; outputs are given relative to its folder.
        outputs: Files that exist; their hashes are computed here.
    """
    organs = organ_volumes(labels)
    nothing_found = not any(organ.present for organ in organs)
    return {
        **_head(case, "done"),
        "qc": "review" if confidence.review or nothing_found else "ok",
        "review": list(confidence.review),
        "least_sure": _rounded(confidence.least_sure),
        "confidence": None if confidence.cases is None else {"cases": confidence.cases,
                                                             "calibrated": confidence.calibrated},
        "input": {**_input_of(provenance), **_geometry_of(geometry, labels.plane)},
        "warnings": list(execution.warnings),
        "model": _model_of(provenance),
        "settings": provenance.settings,
        "fell_back_from": provenance.fell_back_from and asdict(provenance.fell_back_from),
        "device": execution.device,
        "chunk": execution.chunk,
        "seconds": execution.seconds,
        "memory": {"predicted_bytes": execution.predicted_bytes, "peak_bytes": execution.peak_bytes,
                   "cuda_peak_bytes": execution.cuda_peak_bytes},
        "organs": [{**asdict(organ), **_confidence_of(organ.name, confidence)} for organ in organs],
        "outputs": [_output_row(output, path) for output in outputs],
        "error": None,
    }  # fmt: skip


def failed_report(case: str, scan: Place, geometry: Geometry | None, error: SautomedError) -> dict[str, Any]:
    """Return the content of CASE.json for a case that failed."""
    return {
        **_head(case, "failed"),
        "qc": None,
        "review": [],
        "least_sure": None,
        "confidence": None,
        "input": {"path": str(scan), "sha256": None, **(_geometry_of(geometry, None) if geometry else {})},
        "warnings": list(geometry.warnings) if geometry else [],
        **dict.fromkeys(("model", "settings", "fell_back_from", "device", "chunk", "seconds", "memory")),
        "organs": [],
        "outputs": [],
        "error": describe_error(error),
    }


def describe_error(error: SautomedError) -> dict[str, Any]:
    """Return an error as JSON."""
    return {
        "id": error.id,
        "message": error.fault,
        "where": error.where,
        "cure": error.cure,
        "exit_code": error.exit_code,
    }


def failure_row(report: Mapping[str, Any]) -> dict[str, Any]:
    """Return the row of failures.json for the CASE.json of a case that failed."""
    return {"case": report.get("case"), "input": part_of(report, "input").get("path"), **part_of(report, "error")}


def write_failures(place: Place, rows: Sequence[Mapping[str, Any]], cases: int) -> None:
    """Write failures.json atomically.

    Args:
        rows: Of `failure_row`.
        cases: Number of cases in the run.
    """
    write_object(place, {"schema": FAILURES_SCHEMA, "cases": cases, "failures": list(rows)})


def note_corrected(path: Path, outputs: Sequence[Path]) -> None:
    """Note in a CASE.json that a person has replaced these outputs, so that `--resume` keeps them.

    Nothing is written if the file is none, or lists none of them.
    """
    report = read_object(path)
    replaced = {relative_name(output, path): output for output in outputs}
    rows = [row for row in output_rows(report) if row.get("path") in replaced]
    if report.get("schema") != SCHEMA or not rows:
        return
    for row in rows:
        row |= _output_row(replaced[str(row["path"])], path)
    write_json(path, {**report, "corrected": True})


def _confidence_of(organ: str, confidence: CaseConfidence) -> dict[str, Any]:
    signals = {name: _rounded(value) for name, value in confidence.signals.get(organ, {}).items()}
    return {
        "predicted_dsc": _rounded(confidence.predicted_dsc.get(organ)),
        "signals": {name: value for name, value in signals.items() if name != "volume_ml"},
    }


def _rounded(number: float | None) -> float | None:
    return None if number is None or not np.isfinite(number) else round(float(number), 4)


def _head(case: str, status: str) -> dict[str, Any]:
    return {"schema": SCHEMA, "sautomed": __version__, "case": case, "status": status}


def _input_of(provenance: Provenance) -> dict[str, Any]:
    return {
        "path": str(provenance.input_path),
        "sha256": provenance.input_sha256,
        "version": provenance.input_version,
    }


def _model_of(provenance: Provenance) -> dict[str, Any]:
    return {
        "path": None if provenance.model_path is None else str(provenance.model_path),
        "sha256": provenance.model_sha256,
    }


def _geometry_of(geometry: Geometry, plane: str | None) -> dict[str, Any]:
    return {
        "format": geometry.format,
        "shape": list(geometry.shape),
        "spacing_mm": [float(length) for length in geometry.spacing_mm],
        "affine": [[float(number) for number in row] for row in geometry.affine],
        "orientation": geometry.native.axis_codes,
        "plane": plane,
    }


def _output_row(output: Path, report: Path) -> dict[str, Any]:
    with output.open("rb") as stream:
        md5 = hashlib.file_digest(stream, partial(hashlib.md5, usedforsecurity=False)).hexdigest()
    return {
        "path": relative_name(output, report),
        "bytes": output.stat().st_size,
        "sha256": sha256_of([output]),
        "md5": md5,
    }
