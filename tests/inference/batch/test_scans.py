"""Which scans are found at a path."""

import json
import zipfile
from pathlib import Path

import pytest

from sautomed import errors
from sautomed.cli.convert import convert_file
from sautomed.inference.batch.scans import find_scans, name_of, scan_files


def cases(source, output=None):
    return [(scan.case, scan.path.name) for scan in find_scans(source, output).scans]


@pytest.mark.parametrize(
    ("name", "case"),
    [("a.nii.gz", "a"), ("a_0000.nii", "a"), ("a_0001.nii.gz", "a_0001"), ("a.nrrd", "a"), ("a.mha", "a"),
     ("a.b.mhd", "a.b"), ("a.zip", "a"), ("a.dcm", "a"), ("a_0000.nrrd", "a")],
)  # fmt: skip
def test_the_name_of_a_case(name, case):
    assert name_of(Path("x") / name) == case


def test_a_folders_case_is_called_as_the_folder(tmp_path, monkeypatch):
    (tmp_path / "patient.7").mkdir()
    assert name_of(tmp_path / "patient.7") == "patient.7"
    monkeypatch.chdir(tmp_path / "patient.7")
    assert name_of(Path()) == "patient.7"


def test_files_are_known_by_their_content_and_by_their_names(write, tmp_path):
    write(tmp_path / "b_0000.nii.gz")
    write(tmp_path / "real.nii").rename(tmp_path / "odd.name")
    (tmp_path / "damaged.nii.gz").write_text("no scan, but called so")
    (tmp_path / "h.mhd").write_text("NDims = 3\nElementDataFile = h.raw\n")
    for name in ("h.raw", "notes.txt", ".hidden.nii.gz", "a.json", "a.png"):
        (tmp_path / name).write_bytes(b"\0" * 500)
    assert cases(tmp_path) == [
        ("b", "b_0000.nii.gz"), ("damaged", "damaged.nii.gz"), ("h", "h.mhd"), ("odd.name", "odd.name")
    ]  # fmt: skip
    assert find_scans(tmp_path).several


def test_a_file_is_one_scan(write, tmp_path):
    found = find_scans(write(tmp_path / "a.nii.gz"))
    assert (found.several, [scan.case for scan in found.scans]) == (False, ["a"])


def test_dicom_files_of_one_study_are_one_scan(dicom_file, tmp_path):
    for name in ("s1/1", "s1/2", "s2/deep/1.dcm"):
        dicom_file(tmp_path / "study" / name)
    (tmp_path / "study" / "notes.txt").write_text("x")
    found = find_scans(tmp_path / "study")
    assert (found.several, cases(tmp_path / "study")) == (False, [("study", "study")])


def test_of_several_studies_each_folder_is_a_case(dicom_file, write, tmp_path):
    dicom_file(tmp_path / "p1" / "series" / "1", study="1.1")
    dicom_file(tmp_path / "p2" / "1", study="1.2")
    (tmp_path / "empty").mkdir()
    write(tmp_path / "q.nii.gz")
    assert cases(tmp_path) == [("p1", "p1"), ("p2", "p2"), ("q", "q.nii.gz")]


def test_one_study_beside_other_scans_is_one_case_of_several(dicom_file, write, tmp_path):
    dicom_file(tmp_path / "ct" / "1")
    write(tmp_path / "q.nii.gz")
    found = find_scans(tmp_path)
    assert (found.several, cases(tmp_path)) == (True, [("ct", "ct"), ("q", "q.nii.gz")])


def test_dicom_files_in_the_folder_itself_are_its_own_scan(dicom_file, tmp_path):
    dicom_file(tmp_path / "a" / "1", study="1.1")
    dicom_file(tmp_path / "a" / "2", study="1.2")
    assert cases(tmp_path / "a") == [("a", "a")]


def test_the_index_of_a_disc_is_no_image(dicom_file, tmp_path):
    dicom_file(tmp_path / "DICOMDIR", study="9")
    dicom_file(tmp_path / "p1" / "1", study="1.1")
    dicom_file(tmp_path / "p2" / "1", study="1.2")
    assert cases(tmp_path) == [("p1", "p1"), ("p2", "p2")]


def test_earlier_results_within_the_input_are_no_input(dicom_file, tmp_path):
    dicom_file(tmp_path / "p1" / "1", study="1.1")
    dicom_file(tmp_path / "p2" / "1", study="1.2")
    dicom_file(tmp_path / "out" / "p1.seg.dcm", study="1.1")
    assert cases(tmp_path, tmp_path / "out") == [("p1", "p1"), ("p2", "p2")]


def test_nothing_to_segment(tmp_path):
    with pytest.raises(errors.MissingFile, match=r"nowhere.*does not exist"):
        find_scans(tmp_path / "nowhere")
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(errors.NoCases, match=r"holds no scan\. Looked for were NIfTI.*DICOM files") as caught:
        find_scans(tmp_path)
    assert caught.value.exit_code == 3


