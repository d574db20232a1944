"""Shards that know nothing of each other, killed and run again, and the one summary of all."""

import json

import pytest

from sautomed import errors
from sautomed.inference.batch.merge import merge
from sautomed.inference.batch.shards import Shard
from sautomed.scans.files import write_json
from sautomed.scans.paths import sha256_of

from ..conftest import blocks

CASES = ("p1", "p2", "p3", "p4", "p5")


@pytest.fixture
def cohort(write, write_list, tmp_path):
    """A list of five small scans, one of which is none."""
    for number, name in enumerate(CASES):
        write(tmp_path / "scans" / f"{name}.nii.gz", blocks(number, (24, 24, 3)))
    (tmp_path / "scans" / "p2.nii.gz").write_text("no scan")
    rows = [(name, f"scans/{name}.nii.gz", "site/p4" if name == "p4" else "") for name in CASES]
    return write_list(("case", "path", "output"), *rows)


@pytest.fixture
def half_done(cohort, run_list, tmp_path):
    """The folder of outputs after shard 1 of 2."""
    run_list(cohort, tmp_path / "out", shard=Shard(1, 2))
    return tmp_path / "out"


def read(path):
    return json.loads(path.read_text())


def hashes(folder):
    return {path.name: sha256_of([path]) for path in folder.rglob("*.nii.gz")}


def test_shards_give_what_a_plain_run_gives(cohort, half_done, run_list, tmp_path):
    run_list(cohort, half_done, shard=Shard(2, 2))
    run_list(cohort, tmp_path / "plain")
    assert not (half_done / "summary.json").exists()
    merged = merge(half_done)
    assert (merged.missing, merged.shards, merged.failed) == ((), (), ("p2",))
    for name in ("summary.json", "failures.json"):
        assert read(half_done / name) == read(tmp_path / "plain" / name)
    assert hashes(half_done) == hashes(tmp_path / "plain")
    assert len(hashes(half_done)) == 4
    assert (half_done / "itksnap_labels.txt").read_text() == (tmp_path / "plain" / "itksnap_labels.txt").read_text()


def test_a_shard_that_has_not_begun_is_named_and_its_cases_with_the_list(cohort, half_done):
    assert merge(half_done).shards == ("2/2",)
    merged = merge(half_done, cohort)
    assert (merged.missing, merged.shards) == (("p2", "p4"), ())
    assert {case["case"] for case in read(half_done / "summary.json")["cases"]} == {"p1", "p3", "p5"}


def test_a_killed_shard_has_said_which_cases_are_its_own(cohort, run_list, tmp_path):
    def stop(job, done, total):
        if job.case == "p3":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_list(cohort, tmp_path / "out", on_slice=stop, shard=Shard(1, 2))
    merged = merge(tmp_path / "out")
    assert ([case.case for case in merged.cases], merged.missing) == (["p1"], ("p3", "p5"))
    again = run_list(cohort, tmp_path / "out", shard=Shard(1, 2), resume=True)
    assert ([job.case for job in again.skipped], [job.case for job in again.done]) == (["p1"], ["p3", "p5"])
    assert merge(tmp_path / "out").missing == ()


def test_what_one_shard_did_is_skipped_by_a_run_in_other_shards(cohort, half_done, run_list):
    outcomes = [run_list(cohort, half_done, shard=Shard(number, 3), resume=True) for number in (1, 2, 3)]
    assert sorted(job.case for outcome in outcomes for job in outcome.skipped) == ["p1", "p3", "p5"]
    merged = merge(half_done)
    assert (merged.missing, merged.shards) == ((), ())  # all cases, although shard 2 of 2 was never begun
    assert sorted(case.case for case in merged.cases) == list(CASES)


def test_failures_that_are_mended_are_no_longer_listed(cohort, half_done, run_list, write, tmp_path):
    run_list(cohort, half_done, shard=Shard(2, 2))
    merge(half_done)
    assert [row["case"] for row in read(half_done / "failures.json")["failures"]] == ["p2"]
    write(tmp_path / "scans" / "p2.nii.gz", blocks(7, (24, 24, 3)))
    run_list(cohort, half_done, shard=Shard(2, 2), resume=True)
    assert merge(half_done).failed == ()
    assert not (half_done / "failures.json").exists()


def test_a_report_that_is_not_whole_is_missing(half_done):
    (half_done / "p3.json").write_text("{")
    assert merge(half_done).missing == ("p3",)


def test_without_shards_the_cases_are_those_that_were_reported(run, write, tmp_path):
    for name in ("a", "b"):
        run(write(tmp_path / f"{name}.nii.gz"), tmp_path / "out", report=True)
    assert {case.case for case in merge(tmp_path / "out").cases} == {"a", "b"}
    run(tmp_path / "a.nii.gz", tmp_path / "out" / "more", report=True)
    with pytest.raises(errors.UnpairedFiles, match=r"a\.json and more/a\.json are both of the case a"):
        merge(tmp_path / "out")


def test_folders_without_a_run_are_refused(tmp_path):
    write_json(tmp_path / "x.json", {"mine": 1})
    with pytest.raises(errors.NoCases):
        merge(tmp_path)
    with pytest.raises(errors.MissingFile):
        merge(tmp_path / "out")


