"""Result of examining a dataset: its facts and the findings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from sautomed.datasets.doctor.facts import CaseFacts
from sautomed.errors import NeedsMending

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = get_args(Severity)  # worst first


@dataclass(frozen=True)
class Finding:
    """One fault or oddity.

    Args:
        check: The name of the check, such as "grids" or "orientation".
        severity: "error": training would fail or learn something wrong; "warning": look at it; "note": harmless.
        text: What is wrong, with numbers, as whole sentences.
        cure: What to do about it, as a whole sentence.
        case: Id of the case; empty for the dataset as a whole.
        fixable: Whether a corrected copy of the case no longer has this fault.
        error_id: Id of the error that reading would stop with; empty if it would not stop.
    """

    check: str
    severity: Severity
    text: str
    cure: str
    case: str = ""
    fixable: bool = False
    error_id: str = ""


@dataclass(frozen=True)
class Diagnosis:
    """Facts and findings of a dataset.

    Args:
        folder: The root of the dataset.
        name: From its description, or the folder's name.
        layout: The key of `DATASETS` that it was read with.
        channel: Name of the image channel.
        labels: Name of each label, without the background.
        cases: One entry per case, in order.
        findings: Worst first, then by case.
        pictures: A small PNG by case id; none if the scan cannot be read.
    """

    folder: Path
    name: str
    layout: str
    channel: str
    labels: Mapping[int, str]
    cases: tuple[CaseFacts, ...]
    findings: tuple[Finding, ...]
    pictures: Mapping[str, bytes] = field(default_factory=dict)

    def of_severity(self, severity: Severity) -> tuple[Finding, ...]:
        """Return the findings of one severity."""
        return tuple(finding for finding in self.findings if finding.severity == severity)

    @property
    def needs_mending(self) -> bool:
        """Whether there is any error."""
        return any(finding.severity == "error" for finding in self.findings)

    @property
    def summary(self) -> str:
        """Counts as text, such as "15 cases: 1 error, 2 warnings, no notes"."""
        parts = []
        for severity in SEVERITIES:
            count = len(self.of_severity(severity))
            parts.append(f"{count or 'no'} {severity}{'' if count == 1 else 's'}")
        return f"{len(self.cases)} case{'' if len(self.cases) == 1 else 's'}: {', '.join(parts)}"

    def require_sound(self) -> None:
        """Raise NeedsMending if there is any error."""
        errors = self.of_severity("error")
        if not errors:
            return
        checks = list(dict.fromkeys(finding.check for finding in errors))
        cases = {finding.case for finding in errors if finding.case}
        where = f" in {len(cases)} of {len(self.cases)} cases" if cases else ""
        raise NeedsMending(
            f"{len(errors)} findings{where} must be mended before training ({', '.join(checks)}).",
            where=self.folder,
            cure="Follow the cures above, or write corrected copies with --fix FOLDER.",
        )


def sorted_findings(findings: list[Finding]) -> tuple[Finding, ...]:
    """Sort findings: worst first, the dataset's before those of cases, then by case and in the order of the checks."""
    return tuple(sorted(findings, key=lambda finding: (SEVERITIES.index(finding.severity), finding.case)))
