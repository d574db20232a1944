"""Texts that name paths or URLs."""

from pathlib import Path

import pytest

from sautomed import errors
from sautomed.inference.batch.places import Url, place_of


@pytest.mark.parametrize("text", ["a.nii.gz", "/data/a", "../a", "C:/scans", "a:b", "simplecache::s3://b/a"])
def test_what_is_no_url_is_a_path(text):
    assert place_of(text) == Path(text)


def test_a_url_of_a_file_here_is_its_path():
    assert place_of("file:///data/a%20b.nii.gz") == Path("/data/a b.nii.gz")


@pytest.mark.parametrize(
    "text", ["ftp://host/a.nii.gz", "s3://", "s3:///", "https://", "memory://a", "file://host/a", "file://"]
)
def test_urls_that_cannot_be_used_are_refused(text):
    with pytest.raises(errors.UsageError, match=r"is no URL that can be used.*s3://BUCKET"):
        place_of(text)


def test_a_url_has_a_name_a_folder_and_files_below_it():
    url = place_of("S3://bucket/scans/a.nii.gz/")
    assert url == Url("s3://bucket/scans/a.nii.gz")
    assert (url.name, url.parent, url.scheme) == ("a.nii.gz", Url("s3://bucket/scans"), "s3")
    assert Url("s3://bucket") / Path("p1", "ct.nii.gz") == Url("s3://bucket/p1/ct.nii.gz")
    assert url.parent / Path() == url.parent
    assert Url("s3://bucket").parent == Url("s3://bucket")
    assert url.parent.holds(url)
    assert Url("s3://bucket").holds(url)
    assert not any(other.holds(url) for other in (url, url / "b", Url("s3://bucket/scan"), Url("s3://other")))


def test_what_gives_access_to_a_web_address_is_not_shown():
    url = place_of("https://me:secret@host:8080/lists/a%20b.csv?signature=secret")
    assert str(url) == "https://host:8080/lists/a%20b.csv"
    assert url.address.endswith("?signature=secret")
    assert url.name == "a b.csv"
    assert url.parent / "c.nii.gz" == Url("https://host:8080/lists/c.nii.gz")
