"""The page about a dataset: complete, escaped, and with all findings."""

import re

import pytest

from sautomed.datasets.doctor.diagnosis import Diagnosis, Finding
from sautomed.datasets.doctor.facts import CaseFacts, GridFacts, Intensities
from sautomed.datasets.doctor.mending import Mended
from sautomed.report.doctor import write_doctor_page

from .test_page import Page

PNG = b"\x89PNG not really"


def make_case(name, **given):
    grid = GridFacts((40, 32, 12), (8.0, 8.0, 10.0), "RAS", (0.0, 0.0, 0.0))
    known = {
        "image": grid, "label": grid, "plane": "axial", "intensities": Intensities(-1000, -990, 40, 100, 120),
        "voxels": {1: 500}, "millilitres": {1: 320.0},
    }  # fmt: skip
    return CaseFacts(name, **(known | given))


@pytest.fixture
def diagnosis(tmp_path):
    findings = (
        Finding("grids", "error", "have <different> shapes.", "Regrid & see.", "a", True, "SAM-E0307"),
        *(Finding("unlike", "note", f"differs {n}.", "Harmless.", f"case_{n}") for n in range(9)),
    )
    cases = (make_case("a"), make_case("b<i>", group="patient 7", voxels={2: 1}, millilitres={2: 0.64}))
    broken = CaseFacts("c")
    labels = {1: "liver", 2: "left_kidney"}
    return Diagnosis(tmp_path, "A & B", "nnunet-raw", "CT", labels, (*cases, broken), findings, {"a": PNG, "b<i>": PNG})


def write(diagnosis, path, mended=None):
    write_doctor_page(path, diagnosis, mended)
    return path.read_text(encoding="utf-8")


def test_the_page_is_complete_and_needs_no_other_file(diagnosis, tmp_path):
    page = write(diagnosis, tmp_path / "page.html")
    parsed = Page(page)
    assert parsed.images == 3  # two cases, one plot
    assert all(source.startswith("data:image/png;base64,") for source in parsed.sources)
    assert not re.search(r"https?://|url\(|<script|@import", page)


def test_text_is_escaped(diagnosis, tmp_path):
    page = write(diagnosis, tmp_path / "page.html")
    for shown in ("A &amp; B", "&lt;different&gt;", "Regrid &amp; see.", "b&lt;i&gt;"):
        assert shown in page
    assert "<different>" not in page


def test_findings_and_cases_are_shown(diagnosis, tmp_path):
    page = write(diagnosis, tmp_path / "page.html")
    for shown in (
        "Must be corrected", "3 cases: 1 error, no warnings, 9 notes", "SAM-E0307", "corrects it", "5 more",
        "patient patient 7", "40 × 32 × 12", "8 × 8 × 10 mm", "-990 / 40 / 100", "left kidney", "320",
        "0.64", "not readable",
    ):  # fmt: skip
        assert shown in page, shown
    assert page.count("Harmless.") == 1  # one cure for nine alike


def test_a_sound_dataset_and_many_labels(tmp_path):
    labels = {value: f"organ_{value}" for value in range(1, 31)}
    cases = (make_case("a", voxels={3: 10}, millilitres={3: 6.4}),)
    page = write(Diagnosis(tmp_path, "many", "msd", "CT", labels, cases, ()), tmp_path / "page.html")
    Page(page)
    assert "Sound" in page
    assert "Nothing was found." in page
    assert "1 of 30" in page


def test_corrections_are_shown(diagnosis, tmp_path):
    mended = Mended(tmp_path / "new", {"a": ("resampled",), "b<i>": ()}, {"c": "is <broken>"}, {2: "left_kidney"})
    page = write(diagnosis, tmp_path / "page.html", mended)
    Page(page)
    for shown in ("2 of 3 cases written, 1 with corrections", "is &lt;broken&gt;", "left_kidney: taken out"):
        assert shown in page
