"""A missing file, a broken JSON file and a hash: each error names the file."""

import hashlib

import pytest

from sautomed import errors
from sautomed.scans.paths import is_broken_link, read_json, require_file, resolved_path, sha256_of


def test_broken_json_is_named_with_its_place(tmp_path):
    (tmp_path / "dataset.json").write_text('{"labels": {\n "liver": }')
    with pytest.raises(errors.BadDatasetJson, match="line 2, column") as caught:
        read_json(tmp_path / "dataset.json")
    assert caught.value.id == "SAM-E0311"


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
