"""One self-contained HTML page about the state of a dataset: findings, volumes, and every case."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from sautomed.datasets.doctor.diagnosis import SEVERITIES, Diagnosis, Finding
from sautomed.datasets.doctor.facts import CaseFacts
from sautomed.datasets.doctor.mending import Mended
from sautomed.report.figures import TEXT_COLOUR, figure_png, image_url
from sautomed.report.table import NOTHING
from sautomed.report.templates import page_template
from sautomed.scans.files import write_text
from sautomed.scans.palette import colour_of, display_name

TEMPLATE = "report/doctor.html"
COLUMNS_LIMIT = 8  # ours: structures that have a column each; more are listed in one cell
PLOTTED = 40  # ours: structures in the chart of volumes
_OPEN = 4  # findings of one kind that are shown without a click
_LINE_COLOUR = "#dfe4e8"  # --line of style.css


@dataclass(frozen=True)
class LabelView:
    """A label with its readable name and colour."""

    value: int
    name: str
    colour: str


@dataclass(frozen=True)
class FindingView:
    """Findings of one check with one cure; `open` of them are shown without a click."""

    severity: str
    check: str
    error_id: str
    cure: str
    fixable: bool
    lines: Sequence[Finding]
    open: int


@dataclass(frozen=True)
class CaseView:
    """A case as text; `volumes` has one entry per column, `listed` names and volumes where there are no columns."""

    id: str
    group: str
    worst: str
    tag: str
    picture: str
    shape: str
    spacing: str
    axes: str
    intensities: str
    volumes: Sequence[str]
    listed: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class MendedView:
    """The corrected copies that `--fix` wrote."""

    line: str
    left_out: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class PageView:
    """All values of the template."""

    verdict: str
    worst: str
    counts: str
    facts: Sequence[tuple[str, str]]
    labels: Sequence[LabelView]
    columns: Sequence[LabelView]
    findings: Sequence[FindingView]
    cases: Sequence[CaseView]
    volumes: str
    plotted: int
    mended: MendedView | None


def write_doctor_page(path: str | Path, diagnosis: Diagnosis, mended: Mended | None = None) -> None:
    """Write the page: verdict, findings, volumes and every case with a picture. It needs no other file.

    Args:
        path: The HTML file; replaced atomically.
        diagnosis: Result of `examine`.
        mended: Result of `fix`, if corrected copies were written.
    Raises:
        UnwritableTarget: The page cannot be written.
    """
    page = _page(diagnosis, mended)
    write_text(Path(path), page_template(TEMPLATE).render(title=f"Examination of {diagnosis.name}", page=page))


def _page(diagnosis: Diagnosis, mended: Mended | None) -> PageView:
    labels = [LabelView(value, display_name(name), colour_of(value)) for value, name in diagnosis.labels.items()]
    columns = labels if len(labels) <= COLUMNS_LIMIT else []
    worst = _worst(diagnosis.findings)
    return PageView(
        verdict={"error": "Must be corrected", "warning": "Worth a look"}.get(worst, "Sound"),
        worst=worst,
        counts=diagnosis.summary,
        facts=_facts(diagnosis),
        labels=labels,
        columns=columns,
        findings=_grouped(diagnosis.findings),
        cases=[_case(case, diagnosis, labels, columns) for case in diagnosis.cases],
        volumes=image_url(volumes_png(diagnosis.cases, labels)) if any(case.voxels for case in diagnosis.cases) else "",
        plotted=PLOTTED,
        mended=None if mended is None else _mended(mended),
    )


def _facts(diagnosis: Diagnosis) -> list[tuple[str, str]]:
    grids = [case.image for case in diagnosis.cases if case.image is not None]
    patients = len({case.group or case.id for case in diagnosis.cases})
    facts = [("folder", str(diagnosis.folder)), ("layout", diagnosis.layout), ("channel", diagnosis.channel)]
    if patients != len(diagnosis.cases):
        facts.append(("patients", str(patients)))
    if grids:
        facts.append(("median shape", _times(np.median([grid.shape for grid in grids], axis=0))))
        facts.append(("median spacing", f"{_times(np.median([grid.spacing_mm for grid in grids], axis=0))} mm"))
        tally = Counter(grid.axis_codes for grid in grids).most_common()
        facts.append(("axes", ", ".join(f"{codes} ({count})" for codes, count in tally)))
    return facts


def _worst(findings: Sequence[Finding]) -> str:
    return next((severity for severity in SEVERITIES if any(f.severity == severity for f in findings)), "")


def _grouped(findings: Sequence[Finding]) -> list[FindingView]:
    """Put findings of the same check, severity and cure into one row."""
    groups: dict[tuple[str, str, str], list[Finding]] = {}
    for finding in findings:
        groups.setdefault((finding.severity, finding.check, finding.cure), []).append(finding)
    return [
        FindingView(severity, check, found[0].error_id, cure, all(f.fixable for f in found), found, _open_lines(found))
        for (severity, check, cure), found in groups.items()
    ]


def _open_lines(found: Sequence[Finding]) -> int:
    """Return how many findings are shown without a click; a single line is never hidden."""
    return len(found) if len(found) <= _OPEN + 1 else _OPEN


def _case(case: CaseFacts, diagnosis: Diagnosis, labels: Sequence[LabelView], columns: Sequence[LabelView]) -> CaseView:
    findings = [finding for finding in diagnosis.findings if finding.case == case.id]
    worst = _worst(findings)
    count = sum(finding.severity == worst for finding in findings)
    picture = diagnosis.pictures.get(case.id)
    found, grid = case.intensities, case.image
    present = [(label.name, _ml(case.millilitres[label.value])) for label in labels if label.value in case.millilitres]
    return CaseView(
        id=case.id,
        group=case.group if case.group != case.id else "",
        worst=worst,
        tag=f"{count} {worst}{'' if count == 1 else 's'}",
        picture="" if picture is None else image_url(picture),
        shape=NOTHING if grid is None else " × ".join(map(str, grid.shape)),
        spacing="" if grid is None else f"{_times(grid.spacing_mm)} mm",
        axes="" if grid is None else f"{grid.axis_codes}, {case.plane}",
        intensities=NOTHING if found is None else " / ".join(f"{v:.4g}" for v in (found.low, found.median, found.high)),
        volumes=[_ml(case.millilitres[c.value]) if c.value in case.millilitres else NOTHING for c in columns],
        listed=[] if columns else present,
    )


def _mended(mended: Mended) -> MendedView:
    return MendedView(f"{mended.summary} Folder: {mended.folder}.", list(mended.left_out.items()))


def volumes_png(cases: Sequence[CaseFacts], labels: Sequence[LabelView]) -> bytes:
    """Draw one line of dots per structure, a dot per case, over the volume in ml on a logarithmic axis, as PNG."""
    shown = labels[:PLOTTED]
    figure = Figure(figsize=(9.6, 0.9 + 0.34 * len(shown)), dpi=120, layout="constrained", facecolor="white")
    axes = figure.add_subplot()
    spread = np.random.default_rng(0)  # fixed seed: the same data gives the same picture
    for row, label in enumerate(shown):
        volumes = [case.millilitres[label.value] for case in cases if label.value in case.millilitres]
        if volumes:
            heights = row + spread.uniform(-0.22, 0.22, len(volumes)) * min(1.0, len(volumes) / 10)
            axes.scatter(volumes, heights, s=16, color=label.colour, edgecolors=TEXT_COLOUR, linewidths=0.3, alpha=0.85)
        if len(volumes) > 2:
            axes.plot([np.median(volumes)] * 2, [row - 0.34, row + 0.34], color=TEXT_COLOUR, linewidth=1.3)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7), numticks=24))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_yticks(range(len(shown)), [label.name for label in shown])
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_xlabel("ml, a dot per case; the line is the median", fontsize=8, color=TEXT_COLOUR)
    axes.grid(axis="x", color=_LINE_COLOUR, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(_LINE_COLOUR)
    axes.tick_params(colors=TEXT_COLOUR, labelsize=8, length=0)
    return figure_png(figure)


def _ml(volume: float) -> str:
    return f"{volume:.0f}" if volume >= 100 else f"{volume:.3g}"


def _times(lengths: Iterable[float]) -> str:
    return " × ".join(f"{length:.3g}" for length in lengths)
