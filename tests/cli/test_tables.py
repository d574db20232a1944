"""Tables of scores on a terminal."""

import io
import math

import pytest
from rich.console import Console

from sautomed.cli.tables import score_table
from sautomed.evaluation import CONVENTIONS
from sautomed.evaluation.scores import Score, summarise

FIRST = {  # metrics that are added come behind these
    "ours": ["DSC", "95 % interval", "HD95 mm", "HD mm", "NSD"],
    "transunet": ["DSC", "95 % interval", "HD95 voxels"],
    "monai": ["DSC", "95 % interval", "HD95 mm", "HD mm", "NSD"],
}


@pytest.mark.parametrize("name", CONVENTIONS)
def test_scores_are_shown_under_the_conventions_headings_and_its_name(name):
    metrics = CONVENTIONS[name].metrics
    rows = [
        Score("a", 1, "liver [x]", "scored", dict.fromkeys(metrics, 0.5), 2.0),
        Score("b", 1, "liver [x]", "missed", dict.fromkeys(metrics, math.nan) | {"dsc": 0.0}, 2.0),
    ]
    table = score_table(summarise(rows, convention=name))
    organ, *shown, missed, cases = (column.header for column in table.columns)
    assert (organ, missed, cases) == ("organ", "missed", "cases")
    assert shown[: len(FIRST[name])] == FIRST[name]
    assert len(shown) == len(metrics) + 1  # the interval of the DSC
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(table)
    text = console.export_text()
    for word in ("liver [x]", "0.250", "0.5", "mean", f"Convention {CONVENTIONS[name].title[:10]}"):
        assert word in text
