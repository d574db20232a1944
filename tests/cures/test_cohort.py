"""Refusals of lists, shards, remote stores and `merge`, followed to the letter."""

import json
import os
import re
import shutil
import sys
from collections import namedtuple
from contextlib import contextmanager
from importlib import import_module

import pytest

from ..bad_input.conftest import noise, write

needs_permissions = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may do anything")
KEYS = "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"


@pytest.fixture
def order(trained_run, tmp_path):
    """Return the command that segments a list, or with -i something else."""

    def command_of(option="--list", source=tmp_path / "cohort.csv", output=tmp_path / "out"):
        return "segment", option, source, "-m", trained_run, "-o", output, "--no-preview"

    return command_of


@pytest.fixture
def cohort(tmp_path):
    """A list of two scans."""
    for number, name in enumerate(("a", "b")):
        write(tmp_path / "in" / f"{name}.nii.gz", noise((24, 24, 3)) + number)
    path = tmp_path / "cohort.csv"
    path.write_text("case,path\na,in/a.nii.gz\nb,in/b.nii.gz\n")
    return path


# --- lists ---


@pytest.mark.parametrize("cure", ["-i", "--list"])
def test_segment_needs_scans_once(refuse, cohort, trained_run, tmp_path, cure):
    given = ("segment", "-m", trained_run, "-o", tmp_path / "out", "--no-preview")
    refusal = refuse("cli/scan_commands.py segment UsageError", *given)
    refusal.asks("a folder of scans with -i", "a CSV or Parquet file with --list")
    refusal.works(cure, cohort if cure == "--list" else tmp_path / "in")


@pytest.mark.parametrize(
    ("key", "content", "wrong", "right"),
    [
        (
            "inference/batch/scan_list.py read_scan_list BadList",
            "case,path\na,in/a.nii.gz\n,in/b.nii.gz\n",
            "\n,",
            "\nb,",
        ),
        ("inference/batch/scan_list.py _csv_table BadList 2", 'case,path\na,"in/a.nii.gz\n', '"', ""),
        ("inference/batch/scan_list.py _check_columns BadList", "name,path\na,in/a.nii.gz\n", "name", "case"),
        ("inference/batch/scan_list.py read_scan_list NoCases", "case,path\n", "path\n", "path\na,in/a.nii.gz\n"),
    ],
)
def test_a_list_is_corrected_there(refuse, order, cohort, key, content, wrong, right):
    cohort.write_text(content)
    refusal = refuse(key, *order())
    if "_check_columns" in key:
        assert right in refusal.take("first line: (.+) and").split(",")
    cohort.write_text(content.replace(wrong, right))
    refusal.works()


def test_a_list_in_another_encoding(refuse, order, cohort, tmp_path):
    write(tmp_path / "in" / "ä.nii.gz")
    cohort.write_bytes("case,path\nä,in/ä.nii.gz\n".encode("latin-1"))
    refusal = refuse("inference/batch/scan_list.py _csv_table BadList", *order())
    cohort.write_text("case,path\nä,in/ä.nii.gz\n", encoding=refusal.take(r"as CSV in ([\w-]+),"))
    refusal.works()


@needs_permissions
def test_a_list_that_may_not_be_read(refuse, order, cohort):
    cohort.chmod(0)
    refusal = refuse("inference/batch/scan_list.py _content_of MissingFile", *order()).asks("permissions")
    cohort.chmod(0o600)
    refusal.works()


@pytest.mark.parametrize("cure", ["again", "csv"])
def test_what_is_no_parquet(refuse, order, command, cohort, cure):
    import pyarrow
    from pyarrow import parquet

    path = shutil.copy(cohort, cohort.with_suffix(".parquet"))
    refusal = refuse("inference/batch/scan_list.py _parquet_table BadList", *order(source=path))
    if cure == "again":
        refusal.asks("Write it again")
        parquet.write_table(pyarrow.table({"case": ["a"], "path": ["in/a.nii.gz"]}), path)
        refusal.works()
    else:
        assert command(*order(source=path.rename(path.with_suffix(refusal.take(r"name end in (\.csv)")))))[0] == 0


@pytest.mark.parametrize("cure", ["install", "csv"])
def test_parquet_needs_a_package(refuse, order, cohort, command, monkeypatch, cure):
    import pyarrow
    from pyarrow import parquet

    path = cohort.with_suffix(".parquet")
    parquet.write_table(pyarrow.table({"case": ["a"], "path": ["in/a.nii.gz"]}), path)
    with monkeypatch.context() as missing:
        missing.setitem(sys.modules, "pyarrow", None)
        refusal = refuse("inference/batch/scan_list.py _parquet_table PackageMissing", *order(source=path))
        refusal.asks('pip install "sautomed[cohort]"', "save the list as CSV")
        if cure == "csv":
            assert command(*order())[0] == 0
    if cure == "install":
        refusal.works()


