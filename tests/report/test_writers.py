import csv
import io
from dataclasses import replace

from hypothesis import example, given, settings
from hypothesis import strategies as st

from sautomed.report.table import Cell, Column, Table, TableKind, TableRow
from sautomed.report.writers import escape_latex, to_csv, to_latex, to_markdown

TABLE = Table(
    TableKind.METRIC,
    "t",
    "DSC of 100 % & more_things",
    "",
    (Column("prompts", "prompts", "words"), Column("dsc", "DSC | all", digits=2), Column("steps", "steps")),
    (
        TableRow("A_1", (Cell(text="none"), Cell(0.8125, 0.7, 0.9, 8, best=True), Cell(12))),
        TableRow("O", (Cell(text="box from the truth"), Cell(0.9, mark="*"), Cell()), is_oracle=True, note="oracle"),
        TableRow("F", (), reason="failed: 5 % of\nmemory_left"),
    ),
    ("* differs.", "Convention: ours."),
)
FINITE = st.floats(allow_nan=False, allow_infinity=False)


def lines_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_csv_has_full_precision_and_only_the_parts_that_any_cell_has():
    first, second, third = lines_of(to_csv(TABLE))
    assert list(first) == ["system", "prompts", "dsc", "dsc_low", "dsc_high", "dsc_of", "steps", "note", "reason"]
    assert (first["dsc"], first["dsc_low"], first["dsc_of"], first["steps"]) == ("0.8125", "0.7", "8", "12")
    assert (second["prompts"], second["dsc_low"], second["steps"], second["note"]) == (
        "box from the truth",
        "",
        "",
        "oracle",
    )
    assert (third["system"], third["dsc"], third["reason"]) == ("F", "", "failed: 5 % of\nmemory_left")


@given(st.lists(st.tuples(FINITE, FINITE, FINITE), min_size=1, max_size=4), st.text(st.characters(codec="utf-8")))
@settings(max_examples=40, deadline=None)
@example([(1e300, -0.0, 5e-324)], 'a,"b"')
@example([(0.0, 0.0, 0.0)], "\r")
@example([(0.0, 0.0, 0.0)], "a\r\nb\rc\n")
def test_csv_gives_back_every_number(numbers, name):
    rows = tuple(TableRow(f"s{name}", (Cell(*values),)) for values in numbers)
    found = list(
        csv.reader(
            io.StringIO(to_csv(Table(TableKind.METRIC, "t", "T", "", (Column("v", "V"),), rows, ())), newline="")
        )
    )
    assert [tuple(map(float, line[1:4])) for line in found[1:]] == numbers
    unix = f"s{name}".replace("\r\n", "\n").replace("\r", "\n")
    assert all(line[0] == unix for line in found[1:])


def test_markdown_is_aligned_with_the_best_in_bold_and_reasons_below():
    lines = to_markdown(TABLE).splitlines()
    table = [line for line in lines if line.startswith("|")]
    assert len({len(line) for line in table}) == 1
    assert "**0.81 (0.70–0.90)**" in table[2]
    assert "| O (oracle)" in table[3]
    assert r"0.90\*" in table[3]
    assert r"DSC \| all" in table[0]
    assert "- F: failed: 5 % of memory_left" in lines
    assert r"- \* differs." in lines


def test_latex_rows_have_as_many_places_as_the_head():
    lines = to_latex(TABLE).splitlines()
    assert r"\begin{tabular}{llrr}" in lines
    rows = [line for line in lines if line.endswith(r" \\")]
    assert [line.count(" & ") for line in rows] == [3, 3, 3, 1]
    assert r"\multicolumn{3}{" in rows[-1]
    assert r"A\_1 & none & \textbf{0.81 (0.70--0.90)} & 12 \\" in rows
    assert lines[-1] == r"\end{tabular}"
    assert all(line.startswith("%") for line in lines[: lines.index(r"\begin{tabular}{llrr}")])


@given(st.text())
@settings(max_examples=80, deadline=None)
@example(r"[50 % of a_b & {c} \n #1 $x$ ~ ^]")
def test_escaped_text_has_no_character_with_a_meaning_to_latex(text):
    escaped = escape_latex(text)
    for known in ("{[}", r"\textbackslash{}", r"\textasciitilde{}", r"\textasciicircum{}", r"\textless{}",
                  r"\textgreater{}", r"\textbar{}", r"\ensuremath{-}", r"\ensuremath{\times}",
                  r"\textsuperscript{\dag}", r"\textsuperscript{*}",
                  r"\&", r"\%", r"\$", r"\#", r"\_", r"\{", r"\}"):  # fmt: skip
        escaped = escaped.replace(known, "")
    assert not set(escaped) & set("\\&%$#_{}[~^<>|\n\r\x1b")


def test_line_ends_and_control_characters_are_removed():
    table = replace(TABLE, title="DSC\r\nof all", rows=(TableRow("a\rb", (), reason="\x1b[31mout of memory\x1b[0m"),))
    shown = to_markdown(table).splitlines()
    assert shown[0] == "### DSC of all"
    assert shown[4].startswith("| a b ")
    assert "- a b: [31mout of memory[0m" in shown
    assert r"a b & \multicolumn{3}{p{0.6\linewidth}}{\emph{{[}31mout of memory{[}0m}} \\" in to_latex(table)
