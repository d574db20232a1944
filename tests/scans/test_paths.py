"""A missing file, a broken JSON file and a hash: each error names the file."""

import errno
import hashlib
import os

import pytest

from sautomed import errors
from sautomed.scans.paths import (
    is_broken_link,
    is_folder,
    read_json,
    refuse_missing,
    require_file,
    resolved_path,
    sha256_of,
)


def test_broken_json_is_named_with_its_place(tmp_path):
    (tmp_path / "dataset.json").write_text('{"labels": {\n "liver": }')
    with pytest.raises(errors.BadDatasetJson, match="line 2, column") as caught:
        read_json(tmp_path / "dataset.json")
    assert caught.value.id == "SAM-E0311"


def test_json_that_may_not_be_read_is_named_with_what_to_change(tmp_path, closed):
    path = tmp_path / "dataset.json"
    path.write_text("{}")
    closed.add(path)
    with pytest.raises(errors.MissingFile, match=r"may not be read: permission denied") as caught:
        read_json(path)
    assert (caught.value.where, caught.value.cure) == (str(path), "Change its permissions.")
    closed.clear()
    assert read_json(path) == {}


def test_a_missing_file_suggests_the_nearest_name(tmp_path):
    (tmp_path / "liver_01.nii.gz").touch()
    with pytest.raises(errors.MissingFile, match=r"does not exist\. Did you mean liver_01\.nii\.gz\?") as caught:
        require_file(tmp_path / "liver_1.nii.gz")
    assert (caught.value.id, caught.value.exit_code) == ("SAM-E0301", 3)


def test_a_link_to_nothing_is_broken_and_a_circle_of_links_is_its_own_path(tmp_path):
    (tmp_path / "broken").symlink_to(tmp_path / "missing")
    assert is_broken_link(tmp_path / "broken")
    assert not is_broken_link(tmp_path)
    with pytest.raises(errors.MissingFile, match=r"is a link to .*missing, which is not there"):
        require_file(tmp_path / "broken")
    (tmp_path / "one").symlink_to(tmp_path / "two")
    (tmp_path / "two").symlink_to(tmp_path / "one")
    assert resolved_path(tmp_path / "one").parent == tmp_path.resolve()


@pytest.mark.parametrize("look", [require_file, refuse_missing, is_folder])
def test_what_is_in_a_folder_that_may_not_be_entered_is_refused_by_its_name(tmp_path, closed, look):
    path = tmp_path / "closed" / "deep" / "a.nii.gz"
    path.parent.mkdir(parents=True)
    path.touch()
    (tmp_path / "link").symlink_to(path)
    closed.add(tmp_path / "closed")
    for place in (path, tmp_path / "link"):
        with pytest.raises(errors.MissingFile, match="may not be entered") as caught:
            look(place)
        assert caught.value.where == str(place)
        assert caught.value.cure == f"Change the permissions of {tmp_path / 'closed'}."
    closed.clear()
    look(path)


@pytest.mark.parametrize("look", [require_file, refuse_missing, is_folder])
def test_a_disk_that_fails_is_a_fault_of_the_path(tmp_path, monkeypatch, look):
    original = os.stat

    def stat(path, **options):
        if path == tmp_path / "a":
            raise OSError(errno.ESTALE, "Stale file handle", str(path))
        return original(path, **options)

    monkeypatch.setattr(os, "stat", stat)
    with pytest.raises(errors.DataError, match="cannot be read: Stale file handle"):
        look(tmp_path / "a")


@pytest.mark.parametrize("name", ["a" * 300, "a\0b"], ids=["too long", "null byte"])
def test_a_name_that_no_file_can_have_is_missing(tmp_path, name):
    assert not is_folder(tmp_path / name)
    with pytest.raises(errors.MissingFile, match=r"does not exist\. Check the path"):
        require_file(tmp_path / name)
    with pytest.raises(errors.MissingFile, match="does not exist, nor does the folder"):
        require_file(tmp_path / name / "a.nii.gz")


def test_a_hash_is_of_the_content_and_of_several_files_in_any_order(tmp_path):
    first, second = tmp_path / "a", tmp_path / "b"
    first.write_bytes(b"one")
    second.write_bytes(b"two")
    assert sha256_of([first]) == hashlib.sha256(b"one").hexdigest()
    both = sha256_of([first, second])
    assert both == sha256_of([second.rename(tmp_path / "0"), first])
    first.write_bytes(b"One")
    assert sha256_of([tmp_path / "0", first]) != both
    with pytest.raises(errors.MissingFile, match="does not exist"):
        sha256_of([tmp_path / "missing"])
