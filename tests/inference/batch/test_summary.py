"""summary.json: the cases of a run by their need of review."""

import json

import pytest

from sautomed import errors
from sautomed.inference.batch import SegmentOptions, plan_jobs
from sautomed.inference.batch.json_files import read_objects
from sautomed.inference.batch.report_parts import SCHEMA
from sautomed.inference.batch.summary import summarise
from sautomed.scans.files import write_json


def report(folder, case, **content):
    write_json(folder / f"{case}.json", {"schema": SCHEMA, "case": case, "status": "done"} | content)
    return folder / f"{case}.json"


def test_failed_cases_come_first_then_those_to_review_least_sure_first(tmp_path):
    paths = [
        report(tmp_path, "sure", least_sure=0.9, review=[]),
        report(tmp_path, "unknown", least_sure=None, review=["liver: ..."]),
        report(tmp_path, "middling", least_sure=0.7, review=["liver: ..."]),
        report(tmp_path, "worst", least_sure=0.2, review=["liver: ..."], confidence={"cases": 3, "calibrated": False}),
        report(tmp_path, "old"),  # written before there was any of this
        report(tmp_path, "failed", status="failed", review=[], least_sure=None),
        tmp_path / "missing.json",
    ]
    found = summarise(read_objects(paths))
    assert [case.case for case in found] == ["failed", "worst", "middling", "unknown", "sure", "old"]
    assert found[1].calibrated is False
    assert found[-1].review == ()


@pytest.fixture
def scans(write, tmp_path):
    for name in ("a", "b"):
        write(tmp_path / "in" / f"{name}.nii.gz")
    return tmp_path / "in"


def read(folder):
    return json.loads((folder / "summary.json").read_text())


def test_a_folder_of_scans_has_a_summary_that_a_resumed_run_keeps_whole(run, scans, write, tmp_path):
    out = tmp_path / "out"
    (scans / "bad.nii.gz").write_text("no scan")
    outcome = run(scans, out)
    found = read(out)
    assert found["schema"] == "sautomed summary 1"
    assert found["cases"][0]["case"] == "bad"
    assert {case["case"]: case["status"] for case in found["cases"]} == {"a": "done", "b": "done", "bad": "failed"}
    assert [case.case for case in outcome.summary] == [case["case"] for case in found["cases"]]
    case = next(case for case in found["cases"] if case["case"] == "a")
    assert case["review"] == json.loads((out / "a.json").read_text())["review"]
    (scans / "bad.nii.gz").unlink()
    write(scans / "bad.nii.gz")
    resumed = run(scans, out, resume=True)
    assert len(resumed.skipped) == 2
    assert {case["case"] for case in read(out)["cases"]} == {"a", "b", "bad"}


def test_a_run_that_is_stopped_has_a_summary_of_what_it_did(run, scans, tmp_path):
    def stop(job, done, total):
        if job.case == "b":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(scans, tmp_path / "out", on_slice=stop)
    assert [case["case"] for case in read(tmp_path / "out")["cases"]] == ["a"]


def test_a_single_scan_has_none(run, scans, tmp_path):
    run(scans / "a.nii.gz", tmp_path / "out", report=True)
    assert not (tmp_path / "out" / "summary.json").exists()


def test_a_case_of_that_name_is_refused(scans, write, tmp_path):
    write(scans / "summary.nii.gz")
    with pytest.raises(errors.UnpairedFiles, match=r"summary\.json of the whole run"):
        plan_jobs(scans, tmp_path / "out")


@pytest.mark.parametrize("options", [SegmentOptions(), SegmentOptions(resume=True)])
def test_the_summary_of_an_evaluation_is_not_replaced(scans, tmp_path, options):
    write_json(tmp_path / "out" / "summary.json", {"foreground_mean": {}})
    with pytest.raises(errors.TargetExists) as refused:
        plan_jobs(scans, tmp_path / "out", options)
    assert refused.value.where == str(tmp_path / "out" / "summary.json")
    plan_jobs(scans, tmp_path / "out", SegmentOptions(overwrite=True))
