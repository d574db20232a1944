"""Running a plan: the scan's own grid, bad scans beside good ones, and killed runs."""

import json
import os
import shutil

import nibabel
import numpy as np
import pytest
from nibabel.orientations import axcodes2ornt, inv_ornt_aff, io_orientation, ornt_transform

from sautomed import errors
from sautomed.inference.batch import SegmentOptions, plan_jobs
from sautomed.inference.batch import run as batch
from sautomed.inference.prompts.check import Replay
from sautomed.inference.prompts.document import GivenAbsence
from sautomed.inference.prompts.file import read_prompts, write_prompts
from sautomed.scans import ReadOptions, files
from sautomed.scans.paths import sha256_of

from ...scans.dicom.build import make_series
from ..conftest import blocks, ct_blocks


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def hashes(folder, *endings):
    return {path.name: sha256_of([path]) for path in sorted(folder.iterdir()) if path.name.endswith(endings)}


# --- the scan's own grid ---


def test_labels_have_the_scans_shape_affine_and_header(run, write, tmp_path):
    tilted = np.array([[0.0, -1.9, 0.75, 20], [2.1, 0, 0, -7], [0, 0.3, 4.75, 100], [0, 0, 0, 1]])
    scan = write(tmp_path / "scan.nii.gz", affine=tilted, descrip=b"scanner 7", sform_code=2, qform_code=0)
    run(scan, tmp_path / "labels.nii.gz")
    before, after = nibabel.load(scan), nibabel.load(tmp_path / "labels.nii.gz")
    assert after.shape == before.shape
    assert np.array_equal(after.affine, before.affine)
    assert (after.get_sform(coded=True)[1], after.get_qform(coded=True)[1]) == (2, 0)
    assert after.header["descrip"] == before.header["descrip"]
    assert after.get_data_dtype() == np.uint8
    assert set(np.unique(after.dataobj)) <= {0, 1, 5}
    assert np.any(after.dataobj)


def stored_as(image, codes):
    """The same patient, stored in another axis order and direction."""
    turn = ornt_transform(io_orientation(image.affine), axcodes2ornt(codes))
    turned = image.as_reoriented(turn)
    assert np.allclose(turned.affine, image.affine @ inv_ornt_aff(turn, image.shape))
    return turned


@pytest.mark.parametrize("codes", ["LAS", "LPS", "RAI", "PIR", "SLA", "AIL"])
def test_labels_are_at_the_same_place_however_a_scan_is_stored(run, write, tmp_path, codes):
    scan = write(tmp_path / "ras.nii.gz")
    turned = stored_as(nibabel.load(scan), codes)
    nibabel.save(turned, tmp_path / "turned.nii.gz")
    for name in ("ras", "turned"):
        run(tmp_path / f"{name}.nii.gz", tmp_path / f"{name}_labels.nii.gz")
    plain, found = (nibabel.load(tmp_path / f"{name}_labels.nii.gz") for name in ("ras", "turned"))
    assert nibabel.aff2axcodes(found.affine) == tuple(codes)
    assert found.shape == turned.shape
    assert np.array_equal(found.affine, turned.affine)
    back = stored_as(found, "RAS")
    assert np.allclose(back.affine, plain.affine)
    assert np.array_equal(np.asarray(back.dataobj), np.asarray(plain.dataobj))
    assert len(np.unique(plain.dataobj)) > 1


@pytest.mark.parametrize("depth", [1, 2])
def test_one_and_two_slices_work(run, write, tmp_path, depth):
    image = np.random.default_rng(0).normal(100, 20, (40, 32, depth)).astype(np.float32)
    run(write(tmp_path / "thin.nii.gz", image), tmp_path / "out.nii.gz", preview=True)
    assert nibabel.load(tmp_path / "out.nii.gz").shape == (40, 32, depth)
    assert (tmp_path / "out.png").stat().st_size


@pytest.mark.parametrize("preview", [True, False])
def test_a_picture_lies_beside_the_labels_unless_told_not_to(run, write, tmp_path, preview):
    run(write(tmp_path / "a.nii.gz"), tmp_path / "out" / "a.nii.gz", preview=preview)
    picture = tmp_path / "out" / "a.png"
    assert picture.exists() == preview
    assert not preview or picture.read_bytes().startswith(b"\x89PNG")


