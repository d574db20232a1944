"""How typed cells become text."""

import math

import pytest

from sautomed.report.table import Cell, Column, Table, TableKind, bounds, cell_text, fixed, interval_text, number_text

NUMBER = Column("dsc", "DSC", digits=2)
SIGNED = Column("difference", "difference", digits=1, signed=True)


@pytest.mark.parametrize(
    ("cell", "column", "text"),
    [
        (Cell(0.8125), NUMBER, "0.81"),
        (Cell(0.8125, 0.7, 0.9), NUMBER, "0.81 (0.70–0.90)"),
        (Cell(), NUMBER, "–"),
        (Cell(math.inf), NUMBER, "–"),
        (Cell(0.25, -0.5, 1), SIGNED, "+0.2 (-0.5 to +1.0)"),
        (Cell(2_000_000), Column("parameters", "parameters (M)", digits=2, unit=1e6), "2.00"),
        (Cell(2, of=7), Column("missed", "missed", "counts"), "2/7"),
        (Cell(text="box"), Column("prompts", "prompts", "words"), "box"),
    ],
)
def test_a_cell_is_shown_as_its_column_says(cell, column, text):
    assert cell_text(cell, column) == text


def test_number_and_interval_are_also_shown_apart():
    cell = Cell(0.8125, 0.7, 0.9)
    assert (number_text(cell, NUMBER), interval_text(cell, NUMBER)) == ("0.81", "0.70–0.90")
    assert interval_text(Cell(0.8125), NUMBER) == ""
    assert bounds(cell, 1) == "0.7 to 0.9"


def test_very_small_p_are_bounded_and_missing_ones_are_dashes():
    column = Column("p", "p", "p_values")
    assert [cell_text(Cell(p), column) for p in (0.0004, 0.0312, 1.0, math.nan)] == ["< 0.001", "0.031", "1.000", "–"]


def test_a_number_without_value_is_a_dash():
    assert [fixed(value, 1) for value in (1.25, math.nan, -math.inf)] == ["1.2", "–", "–"]


def test_tables_of_a_group_have_names_of_their_own():
    tables = [
        Table(kind, "chaos", "DSC", "chaos, fold 0", (), (), (), metric)
        for kind in TableKind
        for metric in (("dsc", "nsd") if kind in (TableKind.METRIC, TableKind.AGAINST_BEST) else ("",))
    ]
    names = [table.name for table in tables]
    assert len(set(names)) == len(names)
    assert {"chaos_dsc", "chaos_against_best_nsd", "chaos_overview"} <= set(names)
    assert tables[0].full_title == "DSC: chaos, fold 0"
