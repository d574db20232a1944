"""The models by which cases were segmented, each with how it was to be computed, as every CASE.json has it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sautomed.inference.batch.report_parts import meant_settings, part_of


@dataclass(frozen=True)
class UsedModel:
    """A model in one engine and precision, and the cases that it segmented.

    Args:
        path: Where it was when the first of them was segmented.
        sha256: Hash of its folder; of another training in the same folder it is another one.
    """

    path: str
    sha256: str
    engine: str
    precision: str
    cases: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.path} (SHA-256 {self.sha256[:12]}, --engine {self.engine} --precision {self.precision})"

    @property
    def entry(self) -> dict[str, object]:
        """As summary.json has it."""
        return {"sha256": self.sha256, "engine": self.engine, "precision": self.precision, "cases": list(self.cases)}


def used_models(reports: Iterable[Mapping[str, Any]]) -> tuple[UsedModel, ...]:
    """Return the models of the finished cases of some CASE.json, that of most cases first.

    Cases that a person has corrected do not count: their masks are no longer a model's alone, and `--resume` keeps them
    whatever made them first. Where memory ran out and a case fell back to float32, what was meant counts: it would fall
    back once more.
    """
    cases: dict[tuple[str, str, str], list[str]] = {}
    paths: dict[tuple[str, str, str], str] = {}
    for report in reports:
        if report.get("status") != "done" or report.get("corrected") is True:
            continue
        model, settings = part_of(report, "model"), meant_settings(report)
        key = str(model.get("sha256")), str(settings["engine"]), str(settings["precision"])
        cases.setdefault(key, []).append(str(report.get("case")))
        paths.setdefault(key, str(model.get("path")))
    found = [UsedModel(paths[key], *key, tuple(sorted(names))) for key, names in cases.items()]
    return tuple(sorted(found, key=lambda model: (-len(model.cases), model.cases)))