def test_several_formats_hold_the_same_labels(run, write, tmp_path):
    run(write(tmp_path / "a.nii.gz"), tmp_path / "out", formats=("nii", "nii.gz"))
    first, second = (np.asarray(nibabel.load(tmp_path / "out" / f"a.{e}").dataobj) for e in ("nii", "nii.gz"))
    assert np.array_equal(first, second)
    assert first.any()


def test_dicom_output_of_another_scan_is_refused_before_the_work(run, write, tmp_path):
    from sautomed.scans.formats import LABEL_ENDINGS

    if ".seg.dcm" not in LABEL_ENDINGS:
        pytest.skip("DICOM is not written yet")
    outcome = run(write(tmp_path / "a.nii.gz"), tmp_path / "a.seg.dcm")
    assert isinstance(outcome.failures[0].error, errors.NoDicomSource)
    assert "--format" in str(outcome.failures[0].error)
    assert names(tmp_path) == ["a.nii.gz"]


@pytest.mark.parametrize("ending", ["seg.dcm", "labelmap.dcm", "rtstruct.dcm"])
@pytest.mark.parametrize("keyword", ["SOPInstanceUID", "FrameOfReferenceUID"])
def test_dicom_output_that_could_not_name_its_images_is_refused_before_the_work(run, tmp_path, ending, keyword):
    def edit(index, dataset):
        setattr(dataset, keyword, "1.2.3" if keyword == "SOPInstanceUID" else f"1.2.{index}")

    folder = make_series(tmp_path / "ct", (4, 20, 16), edit=edit, Modality="MR").path
    sliced = []
    outcome = run(folder, tmp_path / f"a.{ending}", on_slice=lambda *_: sliced.append(1))
    error = outcome.failures[0].error
    assert isinstance(error, errors.NoDicomSource)
    assert keyword in str(error)
    assert "Give another --format, such as nii.gz" in error.cure
    assert (sliced, names(tmp_path)) == ([], ["ct"])
    assert not run(folder, tmp_path / "a.nii.gz").failures  # the cure works


def test_dicom_output_of_a_resampled_series_is_refused_before_the_work(run, tmp_path):
    folder = make_series(tmp_path / "ct", (4, 20, 16), offsets_mm=[0, 2.5, 5, 10], Modality="MR").path
    sliced = []
    reading = ReadOptions(resample=True)
    outcome = run(folder, tmp_path / "a.seg.dcm", on_slice=lambda *_: sliced.append(1), reading=reading)
    assert "resampled" in str(outcome.failures[0].error)
    assert (sliced, names(tmp_path)) == ([], ["ct"])


# --- many scans ---


@pytest.fixture
def mixed(write, tmp_path):
    """Two scans, and a file that is none between them."""
    for name in ("a", "c"):
        write(tmp_path / "in" / f"{name}.nii.gz")
    (tmp_path / "in" / "b.nii.gz").write_text("no scan")
    return tmp_path / "in"


def test_a_folder_continues_past_a_bad_scan_and_says_why(run, mixed, tmp_path):
    seen = []
    outcome = run(mixed, tmp_path / "out", lambda job, done, total: seen.append((job.scan.name, done, total)))
    assert [failure.job.case for failure in outcome.failures] == ["b"]
    assert [job.case for job in outcome.done] == ["a", "c"]
    assert seen == [(f"{name}.nii.gz", done, 6) for name in "ac" for done in range(1, 7)]
    assert {"a.nii.gz", "a.json", "b.json", "c.nii.gz", "c.json", "failures.json"} <= set(names(tmp_path / "out"))
    listed = json.loads((tmp_path / "out" / "failures.json").read_text())
    assert (listed["cases"], len(listed["failures"])) == (3, 1)
    row = listed["failures"][0]
    assert (row["case"], row["id"], row["exit_code"]) == ("b", "SAM-E0302", 3)
    assert row["message"]
    assert row["cure"]


def test_the_list_of_failures_goes_when_all_went_well(run, mixed, write, tmp_path):
    run(mixed, tmp_path / "out")
    write(mixed / "b.nii.gz")
    outcome = run(mixed, tmp_path / "out", resume=True)
    assert [job.case for job in outcome.done] == ["b"]
    assert [job.case for job in outcome.skipped] == ["a", "c"]
    assert not (tmp_path / "out" / "failures.json").exists()


