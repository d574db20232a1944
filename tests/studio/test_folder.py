"""Which scans may be opened, and where results go."""

import hashlib
import json
import os
import sys

import pytest

from sautomed.errors import MissingFile, TargetExists, UnknownFormat, UsageError
from sautomed.studio.folder import ScanFolder

from ..conftest import make_case, write_scan


@pytest.fixture
def folder(scans, tmp_path):
    return ScanFolder(scans, tmp_path / "out")


def test_a_single_scan_is_a_list_of_one(scans, tmp_path):
    found = ScanFolder(scans / "block_0.nii.gz", tmp_path / "out")
    assert list(found.scans) == ["block_0"]
    assert found.path_of("block_0") == scans / "block_0.nii.gz"


def test_a_link_out_of_the_folder_is_listed_with_the_reason_and_not_opened(scans, tmp_path):
    secret = write_scan(tmp_path / "elsewhere" / "secret.nii.gz", make_case(7)[0])
    (scans / "link.nii.gz").symlink_to(secret)
    found = ScanFolder(scans, tmp_path / "out")
    assert "outside" in found.scans["link"].refusal
    with pytest.raises(MissingFile, match=f"Start with -i {secret.parent}"):
        found.path_of("link")
    assert ScanFolder(secret.parent, tmp_path / "out").path_of("secret") == secret  # the cure


def test_a_scan_that_becomes_a_link_later_is_not_opened(folder, scans, tmp_path):
    secret = write_scan(tmp_path / "elsewhere" / "secret.nii.gz", make_case(7)[0])
    (scans / "block_0.nii.gz").unlink()
    (scans / "block_0.nii.gz").symlink_to(secret)
    with pytest.raises(MissingFile):
        folder.path_of("block_0")


def test_a_link_within_the_folder_is_opened(scans, tmp_path):
    (scans / "link.nii.gz").symlink_to(scans / "block_0.nii.gz")
    assert ScanFolder(scans, tmp_path / "out").path_of("link") == scans / "link.nii.gz"


def test_a_scan_that_is_given_itself_may_be_a_link(scans, tmp_path):
    link = tmp_path / "link.nii.gz"
    link.symlink_to(scans / "block_0.nii.gz")
    assert ScanFolder(link, tmp_path / "out").path_of("link") == link


@pytest.mark.parametrize(
    "ending", ["", ".txt", "/../../x.nii.gz", ".nii.gz/../../evil.nii.gz", "../x.nrrd", "\x00.nrrd"]
)
def test_a_file_is_saved_in_the_folder_of_results_and_in_a_known_format(folder, ending):
    try:
        target = folder.target_of("block_0", ending, replace=False)
    except UnknownFormat:
        return
    assert target.parent == folder.output
    assert target.name in ("block_0.nii.gz", "block_0.nrrd")


def test_a_file_of_somebody_else_is_replaced_only_if_asked_to(folder):
    folder.output.mkdir()
    (folder.output / "block_0.nii.gz").write_text("precious")
    with pytest.raises(TargetExists):
        folder.target_of("block_0", ".nii.gz", replace=False)
    target = folder.target_of("block_0", ".nii.gz", replace=True)
    folder.remember_saved("block_0", target)
    assert folder.target_of("block_0", ".nii.gz", replace=False) == target


def test_what_is_done_and_saved_is_remembered(folder, scans):
    folder.mark("block_1", done=True)
    folder.remember_saved("block_0", folder.output / "block_0.nii.gz")
    again = ScanFolder(scans, folder.output)
    assert (again.notes.done, again.notes.saved) == (["block_1"], ["block_0.nii.gz"])
    again.mark("block_1", done=False)
    assert ScanFolder(scans, folder.output).notes.done == []


def test_resume_keeps_what_was_saved(folder):
    """The hash in CASE.json is that of the file which a person saved."""
    outputs = [{"path": "block_0.nii.gz", "bytes": 9, "sha256": "of the automatic mask"}, {"path": "block_0.png"}]
    report(folder.output, "block_0", outputs=outputs, qc="ok")
    target = folder.output / "block_0.nii.gz"
    target.write_bytes(b"corrected")
    folder.remember_saved("block_0", target)
    found = json.loads((folder.output / "block_0.json").read_text())
    assert found["outputs"][0]["sha256"] == hashlib.sha256(b"corrected").hexdigest()
    assert (found["corrected"], found["outputs"][1], found["qc"]) == (True, outputs[1], "ok")


def test_another_json_file_of_this_name_is_left_alone(folder):
    folder.output.mkdir()
    (folder.output / "block_0.json").write_text('{"outputs": [{"path": "block_0.nii.gz"}]}')
    (folder.output / "block_0.nii.gz").write_bytes(b"corrected")
    folder.remember_saved("block_0", folder.output / "block_0.nii.gz")
    assert json.loads((folder.output / "block_0.json").read_text()) == {"outputs": [{"path": "block_0.nii.gz"}]}


def test_notes_that_are_another_file_are_refused(scans, tmp_path):
    report(tmp_path / "out", "studio")
    with pytest.raises(UsageError, match="does not hold the notes"):
        ScanFolder(scans, tmp_path / "out")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has names of any bytes")
def test_a_name_that_is_not_utf_8_can_be_shown_and_saved(tmp_path):
    name = os.fsdecode(b"caf\xe9")
    write_scan(tmp_path / "scans" / f"{name}.nii.gz", make_case(0)[0])
    folder = ScanFolder(tmp_path / "scans", tmp_path / "out")
    (shown,) = folder.scans
    assert shown.encode("utf-8")
    assert folder.path_of(shown).is_file()
    target = folder.target_of(shown, ".nii.gz", replace=False)
    assert os.fsencode(target.name) == b"caf\xe9.nii.gz"
    folder.remember_saved(shown, target)
    assert ScanFolder(tmp_path / "scans", tmp_path / "out").notes.saved == folder.notes.saved


def report(folder, case, **content):
    """Write a CASE.json as `segment` does."""
    folder.mkdir(exist_ok=True)
    (folder / f"{case}.json").write_text(json.dumps({"schema": "sautomed case 1", "status": "done", **content}))


def test_what_needs_a_look_comes_first_and_scans_without_a_result_last(tmp_path):
    for case in "abcdef":
        write_scan(tmp_path / "scans" / f"{case}.nii.gz", make_case(0)[0])
    output = tmp_path / "out"
    for case, least_sure in {"b": 0.9, "c": None, "d": 0.2, "f": 0.9}.items():
        report(output, case, least_sure=least_sure, review=[f"liver of {case}"])
    (output / "e.json").write_text("{")
    found = ScanFolder(tmp_path / "scans", output)
    assert list(found.scans) == ["e", "d", "b", "f", "c", "a"]
    assert found.scans["d"].review.review == ("liver of d",)
    assert found.scans["a"].review.review == ()
    found.mark("d", done=True)
    assert list(ScanFolder(tmp_path / "scans", output).scans)[1] == "d"  # its place stays, so that it is found again
    assert found.path_of("e") == tmp_path / "scans" / "e.nii.gz"