# --- shards ---


def test_what_is_no_shard(refuse, order, cohort, command):
    refusal = refuse("inference/batch/shards.py shard_of_text UsageError", *order(), "--shard", "3/2")
    for shard in re.findall(r"\d/\d", refusal.error.cure):
        assert command(*order(), "--shard", shard)[0] == 0


@pytest.mark.parametrize("cure", ["--array", "--shard"])
def test_an_uneven_array(refuse, order, cohort, monkeypatch, cure):
    array = {"ID": "5", "COUNT": "2", "MIN": "0", "MAX": "5", "STEP": "1"}
    for name, value in array.items():
        monkeypatch.setenv(f"SLURM_ARRAY_TASK_{name}", value)
    refusal = refuse("inference/batch/shards.py shard_of_slurm UsageError", *order())
    if cure == "--shard":
        refusal.works(*refusal.take(r"such as (--shard) (\S+)\."))
    else:
        first, last = refusal.take(r"--array=(\d+)-(\d+),")
        for name, value in {"ID": last, "MIN": first, "MAX": last}.items():
            monkeypatch.setenv(f"SLURM_ARRAY_TASK_{name}", value)
        refusal.works()


@pytest.mark.parametrize("cure", ["sbatch --array", "--shard"])
def test_the_shard_of_no_array(refuse, order, cohort, command, monkeypatch, cure):
    refusal = refuse("inference/batch/shards.py _shard_of_this_task UsageError", *order(), "--shard", "slurm")
    if cure == "--shard":
        assert command(*order(), *refusal.take(r"example (--shard \S+)\.").split())[0] == 0
        return
    refusal.asks("Submit it by sbatch --array")
    for name, value in {"ID": "0", "COUNT": "2", "MIN": "0", "MAX": "1", "STEP": "1"}.items():  # as Slurm does then
        monkeypatch.setenv(f"SLURM_ARRAY_TASK_{name}", value)
    refusal.works()


def test_a_shard_of_one_scan(refuse, order, cohort, command, tmp_path):
    given = order("-i", tmp_path / "in" / "a.nii.gz")
    refuse("inference/batch/planning.py _plan UsageError 3", *given, "--shard", "1/2").asks("Leave out --shard")
    assert command(*given)[0] == 0


def test_a_case_with_the_name_of_a_file_of_the_run(refuse, order, cohort):
    cohort.write_text("case,path,output\nsummary,in/a.nii.gz,\n")
    refusal = refuse("inference/batch/refusals.py refuse_clashes UnpairedFiles", *order())
    refusal.asks("in a list, give its row another output")
    cohort.write_text("case,path,output\nsummary,in/a.nii.gz,other\n")
    refusal.works()


def test_cases_that_differ_in_upper_and_lower_case_alone(refuse, order, cohort):
    cohort.write_text("case,path,output\na,in/a.nii.gz,\nA,in/b.nii.gz,\n")
    refusal = refuse("inference/batch/refusals.py refuse_clashes UnpairedFiles", *order())
    refusal.asks("Rename the scan b.nii.gz", "in a list, give its row another output")
    cohort.write_text("case,path,output\na,in/a.nii.gz,\nA,in/b.nii.gz,other\n")
    refusal.works()


# --- merge ---


def test_shards_that_are_missing_are_run(refuse, order, cohort, command, tmp_path):
    assert command(*order(), "--shard", "1/2")[0] == 0
    refusal = refuse("cli/scan_commands.py merge SomeCasesFailed", "merge", tmp_path / "out")
    shard = refusal.take(r"have not begun: (\S+)\.")
    assert (
        command(*order(), "--shard", shard, refusal.take(r"for their shards, with (--resume), then merge again"))[0]
        == 0
    )
    refusal.works()


def test_the_folder_to_merge_is_that_of_segment(refuse, order, cohort, command, tmp_path):
    refusal = refuse("inference/batch/merge.py _planned_cases NoCases", "merge", tmp_path / "in")
    refusal.asks("Give the folder that segment wrote with -o")
    assert command(*order())[0] == 0
    assert command("merge", tmp_path / "out")[0] == 0


def test_a_summary_of_another_program_is_renamed(refuse, order, cohort, command, tmp_path):
    assert command(*order(), "--shard", "1/1")[0] == 0
    mine = tmp_path / "out" / "summary.json"
    mine.write_text('{"mine": 1}')
    refusal = refuse("inference/batch/merge.py merge TargetExists", "merge", tmp_path / "out").asks("Rename it")
    mine.rename(mine.with_name("mine.json"))
    refusal.works()


