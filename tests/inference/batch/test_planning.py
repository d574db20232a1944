"""Where outputs go, and which of them are refused before any work."""

import os

import pytest

from sautomed import errors
from sautomed.inference.batch import Job, SegmentOptions, plan_jobs, plan_list
from sautomed.inference.batch.report_parts import FAILURES_SCHEMA, SCHEMA
from sautomed.inference.batch.shards import Shard
from sautomed.scans import ReadOptions
from sautomed.scans.files import write_json

DEFAULTS, WITHOUT_PREVIEW = SegmentOptions(), SegmentOptions(preview=False)


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


@pytest.mark.parametrize(
    ("first", "second"), [("Case1", "case1"), ("site/Case1", "Site/Case1")], ids=["names", "folders"]
)
def test_outputs_that_differ_in_upper_and_lower_case_alone_are_refused(write_list, tmp_path, first, second):
    """They are one file on the disks of Windows and macOS."""
    rows = [("p1", "Case1.nii", first), ("p2", "case1.nii", second)]
    with pytest.raises(
        errors.UnpairedFiles, match=r"Case1\.nii and case1\.nii would go to one file, on a disk"
    ) as found:
        plan_list(write_list(("case", "path", "output"), *rows), tmp_path / "out")
    assert found.value.where.endswith(f"{second}.nii.gz")
    rows[1] = ("p2", "case1.nii", f"{second}b")
    assert len(plan_list(write_list(("case", "path", "output"), *rows), tmp_path / "out").jobs) == 2


def test_a_scan_called_as_the_summary_but_for_upper_case_is_refused(scans, write, tmp_path):
    write(scans / "Summary.nii.gz")
    with pytest.raises(errors.UnpairedFiles, match=r"summary\.json of the whole run .* does not tell upper from lower"):
        plan_jobs(scans, tmp_path / "out")


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


# --- lists and shards ---


def test_a_list_names_scans_outputs_and_series(write_list, tmp_path):
    rows = ("case", "path", "series", "output"), ("p2", "x/2.nii", "3", "site/p2"), ("p1", "x/1.nii", "", "")
    plan = plan_list(write_list(*rows), tmp_path / "out", WITHOUT_PREVIEW)
    out = tmp_path / "out"
    assert [(job.case, job.scan, job.targets[0], job.report) for job in plan.jobs] == [
        ("p2", tmp_path / "x" / "2.nii", out / "site" / "p2.nii.gz", out / "site" / "p2.json"),
        ("p1", tmp_path / "x" / "1.nii", out / "p1.nii.gz", out / "p1.json"),
    ]
    assert [plan.reading_of(job).series for job in plan.jobs] == ["3", None]
    assert (plan.several, plan.summary) == (True, out / "summary.json")


def test_the_series_of_the_command_is_that_of_rows_without_one(write_list, tmp_path):
    scan_list = write_list(("case", "path", "series"), ("a", "a", "3"), ("b", "b", ""))
    plan = plan_list(scan_list, tmp_path / "out", SegmentOptions(reading=ReadOptions(series="T1", frame=2)))
    assert [plan.reading_of(job) for job in plan.jobs] == [ReadOptions("3", 2), ReadOptions("T1", 2)]


def test_a_list_of_one_scan_needs_a_folder_too(write_list, tmp_path):
    with pytest.raises(errors.UsageError, match="list of scans needs a folder"):
        plan_list(write_list(("case", "path"), ("a", "a.nii")), tmp_path / "out.nii.gz")


@pytest.mark.parametrize("name", ["summary", "failures", "summary.shard-2-of-4", "failures.shard-1-of-1"])
def test_no_case_has_the_name_of_a_file_of_the_run_or_of_a_shard(write_list, tmp_path, name):
    with pytest.raises(errors.UnpairedFiles, match=r"of the whole run.*give its row another output"):
        plan_list(write_list(("case", "path"), (name, "a.nii")), tmp_path / "out")
    elsewhere = write_list(("case", "path", "output"), (name, "a.nii", f"site/{name}"))
    assert plan_list(elsewhere, tmp_path / "out").jobs[0].case == name


