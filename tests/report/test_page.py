"""The report: what `evaluate` wrote, as one page that needs nothing else."""

import html
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from matplotlib.image import imsave

from sautomed.errors import BadTable, MissingFile
from sautomed.evaluation import CONVENTIONS
from sautomed.evaluation.evaluate import evaluate
from sautomed.report import write_report
from sautomed.report.tables import read_case_rows, read_score_table

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


def score(folder: Path, convention: str) -> Path:
    """Three cases: found well, one organ missed, one organ spurious."""
    truth = np.zeros((8, 20, 20), dtype=np.uint8)
    truth[2:6, 3:9, 3:9] = 1
    truth[2:6, 12:18, 12:18] = 2
    for case in ("a", "b", "c"):
        wanted, found = truth.copy(), np.roll(truth, 1, axis=1)
        if case == "b":
            found[found == 2] = 0
        if case == "c":
            wanted[wanted == 2] = 0
        for kind, array in (("truth", wanted), ("found", found)):
            (folder / kind).mkdir(exist_ok=True)
            nib.save(nib.Nifti1Image(array, np.diag([1, 1, 5, 1])), folder / kind / f"{case}.nii.gz")
    evaluate(
        folder / "found", folder / "truth", folder, names={1: "left_kidney", 2: "gallbladder"}, convention=convention
    )
    (folder / "log.csv").write_text(
        "step,elapsed_s,lr,loss,ce,dice,box,presence,val_dsc\n10,5,0.001,0.8,0.7,0.9,0.1,0.1,\n20,11,,,,,,,0.61\n"
    )
    imsave(folder / "picture.png", np.zeros((4, 4)))
    return folder


@pytest.fixture(scope="module")
def scored(tmp_path_factory) -> Path:
    return score(tmp_path_factory.mktemp("scored"), "ours")


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
    table = read_score_table(scored / "summary.json")
    kidney, gallbladder = table.organs
    # Six rows, moved by one: 5 of 6 rows agree, so the Dice is 5/6.
    assert kidney.dsc.mean == pytest.approx(5 / 6)
    assert gallbladder.dsc.mean == pytest.approx(5 / 6 / 3)
    assert table.mean.dsc.mean == pytest.approx((5 / 6 + 5 / 18) / 2)
    assert (gallbladder.present, gallbladder.missed, gallbladder.spurious) == (2, 1, 1)
    assert (table.mean.present, table.mean.missed, table.mean.spurious) == (5, 1, 1)
    text = write(scored, tmp_path / "report.html")
    for shown in ("0.833", "0.278", "0.556", "1 of 2", "1 of 5", "left kidney"):
        assert shown in text


def test_each_case_is_listed_with_dashes_where_there_is_no_value(scored):
    cases = {row.case: row for row in read_case_rows(scored / "scores.csv")}
    assert list(cases) == ["a", "b", "c"]
    missed = cases["b"].cells[1]
    assert (missed.status, missed.scores["dsc"], missed.scores["hd95_mm"]) == ("missed", "0.000", "–")
    assert cases["a"].mean_dsc == "0.833"
    assert cases["b"].mean_dsc == "0.417"


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
def test_each_convention_is_shown_with_its_name_and_its_columns(tmp_path, convention):
    folder = score(tmp_path, convention)
    text = write(folder, tmp_path / "report.html")
    assert Page(text).images == 2
    told = html.unescape(text)
    assert CONVENTIONS[convention].title in told
    assert CONVENTIONS[convention].notes in told
    for label in ("DSC", "HD95 (voxels)") if convention == "transunet" else ("HD95 (mm)", "HD (mm)", "NSD at 2 mm"):
        assert f">{label}</th>" in text
    assert ("NSD" in re.sub(r'<p class="note">.*?</p>', "", text, flags=re.S)) == (convention != "transunet")
    gallbladder = read_score_table(folder / "summary.json").organs[1]
    assert gallbladder.dsc.mean == pytest.approx(
        {"ours": 5 / 18, "transunet": (5 / 6 + 1) / 3, "monai": 5 / 12}[convention]
    )


def test_a_summary_of_old_was_counted_our_way(scored, tmp_path):
    found = json.loads((scored / "summary.json").read_text())
    assert found.pop("convention") == "ours"
    (tmp_path / "summary.json").write_text(json.dumps(found))
    assert read_score_table(tmp_path / "summary.json").convention.name == "ours"


@pytest.mark.parametrize("name", ["medpy", ["ours"], None])
def test_a_summary_of_an_unknown_convention_is_refused(scored, tmp_path, name):
    found = json.loads((scored / "summary.json").read_text()) | {"convention": name}
    (tmp_path / "summary.json").write_text(json.dumps(found))
    with pytest.raises(BadTable, match="is not known here"):
        read_score_table(tmp_path / "summary.json")


def test_scores_and_summary_of_two_conventions_do_not_fit(scored, tmp_path):
    folder = score(tmp_path, "transunet")
    with pytest.raises(BadTable, match="hd95_voxels"):
        write(folder, tmp_path / "r.html", scores=scored / "scores.csv")