@pytest.mark.parametrize("name", ["summary.json", "failures.json"])
def test_files_of_other_programs_stay(half_done, name):
    write_json(half_done / name, {"mine": 1})
    with pytest.raises(errors.TargetExists):
        merge(half_done)
    assert read(half_done / name) == {"mine": 1}


# --- what does not belong together ---


def test_shards_of_a_list_that_has_grown_are_refused_by_name(cohort, half_done, run_list, write_list):
    rows = [(name, f"scans/{name}.nii.gz") for name in ("p0", *CASES)]
    longer = write_list(("case", "path"), *rows, name="longer.csv")
    run_list(longer, half_done, shard=Shard(2, 2), resume=True)  # has the very cases that the first had
    with pytest.raises(errors.MixedShards, match=r"1/2 of 5 cases; 2/2 of 6 cases"):
        merge(half_done)
    assert not (half_done / "summary.json").exists()
    assert merge(half_done, longer).missing == ("p0", "p2", "p4")  # the list says which cases there are
    run_list(longer, half_done, shard=Shard(1, 2), resume=True)
    assert merge(half_done).missing == ()


def test_shards_of_a_shorter_list_are_in_nobodys_way_once_all_of_a_longer_one_have_run(half_done, run_list, write_list):
    longer = write_list(
        ("case", "path"), *((name, f"scans/{name}.nii.gz") for name in ("p0", *CASES)), name="longer.csv"
    )
    run_list(longer, half_done, shard=Shard(1, 3), resume=True)
    run_list(longer, half_done, shard=Shard(2, 3), resume=True)
    with pytest.raises(errors.MixedShards):
        merge(half_done)
    run_list(longer, half_done, shard=Shard(3, 3), resume=True)
    merged = merge(half_done)
    assert (merged.missing, merged.shards) == ((), ())
    assert len(read(half_done / "summary.json")["cases"]) == 6


def test_lists_of_one_length_are_different_by_their_names(half_done, run_list, write_list):
    rows = [(name, f"scans/{name}.nii.gz") for name in (*CASES[:4], "p6")]
    run_list(write_list(("case", "path"), *rows, name="other.csv"), half_done, shard=Shard(2, 2))
    with pytest.raises(errors.MixedShards, match="1/2 of 5 cases; 2/2 of 5 cases"):
        merge(half_done)


@pytest.mark.parametrize("numbers", [(1,), (1, 2)])
def test_shards_of_an_older_version_are_named(cohort, half_done, run_list, numbers, caplog):
    run_list(cohort, half_done, shard=Shard(2, 2))
    for number in numbers:
        path = half_done / f"summary.shard-{number}-of-2.json"
        write_json(path, {key: value for key, value in read(path).items() if key != "cohort"})
    assert merge(half_done).missing == ()
    named = ", ".join(f"{number}/2" for number in numbers)
    assert f"an older version wrote these shards without all cases of their source: {named}." in caplog.text
    caplog.clear()
    merge(half_done, cohort)
    assert caplog.text == ""


def changed(path, **changes):
    """Let a CASE.json be that of another model or way to compute."""
    report = read(path)
    for part, values in changes.items():
        report[part] = {**report[part], **values} if isinstance(values, dict) else values
    write_json(path, report)


def test_cases_of_one_model_need_no_list_of_models(cohort, half_done):
    assert [model.cases for model in merge(half_done).models] == [("p1", "p3", "p5")]
    assert "models" not in read(half_done / "summary.json")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model": {"sha256": "0" * 64}}, "SHA-256 000000000000, --engine torch --precision 32"),
        ({"settings": {"engine": "openvino"}}, "--engine openvino --precision 32"),
        ({"settings": {"precision": "bf16"}}, "--engine torch --precision bf16"),
    ],
    ids=["model", "engine", "precision"],
)
def test_cases_of_two_models_are_in_the_summary_which_names_both(half_done, changes, words):
    changed(half_done / "p3.json", **changes)
    merged = merge(half_done)
    assert [model.cases for model in merged.models] == [("p1", "p5"), ("p3",)]
    assert words in str(merged.models[1])
    summary = read(half_done / "summary.json")
    assert [row["cases"] for row in summary["models"]] == [["p1", "p5"], ["p3"]]
    assert {"p1", "p3", "p5"} == {case["case"] for case in summary["cases"]}


def test_older_reports_without_engine_and_precision_are_of_torch_in_float32(half_done):
    old = {
        key: value
        for key, value in read(half_done / "p3.json")["settings"].items()
        if key not in ("engine", "precision")
    }
    write_json(half_done / "p3.json", {**read(half_done / "p3.json"), "settings": old})
    assert len(merge(half_done).models) == 1


def test_a_case_that_a_person_corrected_may_be_of_another_model(half_done):
    changed(half_done / "p3.json", model={"sha256": "0" * 64}, corrected=True)
    assert len(merge(half_done).models) == 1


def test_cases_of_a_run_without_shards_that_no_shard_has_are_named(write, run, run_list, write_list, tmp_path, caplog):
    write(tmp_path / "scans" / "a.nii.gz")
    run(tmp_path / "scans", tmp_path / "out")
    write(tmp_path / "scans" / "b.nii.gz")
    run_list(write_list(("case", "path"), ("b", "scans/b.nii.gz")), tmp_path / "out", shard=Shard(1, 1))
    assert [case.case for case in merge(tmp_path / "out").cases] == ["b"]
    assert "1 cases that it had are no longer in it, as they are of another run: a." in caplog.text