@pytest.mark.parametrize("cure", ["again", "list"])
def test_shards_of_a_folder_that_has_grown(refuse, order, cohort, command, tmp_path, cure):
    given = order("-i", tmp_path / "in")
    assert command(*given, "--shard", "1/2")[0] == 0
    write(tmp_path / "in" / "c.nii.gz", noise((24, 24, 3)) + 7)
    assert command(*given, "--shard", "2/2")[0] == 0
    refusal = refuse("inference/batch/shard_files.py require_one_cohort MixedShards", "merge", tmp_path / "out")
    if cure == "again":
        for path in (tmp_path / "out").glob(refusal.take(r"Remove the files (\S+) there")):
            path.unlink()
        for shard in ("1/2", "2/2"):
            assert (
                command(*given, "--shard", shard, refusal.take(r"run all shards with (--resume), then merge"))[0] == 0
            )
        refusal.works()
    else:
        cohort.write_text("case,path\na,in/a.nii.gz\nb,in/b.nii.gz\n")
        refusal.works(refusal.take("all cases with (--list)"), cohort)
    names = [case["case"] for case in json.loads((tmp_path / "out" / "summary.json").read_text())["cases"]]
    assert sorted(names) == (["a", "b", "c"] if cure == "again" else ["a", "b"])


def test_cases_of_two_models_are_segmented_again_by_one(refuse, order, cohort, command, trained_run, tmp_path):
    for shard in ("1/2", "2/2"):
        assert command(*order(), "--shard", shard)[0] == 0
    report = tmp_path / "out" / "b.json"
    content = json.loads(report.read_text())
    report.write_text(json.dumps({**content, "model": {**content["model"], "sha256": "0" * 64}}))
    refusal = refuse("cli/scan_commands.py merge SomeCasesFailed", "merge", tmp_path / "out")
    refusal.asks("--resume, one -m, --engine and --precision by name, then merge again")
    assert refusal.take(r"cases by \S+ \(SHA-256 0{12}, --engine torch --precision 32\): (\S+)\.") == "b"
    for shard in ("1/2", "2/2"):
        again = ("--shard", shard, "--resume", "--engine", "torch", "--precision", "32")
        assert command(*order(), *again)[0] == 0
    refusal.works()


@pytest.mark.parametrize("cure", ["remove", "list"])
def test_a_case_with_two_reports(refuse, order, cohort, command, tmp_path, cure):
    assert command(*order())[0] == 0
    (tmp_path / "out" / "old").mkdir()
    shutil.copy(tmp_path / "out" / "a.json", tmp_path / "out" / "old" / "a.json")
    refusal = refuse("inference/batch/merge.py _reported_in UnpairedFiles", "merge", tmp_path / "out")
    if cure == "remove":
        _, second = refusal.asks("Remove one of them").take(r"(\S+) and (\S+) are both")
        (tmp_path / "out" / second).unlink()
        refusal.works()
    else:
        refusal.works(refusal.take("cases with (--list)"), cohort)


# --- remote stores ---


@pytest.fixture
def remote(bucket, cohort, tmp_path):
    """A bucket with two scans: the store, and the URL of the bucket."""
    store, name = bucket
    for case in ("a", "b"):
        store.put(str(tmp_path / "in" / f"{case}.nii.gz"), f"{name}/in/{case}.nii.gz")
    return store, f"s3://{name}"


@pytest.fixture
def elsewhere(monkeypatch):
    """Change the environment of the store for a while, in which every command connects anew."""
    from s3fs import S3FileSystem

    @contextmanager
    def changed(**variables):
        with monkeypatch.context() as patch:
            patch.setattr(S3FileSystem, "cachable", False)
            patch.setattr(S3FileSystem, "retries", 1)
            for name, value in variables.items():
                patch.delenv(name) if value is None else patch.setenv(name, value)
            yield

    return changed


def test_a_url_of_another_kind(refuse, order, remote, command, tmp_path):
    key = "inference/batch/places.py place_of UsageError"
    refusal = refuse(key, *order("-i", "ftp://host/in"))
    refusal.asks("s3://BUCKET/FOLDER", "file:///FOLDER", "or a path")
    for source in (f"{remote[1]}/in", f"file://{tmp_path}/in", tmp_path / "in"):
        assert command(*order("-i", source), "--overwrite")[0] == 0


def test_a_url_where_nothing_is(refuse, order, remote, command):
    refusal = refuse("inference/batch/remote.py _read_error MissingFile", *order("-i", f"{remote[1]}/inn"))
    refusal.asks("Correct the URL")
    assert command(*order("-i", f"{remote[1]}/in"))[0] == 0