def test_a_case_whose_place_fails_does_not_end_the_run(run, write, tmp_path, monkeypatch):
    """The disk is full for one case: nothing of it is left half-written."""
    for name in "ab":
        write(tmp_path / "in" / f"{name}.nii.gz")
    flush = files._flush

    def full(path):
        if path.name.endswith(".a.nii.gz"):
            raise OSError(28, "No space left on device")
        flush(path)

    monkeypatch.setattr(files, "_flush", full)
    outcome = run(tmp_path / "in", tmp_path / "out")
    assert [(f.job.case, f.error.id) for f in outcome.failures] == [("a", errors.UnwritableTarget.id)]
    assert "No space left" in str(outcome.failures[0].error)
    written = names(tmp_path / "out")
    assert "a.nii.gz" not in written
    assert not any(name.startswith(".") for name in written)
    assert "b.nii.gz" in written


def test_a_disk_that_is_full_even_for_the_report_is_reported(model, write, tmp_path, monkeypatch):
    write(tmp_path / "in" / "a.nii.gz")

    def full(path):
        raise OSError(28, "No space left on device")

    scan, out = tmp_path / "in" / "a.nii.gz", tmp_path / "out" / "a.nii.gz"
    plan = batch.Plan((batch.Job("a", scan, (out,), None, out.with_name("a.json")),))
    monkeypatch.setattr(files, "_flush", full)
    outcome = batch.run_plan(model, plan)
    assert outcome.failures[0].error.id == errors.UnwritableTarget.id
    assert names(tmp_path / "out") == []


@pytest.mark.parametrize("ending", ["nii", "nii.gz", "nrrd", "seg.nrrd", "mha"])
def test_a_file_that_the_system_cuts_short_is_taken_away(run, write, tmp_path, ending):
    """As by a full disk or a quota, in the middle of a write."""
    from sautomed.scans.formats import LABEL_ENDINGS

    if f".{ending}" not in LABEL_ENDINGS:
        pytest.skip(f"{ending} is not written yet")
    resource = pytest.importorskip("resource")  # not on Windows
    image = np.random.default_rng(0).normal(100, 20, (96, 96, 6)).astype(np.float32)
    scan = write(tmp_path / "a.nii", image)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (600, limits[1]))
    try:
        outcome = run(scan, tmp_path / "out" / f"a.{ending}")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [failure.error.id for failure in outcome.failures] == [errors.UnwritableTarget.id]
    assert names(tmp_path / "out") == []