def test_shards_part_the_cases_by_name_whatever_the_order_of_the_list(write_list, tmp_path):
    names = ["p3", "p1", "p5", "p2", "p4"]
    lists = [write_list(("case", "path"), *((n, f"{n}.nii") for n in order)) for order in (names, names[::-1])]
    for scan_list in lists:
        parts = [plan_list(scan_list, tmp_path / "out", DEFAULTS, Shard(number, 2)) for number in (1, 2)]
        assert [[job.case for job in part.jobs] for part in parts] == [["p1", "p3", "p5"], ["p2", "p4"]]


def test_shards_share_no_file(scans, tmp_path):
    first, second = (plan_jobs(scans, tmp_path / "out", DEFAULTS, Shard(number, 2)) for number in (1, 2))
    assert first.summary == tmp_path / "out" / "summary.shard-1-of-2.json"
    files = [[*plan.shared, *(path for job in plan.jobs for path in job.outputs)] for plan in (first, second)]
    assert not set(files[0]) & set(files[1])
    assert (first.label_file, second.label_file) == (tmp_path / "out" / "itksnap_labels.txt", None)


def test_outputs_that_clash_are_found_in_different_shards_too(scans, write, tmp_path):
    write(scans / "a_0000.nii.gz")
    with pytest.raises(errors.UnpairedFiles):
        plan_jobs(scans, tmp_path / "out", DEFAULTS, Shard(1, 3))


def test_what_exists_of_another_shard_does_not_matter(scans, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "b.nii.gz").write_bytes(b"")
    assert plan_jobs(scans, tmp_path / "out", DEFAULTS, Shard(1, 2)).jobs
    with pytest.raises(errors.TargetExists):
        plan_jobs(scans, tmp_path / "out", DEFAULTS, Shard(2, 2))


def test_there_may_be_more_shards_than_cases(scans, tmp_path):
    assert plan_jobs(scans, tmp_path / "out", DEFAULTS, Shard(3, 3)).jobs == ()


def test_a_shard_of_one_scan_is_refused(scans, tmp_path):
    with pytest.raises(errors.UsageError, match=r"this is one scan.*Leave out --shard"):
        plan_jobs(scans / "a.nii", tmp_path / "out", DEFAULTS, Shard(1, 2))


def test_a_task_of_a_slurm_array_takes_its_shard_of_a_list_and_says_so(scans, tmp_path, monkeypatch, caplog):
    for name, value in {"ID": "8", "COUNT": "2", "MIN": "7", "MAX": "8", "STEP": "1"}.items():
        monkeypatch.setenv(f"SLURM_ARRAY_TASK_{name}", value)
    (tmp_path / "cohort.csv").write_text(f"case,path\na,{scans / 'a.nii'}\nb,{scans / 'b_0000.nii.gz'}\n")
    plan = plan_list(tmp_path / "cohort.csv", tmp_path / "out")
    assert ([job.case for job in plan.jobs], plan.shard) == (["b"], Shard(2, 2))
    assert "shard 2/2: 1 of 2 scans. --shard 1/1 takes all." in caplog.text
    caplog.clear()
    assert len(plan_list(tmp_path / "cohort.csv", tmp_path / "out", DEFAULTS, Shard(1, 1)).jobs) == 2
    assert not caplog.text
    single = plan_jobs(scans / "a.nii", tmp_path / "out")  # of a loop of the user's own
    assert (len(single.jobs), single.shard, caplog.text) == (1, None, "")


@pytest.mark.parametrize("numbers", [{"ID": "8", "COUNT": "2", "MIN": "7", "MAX": "8"},
                                     {"ID": "5", "COUNT": "2", "MIN": "0", "MAX": "5"}])  # fmt: skip
def test_a_folder_is_whole_in_every_task_of_an_array(scans, tmp_path, monkeypatch, caplog, numbers):
    """It may be another folder in each task, whatever the numbers of the array are."""
    for name, value in numbers.items():
        monkeypatch.setenv(f"SLURM_ARRAY_TASK_{name}", value)
    plan = plan_jobs(scans, tmp_path / "out")
    assert (len(plan.jobs), plan.shard) == (2, None)
    assert "segments the whole folder. --shard slurm" in caplog.text
