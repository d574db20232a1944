"""Where outputs go, and which of them are refused before any work."""

import os

import pytest

from sautomed import errors
from sautomed.inference.batch import Job, SegmentOptions, plan_jobs
from sautomed.inference.batch.case_report import FAILURES_SCHEMA, SCHEMA
from sautomed.scans.files import write_json

WITHOUT_PREVIEW = SegmentOptions(preview=False)


@pytest.fixture
def scans(write, tmp_path):
    for name in ("b_0000.nii.gz", "a.nii"):
        write(tmp_path / "scans" / name)
    return tmp_path / "scans"


def test_a_folders_scans_go_to_a_folder_with_reports(scans, tmp_path):
    out = tmp_path / "out"
    plan = plan_jobs(scans, out)
    assert plan.jobs == (
        Job("a", scans / "a.nii", (out / "a.nii.gz",), out / "a.png", out / "a.json", out / "a.prompts.json"),
        Job("b", scans / "b_0000.nii.gz", (out / "b.nii.gz",), out / "b.png", out / "b.json", out / "b.prompts.json"),
    )
    assert (plan.several, plan.failures) == (True, out / "failures.json")
    assert not out.exists()


@pytest.mark.parametrize(
    ("output", "target"),
    [("x.nii.gz", "x.nii.gz"), ("x.nii", "x.nii"), ("folder", "folder/b.nii.gz"), ("v1.2", "v1.2/b.nii.gz")],
)
def test_a_file_goes_to_a_file_or_into_a_folder(scans, tmp_path, output, target):
    plan = plan_jobs(scans / "b_0000.nii.gz", tmp_path / output, WITHOUT_PREVIEW)
    assert plan.jobs[0].targets == (tmp_path / target,)
    assert plan.without_prompts().jobs[0].outputs == (tmp_path / target,)
    assert not plan.several


def test_a_single_scan_gets_a_report_if_asked_for(scans, tmp_path):
    for asked in ({"report": True}, {"resume": True}):
        [job] = plan_jobs(scans / "a.nii", tmp_path / "x.nii.gz", SegmentOptions(preview=False, **asked)).jobs
        assert job.outputs == (tmp_path / "x.nii.gz", tmp_path / "x.prompts.json", tmp_path / "x.json")


def test_several_formats_lie_beside_each_other(scans, tmp_path):
    both = SegmentOptions(("nii", ".nii.gz", "nii"), preview=False)
    [job] = plan_jobs(scans / "a.nii", tmp_path / "out", both).jobs
    assert job.targets == (tmp_path / "out" / "a.nii", tmp_path / "out" / "a.nii.gz")
    [job] = plan_jobs(scans / "a.nii", tmp_path / "x.nii.gz", both).jobs
    assert job.targets == (tmp_path / "x.nii.gz", tmp_path / "x.nii")


@pytest.mark.parametrize("output", ["x.dcm", "x.gz", "x.hdr"])
def test_an_output_in_an_unknown_format_is_no_folder(scans, tmp_path, output):
    with pytest.raises(errors.UnknownFormat, match=rf"no format .* Call it {output}\.nii\.gz"):
        plan_jobs(scans / "a.nii", tmp_path / output)


def test_an_unknown_format_is_named(scans, tmp_path):
    with pytest.raises(errors.UnknownFormat, match=r"--format: 'obj'.*nii\.gz"):
        plan_jobs(scans, tmp_path / "out", SegmentOptions(("obj",)))


def test_a_folder_of_scans_needs_a_folder(scans, tmp_path):
    with pytest.raises(errors.UsageError, match="needs a folder"):
        plan_jobs(scans, tmp_path / "out.nii.gz")


def test_existing_outputs_are_refused_unless_allowed(scans, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "b.nii.gz").write_bytes(b"")
    with pytest.raises(errors.TargetExists, match=r"b\.nii\.gz: 1 of 8 .*--overwrite.*--resume") as caught:
        plan_jobs(scans, tmp_path / "out")
    assert caught.value.exit_code == 2
    for allowed in ({"overwrite": True}, {"resume": True}):
        assert len(plan_jobs(scans, tmp_path / "out", SegmentOptions(**allowed)).jobs) == 2