def test_the_files_of_a_scan(dicom_file, write, tmp_path):
    assert scan_files(write(tmp_path / "a.nii.gz")) == [tmp_path / "a.nii.gz"]
    (tmp_path / "h.mhd").write_text("NDims = 3\nElementDataFile = h.raw\n")
    (tmp_path / "h.raw").write_bytes(b"voxels")
    assert scan_files(tmp_path / "h.mhd") == [tmp_path / "h.mhd", tmp_path / "h.raw"]
    slices = [dicom_file(tmp_path / "ct" / name) for name in ("1", "deep/2")]
    result = dicom_file(tmp_path / "ct" / "ct.seg.dcm")
    assert set(scan_files(tmp_path / "ct")) == {*slices, result}
    assert scan_files(tmp_path / "ct", frozenset({result.resolve()})) == slices


def test_a_zip_is_a_scan_of_its_own(dicom_file, write, tmp_path):
    write(tmp_path / "a.nii.gz")
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        archive.write(dicom_file(tmp_path / ".x" / "1"), "1")
    assert cases(tmp_path) == [("a", "a.nii.gz"), ("b", "b.zip")]


# --- scan files in the folders below ----------------------------------------------------------------------------------


def test_scan_files_in_folders_are_named_by_folder(write, tmp_path):
    """As in TotalSegmentator, KiTS and BIDS."""
    write(tmp_path / "s1" / "ct.nii.gz")
    write(tmp_path / "s2" / "deep" / "ct.nii.gz")
    write(tmp_path / "sub" / "anat" / "t1.nii.gz")
    write(tmp_path / "sub" / "anat" / "t2_0000.nii.gz")
    assert cases(tmp_path) == [
        ("s1", "ct.nii.gz"), ("s2", "ct.nii.gz"), ("sub_anat_t1", "t1.nii.gz"), ("sub_anat_t2", "t2_0000.nii.gz")
    ]  # fmt: skip
    assert find_scans(tmp_path).several


@pytest.mark.parametrize("ending", [".nii", ".nrrd", ".mha"])
def test_scan_files_of_every_format_are_found_beside_others(write, dicom_file, tmp_path, ending):
    convert_file(write(tmp_path / "top.nii.gz"), tmp_path / "s1" / f"ct{ending}")
    dicom_file(tmp_path / "s2" / "1")
    (tmp_path / "s3").mkdir()
    (tmp_path / "s3" / "damaged.nii.gz").write_text("no scan, but called so")
    (tmp_path / "s3" / "notes.txt").write_text("x")
    assert cases(tmp_path) == [
        ("s1", f"ct{ending}"), ("s2", "s2"), ("s3", "damaged.nii.gz"), ("top", "top.nii.gz")
    ]  # fmt: skip


def test_names_by_folder_do_not_clash_with_other_cases(write, dicom_file, tmp_path):
    for name in ("s1.nii.gz", "s1/ct.nii.gz", "s2/ct.nii.gz"):
        write(tmp_path / name)
    dicom_file(tmp_path / "s2" / "dicom" / "1")
    assert cases(tmp_path) == [("s1", "s1.nii.gz"), ("s1_ct", "ct.nii.gz"), ("s2", "s2"), ("s2_ct", "ct.nii.gz")]


def test_label_maps_in_folders_are_reported_and_no_scans(write, run, tmp_path, caplog):
    write(tmp_path / "s1" / "ct.nii.gz")
    write(tmp_path / "s1" / "organs.nii.gz", intent_code=1002)
    (tmp_path / "s1" / "Segmentation.seg.nrrd").write_text("NRRD0004\n")
    run(tmp_path / "s1" / "ct.nii.gz", tmp_path / "earlier" / "masks", formats=("nii.gz", "mha"), report=True)
    with caplog.at_level("INFO"):
        assert cases(tmp_path) == [("s1", "ct.nii.gz")]
    assert "4 label maps are not segmented: earlier/masks/ct.mha" in caplog.text


def test_results_beside_their_scans_are_no_scans_in_later_runs(write, run, tmp_path):
    """Of another format, so that they do not replace the scans; also DICOM, which would be a scan's slice."""
    write(tmp_path / "a.nii.gz")
    run(tmp_path, tmp_path, formats=("nrrd",))
    write(tmp_path / "b.nii.gz")
    assert [job.case for job in run(tmp_path, tmp_path, formats=("nrrd",), resume=True).done] == ["b"]
    report = json.loads((tmp_path / "a.json").read_text())
    (tmp_path / "a.json").write_text(json.dumps({**report, "outputs": [{"path": "a.nrrd"}, {"path": "a.seg.dcm"}]}))
    (tmp_path / "a.seg.dcm").write_bytes(bytes(128) + b"DICM")
    assert cases(tmp_path) == [("a", "a.nii.gz"), ("b", "b.nii.gz")]


@pytest.mark.parametrize("folder", ["labelsTr", "Segmentations"])
def test_folders_of_label_maps_hold_no_scans(write, tmp_path, caplog, folder):
    write(tmp_path / "imagesTr" / "a_0000.nii.gz")
    write(tmp_path / folder / "a.nii.gz")
    with caplog.at_level("INFO"):
        assert cases(tmp_path) == [("imagesTr", "a_0000.nii.gz")]
    assert f"1 label maps are not segmented: {folder}/a.nii.gz" in caplog.text