def test_a_url_without_scans(refuse, order, remote, tmp_path):
    store, root = remote
    store.pipe_file(f"{root}/empty/notes.txt", b"none")
    refusal = refuse("inference/batch/remote_scans.py find_remote_scans NoCases", *order("-i", f"{root}/empty"))
    ending = refusal.take(r"ends in (\.nii\.gz),")
    store.put(str(tmp_path / "in" / "a.nii.gz"), f"{root}/empty/a{ending}")
    refusal.asks("Put scans there").works()


def test_a_store_that_may_not_be_read_without_credentials(refuse, order, remote, elsewhere):
    with elsewhere(**dict.fromkeys(KEYS)):
        refusal = refuse("inference/batch/remote.py _read_error AccessRefused", *order("-i", f"{remote[1]}/in"))
    refusal.asks(*KEYS).works()


def test_a_store_that_may_not_be_written_without_credentials(refuse_call, remote, elsewhere):
    from sautomed.inference.batch.places import Url
    from sautomed.inference.batch.remote import write_bytes

    with elsewhere(**dict.fromkeys(KEYS)):
        key = "inference/batch/remote.py _write_error UnwritableTarget"
        refusal = refuse_call(key, write_bytes, Url(f"{remote[1]}/out/a.json"), b"{}")
    refusal.asks(*KEYS).works()


def test_a_bucket_that_is_not_there(refuse, order, remote, tmp_path):
    store, root = remote
    refusal = refuse("inference/batch/remote.py _write_error UnwritableTarget 2", *order(output=f"{root}-new/out"))
    store.mkdir(f"{root}-new")
    refusal.asks("Make it").works()


def test_a_store_that_cannot_be_reached(refuse, order, remote, elsewhere):
    with elsewhere(AWS_ENDPOINT_URL="http://127.0.0.1:9"):
        refusal = refuse("inference/batch/remote.py _unreachable Unreachable", *order("-i", f"{remote[1]}/in"))
    refusal.asks("Correct the URL, or the address of the server", "with --resume if cases are done")
    refusal.works()
    refusal.works("--resume")


def test_a_store_needs_a_package(refuse, order, remote, monkeypatch):
    with monkeypatch.context() as missing:
        missing.delitem(import_module("fsspec.registry")._registry, "s3")
        missing.setitem(sys.modules, "s3fs", None)
        refusal = refuse("inference/batch/remote.py _store PackageMissing", *order("-i", f"{remote[1]}/in"))
    refusal.asks('pip install "sautomed[cohort]"').works()


def test_a_name_that_leads_out_of_a_folder(refuse_call):
    from sautomed.inference.batch.places import Url
    from sautomed.inference.batch.remote import require_safe_names

    key, url = "inference/batch/remote.py require_safe_names DataError", Url("s3://bucket/p1")
    refuse_call(key, require_safe_names, url, ["../x.dcm"]).asks("Rename that file").works(url, ["x.dcm"])


def test_a_remote_report_of_another_program(refuse, order, remote, command):
    store, root = remote
    store.pipe_file(f"{root}/out/a.json", json.dumps({"mine": 1}).encode())
    given = order("-i", f"{root}/in", f"{root}/out")
    refusal = refuse("inference/batch/run.py _is_staged_job_done TargetExists", *given, "--resume")
    refusal.works(refusal.take("Use (--overwrite)"))


@pytest.mark.parametrize("cure", ["free", "TMPDIR"])
def test_no_space_for_a_remote_scan(refuse, order, remote, monkeypatch, tmp_path, cure):
    usage, free = namedtuple("usage", "total used free"), {"bytes": 10}
    places = []

    def disk_usage(place):
        places.append(place)
        return usage(1, 1, 10**12 if cure == "TMPDIR" and tmp_path in place.parents else free["bytes"])

    monkeypatch.setattr("sautomed.inference.batch.staging.shutil.disk_usage", disk_usage)
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setenv("TMPDIR", str(tmp_path.parent))
    key = "inference/batch/staging.py _require_space UnwritableTarget"
    refusal = refuse(key, *order("-i", f"{remote[1]}/in/a.nii.gz")).asks("Free space there")
    if cure == "free":
        free["bytes"] = 10**12
    else:
        (tmp_path / "disk").mkdir()
        monkeypatch.setattr("tempfile.tempdir", None)
        monkeypatch.setenv(refusal.take(r"environment variable (\w+)\."), str(tmp_path / "disk"))
    refusal.works()


def test_outputs_on_a_web_server(refuse, order, remote, command, tmp_path):
    key = "inference/batch/refusals.py refuse_web UsageError"
    refuse(key, "merge", "https://host/out")
    refusal = refuse(key, *order(output="https://host/out")).asks("a folder, or a URL such as s3://BUCKET/FOLDER")
    refusal.works("-o", tmp_path / "out")
    refusal.works("-o", f"{remote[1]}/out")
