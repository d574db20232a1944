"""The report: what `evaluate` wrote, as one page that needs nothing else."""

import html
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from sautomed.errors import BadTable, MissingFile
from sautomed.evaluation import CONVENTIONS
from sautomed.report import write_report
from sautomed.report.scores import read_evaluation

VOID = {"meta", "img", "br", "link", "input", "hr"}


class Page(HTMLParser):
    """Balanced tags, and where the page would fetch something."""

    def __init__(self, text: str):
        super().__init__()
        self.open: list[str] = []
        self.sources: list[str] = []
        self.images = 0
        self.feed(text)
        assert not self.open, f"left open: {self.open}"

    def handle_starttag(self, tag, attrs):
        self.images += tag == "img"
        self.sources += [value for name, value in attrs if name in ("src", "href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def write(folder: Path, path: Path, **changes) -> str:
    given = {
        "title": "A <demo> & more",
        "facts": [("command", "sautomed demo"), ("model", "tiny")],
        "curve": folder / "log.csv",
        "scores": folder / "scores.csv",
        "summary": folder / "summary.json",
        "pictures": [("case a", folder / "picture.png")],
    }
    write_report(path, **(given | changes))
    return path.read_text(encoding="utf-8")


def test_the_page_is_whole_and_needs_no_other_file(scored, tmp_path):
    text = write(scored, tmp_path / "report.html")
    page = Page(text)
    assert page.images == 2
    assert page.sources
    assert all(source.startswith("data:image/png;base64,") for source in page.sources)
    assert not re.search(r"https?://|url\(|<script|@import", text)


def test_text_is_escaped(scored, tmp_path):
    text = write(scored, tmp_path / "report.html")
    assert "A &lt;demo&gt; &amp; more" in text
    assert "<demo>" not in text


def test_numbers_are_those_of_the_evaluation(scored, tmp_path):
    found = read_evaluation(scored / "summary.json")
    kidney, gallbladder = found.organs
    # Six rows, moved by one: 5 of 6 rows agree, so the Dice is 5/6.
    assert kidney.dsc.mean == pytest.approx(5 / 6)
    assert gallbladder.dsc.mean == pytest.approx(5 / 6 / 3)
    assert found.mean.dsc.mean == pytest.approx((5 / 6 + 5 / 18) / 2)
    assert (gallbladder.present, gallbladder.missed, gallbladder.spurious) == (2, 1, 1)
    assert (found.mean.present, found.mean.missed, found.mean.spurious) == (5, 1, 1)
    text = write(scored, tmp_path / "report.html")
    for shown in ("0.833", "0.278", "0.556", "1 of 2", "1 of 5", "left kidney"):
        assert shown in text


def test_a_page_without_pictures_and_with_a_failed_case(scored, tmp_path):
    summary = (scored / "summary.json").read_text().replace('"failed": {}', '"failed": {"z": "has no prediction"}')
    (tmp_path / "summary.json").write_text(summary)
    text = write(scored, tmp_path / "report.html", pictures=[], summary=tmp_path / "summary.json")
    assert Page(text).images == 1
    assert "z: has no prediction" in text


def test_missing_and_foreign_files_are_refused_by_name(scored, tmp_path):
    with pytest.raises(MissingFile, match="gone"):
        write(scored, tmp_path / "r.html", pictures=[("x", tmp_path / "gone.png")])
    (tmp_path / "other.json").write_text('{"labels": {}}')
    with pytest.raises(BadTable, match="intervals_95"):
        write(scored, tmp_path / "r.html", summary=tmp_path / "other.json")
    (tmp_path / "other.csv").write_text("case,name\na,b\n")
    with pytest.raises(BadTable, match="dsc"):
        write(scored, tmp_path / "r.html", scores=tmp_path / "other.csv")
    assert not (tmp_path / "r.html").exists()


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_each_convention_is_shown_with_its_name_and_its_columns(score_cases, tmp_path, convention):
    folder = score_cases(tmp_path, convention)
    text = write(folder, tmp_path / "report.html")
    assert Page(text).images == 2
    read = html.unescape(text)
    assert CONVENTIONS[convention].title in read
    assert CONVENTIONS[convention].notes in read
    for label in ("DSC", "HD95 (voxels)") if convention == "transunet" else ("HD95 (mm)", "HD (mm)", "NSD at 2 mm"):
        assert f">{label}</th>" in text
    assert ("NSD" in re.sub(r'<p class="note">.*?</p>', "", text, flags=re.S)) == (convention != "transunet")
    gallbladder = read_evaluation(folder / "summary.json").organs[1]
    assert gallbladder.dsc.mean == pytest.approx(
        {"ours": 5 / 18, "transunet": (5 / 6 + 1) / 3, "monai": 5 / 12}[convention]
    )


def test_scores_and_summary_of_two_conventions_do_not_fit(score_cases, scored, tmp_path):
    folder = score_cases(tmp_path, "transunet")
    with pytest.raises(BadTable, match="hd95_voxels"):
        write(folder, tmp_path / "r.html", scores=scored / "scores.csv")