def test_resuming_replaces_no_file_that_another_tool_wrote(scans, tmp_path):
    write_json(tmp_path / "out" / "a.json", {"Modality": "MR"})
    with pytest.raises(errors.TargetExists, match=r"a\.json.*not written by a segmentation"):
        plan_jobs(scans, tmp_path / "out", SegmentOptions(resume=True))
    write_json(tmp_path / "out" / "a.json", {"schema": SCHEMA})
    assert plan_jobs(scans, tmp_path / "out", SegmentOptions(resume=True))


def test_a_list_of_failures_is_replaced_only_if_it_is_ours(scans, tmp_path):
    write_json(tmp_path / "out" / "failures.json", {"schema": FAILURES_SCHEMA})
    assert plan_jobs(scans, tmp_path / "out")
    write_json(tmp_path / "out" / "failures.json", {"mine": 1})
    with pytest.raises(errors.TargetExists, match=r"failures\.json"):
        plan_jobs(scans, tmp_path / "out")


@pytest.mark.parametrize("overwrite", [False, True])
def test_labels_never_replace_the_scan(write, tmp_path, overwrite):
    scan = write(tmp_path / "a.nii.gz")
    options = SegmentOptions(overwrite=overwrite)
    for output in (tmp_path, scan, tmp_path / "." / "a.nii.gz"):
        with pytest.raises(errors.TargetExists, match="is the scan itself"):
            plan_jobs(scan, output, options)
    with pytest.raises(errors.TargetExists, match="is the scan itself"):
        plan_jobs(tmp_path, tmp_path, options)


def test_two_scans_of_one_name_are_refused(scans, write, tmp_path):
    write(scans / "a_0000.nii.gz")
    with pytest.raises(errors.UnpairedFiles, match=r"a\.nii and a_0000\.nii\.gz"):
        plan_jobs(scans, tmp_path / "out", SegmentOptions(overwrite=True))


def test_a_scan_called_as_the_list_of_failures_is_refused(scans, write, tmp_path):
    write(scans / "failures.nii.gz")
    with pytest.raises(errors.UnpairedFiles, match=r"failures\.json of the whole run"):
        plan_jobs(scans, tmp_path / "out")


@pytest.mark.parametrize("name", ["a.nii.gz", "b.json", "failures.json"])
def test_a_folder_in_place_of_an_output_is_found_before_the_work(scans, tmp_path, name):
    (tmp_path / "out" / name).mkdir(parents=True)
    with pytest.raises(errors.UnwritableTarget, match="is a folder"):
        plan_jobs(scans, tmp_path / "out", SegmentOptions(overwrite=True))


def test_a_file_in_place_of_the_folder_is_found_before_the_work(scans, tmp_path):
    (tmp_path / "out").write_text("mine")
    for output in (tmp_path / "out", tmp_path / "out" / "deeper"):
        with pytest.raises(errors.UnwritableTarget, match="is a file, but a folder"):
            plan_jobs(scans, output)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_place_is_found_before_the_work(scans, tmp_path):
    (tmp_path / "locked").mkdir(mode=0o500)
    with pytest.raises(errors.UnwritableTarget, match="Permission denied"):
        plan_jobs(scans, tmp_path / "locked" / "out")


def test_a_place_that_refuses_writing_is_found_before_the_work(scans, tmp_path, monkeypatch):
    """As a read-only file system does, even to root."""
    from sautomed.scans import files

    def refuse(path):
        raise OSError(30, "Read-only file system", str(path))

    monkeypatch.setattr(files, "_flush", refuse)
    with pytest.raises(errors.UnwritableTarget, match=r"Read-only file system.*-o"):
        plan_jobs(scans, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["scans"]
