"""Tables of scores on a terminal."""

import io
import math

import pytest
from rich.console import Console

from sautomed.cli.tables import score_table
from sautomed.evaluation import CONVENTIONS
from sautomed.evaluation.scores import Score, summarise

EXPECTED = {
    "ours": ["organ", "DSC", "95 % interval", "HD95 mm", "HD mm", "NSD", "missed", "cases"],
    "transunet": ["organ", "DSC", "95 % interval", "HD95 voxels", "missed", "cases"],
    "monai": ["organ", "DSC", "95 % interval", "HD95 mm", "HD mm", "NSD", "missed", "cases"],
}


@pytest.mark.parametrize("name", CONVENTIONS)
def test_scores_are_shown_under_the_conventions_headings_and_its_name(name):
    metrics = CONVENTIONS[name].metrics
    rows = [
        Score("a", 1, "liver [x]", "scored", dict.fromkeys(metrics, 0.5), 2.0),
        Score("b", 1, "liver [x]", "missed", dict.fromkeys(metrics, math.nan) | {"dsc": 0.0}, 2.0),
    ]
    table = score_table(summarise(rows, convention=name))
    assert [column.header for column in table.columns] == EXPECTED[name]
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(table)
    text = console.export_text()
    for word in ("liver [x]", "0.250", "0.5", "mean", f"Convention {CONVENTIONS[name].title[:10]}"):
        assert word in text