def test_scans_below_a_dicom_series_are_left_out_with_a_word(write, dicom_file, tmp_path, caplog):
    dicom_file(tmp_path / "ct" / "1")
    write(tmp_path / "ct" / "more" / "pet.nii.gz")
    assert cases(tmp_path / "ct") == [("ct", "ct")]
    assert "left out (1): more/pet.nii.gz" in caplog.text


# --- what may not be read: each a case that fails, never left out ---------------------------------------------------


def failed(outcome):
    return [(failure.job.case, failure.error.id) for failure in outcome.failures]


def test_a_folder_that_may_not_be_read_is_a_case_that_fails_and_the_others_are_done(write, run, tmp_path, closed):
    for name in ("p1", "p2", "p3"):
        write(tmp_path / "in" / name / "ct.nii.gz")
    closed.add(tmp_path / "in" / "p2")
    outcome = run(tmp_path / "in", tmp_path / "out")
    assert [job.case for job in outcome.done] == ["p1", "p3"]
    assert failed(outcome) == [("p2", errors.MissingFile.id)]
    assert "p2: may not be read: permission denied" in str(outcome.failures[0].error)
    assert json.loads((tmp_path / "out" / "p2.json").read_text())["status"] == "failed"
    closed.clear()
    assert [job.case for job in run(tmp_path / "in", tmp_path / "out", resume=True).done] == ["p2"]


def test_dicom_that_may_not_be_read_keeps_the_case_that_it_has(dicom_file, tmp_path, closed):
    for number in (1, 2, 3):
        dicom_file(tmp_path / f"p{number}" / "series" / "IM1", study=f"1.{number}")
        dicom_file(tmp_path / f"q{number}" / "1.dcm", study=f"2.{number}")
        (tmp_path / f"q{number}" / "notes.txt").touch()
    before = cases(tmp_path)
    assert len(before) == 6
    closed |= {tmp_path / "p1" / "series", tmp_path / "p2" / "series" / "IM1", tmp_path / "q2" / "1.dcm"}
    assert cases(tmp_path) == before
    assert cases(tmp_path / "p1") == [("p1", "p1")]
    assert not find_scans(tmp_path / "p1").several


def test_other_files_that_may_not_be_read_are_no_scans(write, tmp_path, closed):
    write(tmp_path / "in" / "s1" / "ct.nii.gz")
    others = [tmp_path / "in" / name for name in ("README", "s1/README", "lost+found/x")]
    others[-1].parent.mkdir()
    for path in others:
        path.touch()
    closed |= {*others, others[-1].parent}
    assert cases(tmp_path / "in") == [("s1", "ct.nii.gz")]


def test_links_to_what_may_not_be_read_are_cases(write, tmp_path, closed):
    for name in ("a.nii.gz", "s1/ct.nii.gz", "s1/pet.nii.gz"):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(write(tmp_path / "away" / path.name))
    before = cases(tmp_path / "in")
    closed.add(tmp_path / "away")
    assert cases(tmp_path / "in") == before
    assert [case for case, _ in before] == ["a", "s1_ct", "s1_pet"]


def test_a_folder_of_scans_that_may_not_be_read_is_refused(write, tmp_path, closed):
    write(tmp_path / "in" / "a.nii.gz")
    closed.add(tmp_path / "in")
    for look in (find_scans, scan_files):
        with pytest.raises(errors.MissingFile, match="in: may not be read: permission denied"):
            look(tmp_path / "in")


def test_a_row_of_a_list_that_may_not_be_read_fails_and_the_others_are_done(
    write, write_list, run_list, tmp_path, closed
):
    for name in ("a", "b", "c"):
        write(tmp_path / "in" / name / "ct.nii.gz")
    rows = [(name, f"in/{name}/ct.nii.gz") for name in ("a", "b", "c")]
    closed.add(tmp_path / "in" / "b")
    outcome = run_list(write_list(("case", "path"), *rows), tmp_path / "out")
    assert [job.case for job in outcome.done] == ["a", "c"]
    assert failed(outcome) == [("b", errors.MissingFile.id)]
    assert json.loads((tmp_path / "out" / "b.json").read_text())["status"] == "failed"


def test_a_broken_link_in_a_folder_is_a_case_that_fails(write, tmp_path):
    write(tmp_path / "s1" / "ct.nii.gz")
    (tmp_path / "s2").mkdir()
    (tmp_path / "s2" / "ct.nii.gz").symlink_to(tmp_path / "not_fetched.nii.gz")
    (tmp_path / "s3").mkdir()
    (tmp_path / "s3" / "ct.nii.gz").symlink_to(tmp_path / "s3" / "ct.nii.gz")
    assert cases(tmp_path) == [("s1", "ct.nii.gz"), ("s2", "ct.nii.gz"), ("s3", "ct.nii.gz")]
