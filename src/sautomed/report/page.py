"""One self-contained HTML page about a training and its scores."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path

from sautomed.report.curves import learning_curve_png, read_log
from sautomed.report.tables import read_case_rows, read_score_table
from sautomed.report.templates import page_template
from sautomed.scans.files import write_text
from sautomed.scans.paths import require_file

TEMPLATE = "report/page.html"


def write_report(
    path: Path,
    *,
    title: str,
    facts: Sequence[tuple[str, str]],
    curve: Path,
    scores: Path,
    summary: Path,
    pictures: Sequence[tuple[str, Path]],
) -> None:
    """Write the page: facts, learning curve, score table, pictures, and each case. It needs no other file.

    Args:
        path: The HTML file; replaced atomically.
        title: Its heading.
        facts: Name and value, in the order in which they are shown.
        curve: log.csv of the training.
        scores: scores.csv of the evaluation.
        summary: summary.json of the evaluation.
        pictures: Caption and PNG.
    Raises:
        MissingFile: One of the files is not there.
        BadTable: One of the tables is not what sautomed writes.
        UnwritableTarget: The page cannot be written.
    """
    table = read_score_table(summary)
    cases = read_case_rows(scores, table.convention)
    drawn = learning_curve_png(read_log(curve))
    page = page_template(TEMPLATE).render(
        title=title,
        facts=facts,
        curve=_embedded(drawn),
        table=table,
        cases=cases,
        pictures=[(caption, _embedded(_bytes_of(picture))) for caption, picture in pictures],
    )
    write_text(path, page)


def _bytes_of(picture: Path) -> bytes:
    require_file(picture)
    return picture.read_bytes()


def _embedded(png: bytes) -> str:
    """The picture as a data URL."""
    return f"data:image/png;base64,{base64.b64encode(png).decode('ascii')}"
