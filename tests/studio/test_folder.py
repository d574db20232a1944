"""Which scans may be opened, and where results go."""

import json

import pytest

from sautomed.errors import MissingFile, TargetExists, UnknownFormat
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
    folder.remember_saved([target])
    assert folder.target_of("block_0", ".nii.gz", replace=False) == target


def test_what_is_done_and_saved_is_remembered(folder, scans):
    folder.mark("block_1", done=True)
    folder.remember_saved([folder.output / "block_0.nii.gz"])
    again = ScanFolder(scans, folder.output)
    assert (again.notes.done, again.notes.saved) == (["block_1"], ["block_0.nii.gz"])
    again.mark("block_1", done=False)
    assert ScanFolder(scans, folder.output).notes.done == []


def report(folder, case, **content):
    """Write a CASE.json as `segment` does."""
    folder.mkdir(exist_ok=True)
    (folder / f"{case}.json").write_text(json.dumps({"schema": "sautomed case 1", **content}))


def test_the_least_sure_scan_comes_first_and_those_of_which_nothing_is_known_last(tmp_path):
    for case in "abcdef":
        write_scan(tmp_path / "scans" / f"{case}.nii.gz", make_case(0)[0])
    output = tmp_path / "out"
    for case, least_sure in {"b": 0.9, "c": None, "d": 0.2, "f": 0.9}.items():
        report(output, case, least_sure=least_sure, review=[f"liver of {case}"])
    (output / "e.json").write_text("{")
    found = ScanFolder(tmp_path / "scans", output)
    assert list(found.scans) == ["d", "b", "f", "a", "c", "e"]
    assert found.scans["d"].review.review == ("liver of d",)
    assert found.scans["a"].review.review == ()
    found.mark("d", done=True)
    assert next(iter(ScanFolder(tmp_path / "scans", output).scans)) == "d"  # its place stays, so that it is found again
    assert found.path_of("e") == tmp_path / "scans" / "e.nii.gz"
