"""One self-contained HTML page about a training and its scores."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sautomed.report.curves import learning_curve_png, read_log
from sautomed.report.figures import image_url
from sautomed.report.scores import read_cases, read_evaluation
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
        MissingFile: One of the files does not exist.
        BadTable: One of the tables was not written by sautomed.
        UnwritableTarget: The page cannot be written.
    """
    evaluation = read_evaluation(summary)
    cases = read_cases(scores, evaluation.convention)
    drawn = learning_curve_png(read_log(curve))
    page = page_template(TEMPLATE).render(
        title=title,
        facts=facts,
        curve=image_url(drawn),
        evaluation=evaluation,
        cases=cases,
        pictures=[(caption, _picture_url(picture)) for caption, picture in pictures],
    )
    write_text(path, page)


def _picture_url(png: Path) -> str:
    require_file(png)
    return image_url(png.read_bytes())
