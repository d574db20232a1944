import json
import re
import shutil

import pytest

from sautomed import cli
from sautomed.errors import MissingFile
from sautomed.study.report import write_study_report


@pytest.fixture(scope="module")
def report(fake_study, tmp_path_factory):
    """The folder of a report with everything in it."""
    study = shutil.copytree(fake_study, tmp_path_factory.mktemp("page") / "blobs")
    return write_study_report(study).parent


@pytest.fixture(scope="module")
def page(report) -> str:
    return (report / "report.html").read_text(encoding="utf-8")


def pictures_of(page: str) -> set[str]:
    return set(re.findall(r'<img src="data:[^"]+" alt="([^"]+)"', page))


@pytest.mark.slow
def test_the_page_needs_no_other_file(page):
    assert "default-src 'none'; img-src data:" in page
    assert not re.search(r'(?:src|href)="(?!data:)', page)
    assert len(page) < 8_000_000


@pytest.mark.slow
def test_the_page_has_every_picture(page):
    alts = " | ".join(pictures_of(page))
    for text in ("DSC of each patient", "minutes of training", "Errors by cause", "by their place in the organ"):
        assert text in alts
    for role in ("Best", "Median", "Worst"):
        assert re.search(rf"{role} case: case_\d: one slice", alts)
        assert re.search(rf"{role} case: case_\d: surfaces", alts)


@pytest.mark.slow
def test_the_page_shows_which_systems_failed_were_left_out_or_were_prompted(page):
    assert "8.1 GB were needed and 4.0 GB are there" in page
    assert "an untrained trunk cannot segment zero-shot" in page
    assert "box from the truth: Slide-SAM" in page


@pytest.mark.slow
def test_the_tables_of_errors_are_written_beside_those_of_scores(report):
    written = {path.name for path in (report / "tables").iterdir()}
    for ending in (".csv", ".md", ".tex"):
        assert {f"blobs_errors{ending}", f"blobs_slice_places{ending}", f"blobs_overview{ending}"} <= written
    assert "Errors by cause" in (report / "tables" / "all.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_what_is_gone_is_left_out_and_text_is_shown_as_it_is(study_copy, change_run, capsys):
    described = json.loads((study_copy / "study.json").read_text())
    (study_copy / "study.json").write_text(json.dumps({**described, "title": "<script>alert(1)</script> $x$"}))
    shutil.rmtree(study_copy / "trainings")
    for path in sorted((study_copy / "runs").iterdir()):
        shutil.rmtree(path / "prompts", ignore_errors=True)
        change_run(study_copy, path.name, dataset_folder="/moved/away", note="a <i>note</i>")

    assert cli.run(["report", str(study_copy)]) == 0
    printed = capsys.readouterr().out
    assert str(study_copy / "report" / "report.html") in printed
    assert str(study_copy / "report" / "tables") in printed

    page = (study_copy / "report" / "report.html").read_text(encoding="utf-8")
    assert "Pictures and the analysis of errors are left out" in page
    assert "does not exist" in page
    assert "Learning curves" not in page
    assert any("DSC of each patient" in alt for alt in pictures_of(page))
    assert "<script>" not in page
    assert "a &lt;i&gt;note&lt;/i&gt;" in page


def test_a_study_of_which_all_failed_has_a_page_of_reasons(study_copy, change_run):
    for path in sorted((study_copy / "runs").iterdir()):
        change_run(study_copy, path.name, status="failed", error={"id": "SAM-E0601", "text": "the disk is full <b>"})
    page = write_study_report(study_copy).read_text(encoding="utf-8")
    assert "the disk is full &lt;b&gt;" in page
    assert not pictures_of(page)


def test_a_folder_that_is_no_study_is_refused(tmp_path):
    with pytest.raises(MissingFile):
        write_study_report(tmp_path)