def test_too_little_space_is_found_before_the_work(run, write, tmp_path, monkeypatch):
    usage = shutil._ntuple_diskusage(10**9, 10**9, 1_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(errors.UnwritableTarget, match=r"1 MB of free space, but the outputs may take 2 MB.*-o"):
        run(write(tmp_path / "a.nii.gz"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_intensities_unlike_those_of_the_training_are_in_the_log_and_the_report(run, mr_model, write, tmp_path, caplog):
    write(tmp_path / "in" / "mr.nii.gz")
    ct = write(tmp_path / "in" / "ct.nii.gz", ct_blocks())
    outcome = run(tmp_path / "in", tmp_path / "out", model=mr_model)
    reports = {name: json.loads((tmp_path / "out" / f"{name}.json").read_text()) for name in ("mr", "ct")}
    (warning,) = reports["ct"]["warnings"]
    assert warning.startswith(f"{ct}: the intensities are unlike")
    assert reports["mr"]["warnings"] == []
    assert [record.message for record in caplog.records] == [warning]  # once
    assert len(outcome.done) == 2


def test_a_bug_is_not_mistaken_for_a_bad_case(run, model, write, tmp_path, monkeypatch):
    def broken(*_):
        raise RuntimeError("shapes do not fit")

    monkeypatch.setattr(model.network, "share", broken)
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        run(write(tmp_path / "a.nii.gz"), tmp_path / "out.nii.gz")


def test_memory_that_runs_out_while_reading_is_a_fault_of_the_case(run, model, write, tmp_path, monkeypatch):
    def full(*_):
        raise MemoryError

    monkeypatch.setattr(type(model), "read", full)
    outcome = run(write(tmp_path / "large.nii.gz"), tmp_path / "out.nii.gz")
    assert isinstance(outcome.failures[0].error, errors.MemoryShortage)
    assert "large.nii.gz" in str(outcome.failures[0].error)


def test_a_limit_that_is_too_low_refuses_the_scan_before_it_is_read(run, model, write, tmp_path, monkeypatch):
    monkeypatch.setattr(type(model), "read", None)
    outcome = run(write(tmp_path / "a.nii.gz"), tmp_path / "out.nii.gz", max_ram_gb=0.1)
    error = outcome.failures[0].error
    assert (error.id, error.exit_code) == ("SAM-E0501", 5)
    assert "--max-ram allows 0.10 GB" in str(error)
    assert not (tmp_path / "out.nii.gz").exists()


# --- killed and resumed ---


def test_a_killed_run_is_completed_and_equals_one_that_was_not(run, write, tmp_path, monkeypatch):
    """Killed between label map and report of the second case: the state that looks most like done."""
    for number, name in enumerate("abc"):
        image = np.random.default_rng(number).normal(100, 20, (40, 32, 4)).astype(np.float32)
        write(tmp_path / "in" / f"{name}.nii.gz", image)
    run(tmp_path / "in", tmp_path / "whole")
    written = batch.write_json

    def killed(path, report):
        if path.name == "b.json":
            raise KeyboardInterrupt
        written(path, report)

    monkeypatch.setattr(batch, "write_json", killed)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "in", tmp_path / "out")
    monkeypatch.setattr(batch, "write_json", written)
    assert {"a.json", "b.nii.gz"} <= set(names(tmp_path / "out"))
    assert "b.json" not in names(tmp_path / "out")
    outcome = run(tmp_path / "in", tmp_path / "out", resume=True)
    assert ([job.case for job in outcome.skipped], [job.case for job in outcome.done]) == (["a"], ["b", "c"])
    assert hashes(tmp_path / "out", ".nii.gz") == hashes(tmp_path / "whole", ".nii.gz")


def test_resuming_does_again_what_was_changed(run, write, tmp_path, caplog):
    for name in "abcd":
        write(tmp_path / "in" / f"{name}.nii.gz")
    out = tmp_path / "out"
    run(tmp_path / "in", out)
    before = hashes(out, ".nii.gz")
    (out / "a.nii.gz").write_bytes(b"torn")
    (out / "b.nii.gz").unlink()
    image = np.random.default_rng(7).normal(100, 20, (40, 32, 6)).astype(np.float32)
    write(tmp_path / "in" / "c.nii.gz", image)
    outcome = run(tmp_path / "in", out, resume=True)
    assert ([job.case for job in outcome.done], [job.case for job in outcome.skipped]) == (["a", "b", "c"], ["d"])
    after = hashes(out, ".nii.gz")
    assert {name for name in before if before[name] != after[name]} == {"c.nii.gz"}
    assert "a.nii.gz has changed since it was written" in caplog.text


def test_a_scan_that_cannot_be_read_any_more_leaves_the_mark_of_its_results(run, write, tmp_path):
    """A drive that is not there today must not make finished cases, and a person's corrections, be done again."""
    for name in "ab":
        write(tmp_path / "in" / f"{name}.nii.gz")
    run(tmp_path / "in", tmp_path / "out")
    scan, report = tmp_path / "in" / "a.nii.gz", (tmp_path / "out" / "a.json")
    whole, mark = scan.read_bytes(), report.read_bytes()
    scan.write_bytes(whole[:200])
    outcome = run(tmp_path / "in", tmp_path / "out", resume=True)
    assert [failure.job.case for failure in outcome.failures] == ["a"]
    assert json.loads((tmp_path / "out" / "failures.json").read_text())["failures"][0]["case"] == "a"
    assert report.read_bytes() == mark
    scan.write_bytes(whole)
    assert [job.case for job in run(tmp_path / "in", tmp_path / "out", resume=True).skipped] == ["a", "b"]


def test_other_settings_are_segmented_again(run, model, write, tmp_path):
    from sautomed.inference.model import with_walk

    write(tmp_path / "in" / "a.nii.gz")
    run(tmp_path / "in", tmp_path / "out")
    assert run(tmp_path / "in", tmp_path / "out", resume=True).skipped
    other = with_walk(model, "end_to_end")
    assert run(tmp_path / "in", tmp_path / "out", resume=True, model=other).done


def test_what_a_killed_run_left_is_swept(run, write, tmp_path):
    write(tmp_path / "in" / "a.nii.gz")
    leftover = tmp_path / "out" / f".{files._machine()}-{2**22 + 1:x}-01234567.a.nii.gz"
    leftover.parent.mkdir()
    leftover.write_bytes(b"half")
    run(tmp_path / "in", tmp_path / "out", resume=True)
    assert not [name for name in names(tmp_path / "out") if name.startswith(".")]


def test_progress_reaches_its_end_although_cases_are_done(run, write, tmp_path):
    write(tmp_path / "in" / "a.nii.gz")
    run(tmp_path / "in", tmp_path / "out")
    seen = []
    run(tmp_path / "in", tmp_path / "out", lambda job, done, total: seen.append((job.case, done, total)), resume=True)
    assert seen == [("a", 1, 1)]


def test_a_report_is_written_after_the_files_it_lists(run, write, tmp_path, monkeypatch):
    order = []
    replace = os.replace
    monkeypatch.setattr(type(tmp_path), "replace", lambda self, to: (order.append(to.name), replace(self, to))[1])
    run(write(tmp_path / "a.nii.gz"), tmp_path / "out", report=True, preview=True, formats=("nii", "nii.gz"))
    assert [name for name in order if name.startswith("a.")] == [
        "a.nii",
        "a.nii.gz",
        "a.prompts.json",
        "a.png",
        "a.json",
    ]


# --- prompts ---


def test_prompts_lie_beside_every_mask_and_are_the_same_again(run, write, tmp_path):
    for name in "ab":
        write(tmp_path / "in" / f"{name}.nii.gz", blocks(ord(name)))
    for out in ("out", "again"):
        run(tmp_path / "in", tmp_path / out)
    assert {"a.prompts.json", "b.prompts.json"} <= set(names(tmp_path / "out"))
    found = hashes(tmp_path / "out", ".prompts.json")
    assert hashes(tmp_path / "again", ".prompts.json") == found
    assert found["a.prompts.json"] != found["b.prompts.json"]
    document = read_prompts(tmp_path / "out" / "a.prompts.json")
    assert (document.scan.name, document.scan.sha256) == ("a.nii.gz", sha256_of([tmp_path / "in" / "a.nii.gz"]))
    report = json.loads((tmp_path / "out" / "a.json").read_text())
    assert report["settings"]["prompts"] is None
    assert "a.prompts.json" in [row["path"] for row in report["outputs"]]


def test_a_system_without_prompts_writes_none(run, model, write, tmp_path, monkeypatch):
    monkeypatch.setattr(model.network, "makes_prompts", False)
    scan = write(tmp_path / "a.nii.gz")
    run(scan, tmp_path / "out", report=True)
    assert names(tmp_path / "out") == ["a.json", "a.nii.gz", "itksnap_labels.txt"]
    assert len(run(scan, tmp_path / "out", resume=True).skipped) == 1


def test_a_case_without_its_prompts_is_not_done(run, write, tmp_path):
    scan = write(tmp_path / "a.nii.gz")
    run(scan, tmp_path / "out", report=True)
    assert len(run(scan, tmp_path / "out", resume=True).skipped) == 1
    (tmp_path / "out" / "a.prompts.json").unlink()
    assert len(run(scan, tmp_path / "out", resume=True).done) == 1
    assert (tmp_path / "out" / "a.prompts.json").exists()


def test_prompts_of_an_earlier_result_are_replayed_and_written_again(run, model, write, tmp_path):
    scan = write(tmp_path / "a.nii.gz")
    run(scan, tmp_path / "first" / "a.nii.gz", report=True)
    document = read_prompts(tmp_path / "first" / "a.prompts.json")
    edited = document.with_edits({(4, "dark"): GivenAbsence()}, (), ())
    write_prompts(tmp_path / "edited.json", edited)
    replay = Replay(tmp_path / "edited.json", edited)
    plan = plan_jobs(scan, tmp_path / "out" / "a.nii.gz", SegmentOptions(preview=False, report=True, replay=replay))
    batch.run_plan(model, plan)
    again = read_prompts(tmp_path / "out" / "a.prompts.json")
    assert again.given() == edited.given()
    assert again.slices[3] == document.slices[3]
    report = json.loads((tmp_path / "out" / "a.json").read_text())
    assert report["settings"]["prompts"] == sha256_of([tmp_path / "edited.json"])
    before = json.loads((tmp_path / "first" / "a.json").read_text())
    needs = [found["memory"]["predicted_bytes"] for found in (before, report)]
    assert needs[1] > needs[0] + 2**27, "what corrections need is predicted too"
