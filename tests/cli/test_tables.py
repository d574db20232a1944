"""Tables of scores on a terminal."""

import io
import math

import pytest
from rich.console import Console

from sautomed.cli.tables import REVIEWS_SHOWN, review_table, score_table
from sautomed.evaluation import CONVENTIONS
from sautomed.evaluation.scores import Score, summarise
from sautomed.inference.batch.summary import CaseSummary

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


def reviewed(*cases):
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(review_table(cases))
    return console.export_text()


def test_cases_to_look_at_are_shown_in_their_order_with_what_is_wrong():
    text = reviewed(
        CaseSummary("p1", "done", 0.41, ("liver [x]: slices 3-7: ...",), calibrated=False),
        CaseSummary("p2", "done", None, ("spleen: not found",), calibrated=None),
        CaseSummary("p3", "done", 0.95, (), calibrated=False),
    )
    first, second = (next(line for line in text.splitlines() if case in line) for case in ("p1", "p2"))
    assert "0.41 (uncalibrated)" in first
    assert "liver [x]: slices 3-7: ..." in first
    assert " - " in second
    assert "p3" not in text


def test_a_long_list_of_cases_ends_with_how_many_are_left():
    cases = [CaseSummary(f"p{n:02}", "done", 0.5, ("liver: ...",), calibrated=True) for n in range(REVIEWS_SHOWN + 3)]
    text = reviewed(*cases)
    assert "... and 3 more" in text
    assert f"p{REVIEWS_SHOWN - 1:02}" in text
    assert f"p{REVIEWS_SHOWN:02}" not in text
    assert "uncalibrated" not in text


def test_nothing_to_look_at_shows_no_table():
    assert review_table([CaseSummary("p1", "done", 0.95, (), calibrated=True)]) is None
