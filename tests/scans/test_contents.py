"""First bytes show the format of a file."""

import pytest

from sautomed.scans.contents import describe_start, is_dicom, is_metaimage
from sautomed.scans.formats import FORMATS


def test_a_metaimage_header_may_begin_with_comments():
    assert is_metaimage(b"ObjectType = Image\nComment = " + b"x" * 900 + b"\nNDims = 3\n")
    assert not is_metaimage(b"my NDims = 3")


@pytest.mark.parametrize(
    "start",
    [
        bytes(128) + b"DICM",
        b"\x08\x00\x05\x00CS\x0a\x00ISO_IR 100",  # no preamble, explicit types
        b"\x08\x00\x05\x00\x0a\x00\x00\x00ISO_IR 100",  # no preamble, implicit types
        b"\x00\x08\x00\x05CS\x00\x0aISO_IR 100",  # big endian
        b"\x02\x00\x00\x00UL\x04\x00\x12\x00\x00\x00",
        b"PK\x03\x04",
    ],
)
def test_only_dicom_is_recognised_with_and_without_its_preamble(start):
    start = start.ljust(600, b"\0")
    assert [name for name, entry in FORMATS.items() if entry.recognises(start)] == ["dicom"]


@pytest.mark.parametrize(
    "start", [b"", b"\x08\x00\x05\x00", b"\x08\x00\x05\x00\xff\xff\xff\xff" + bytes(50), bytes(600)]
)
def test_a_similar_start_is_not_dicom(start):
    assert not is_dicom(start)


def test_other_contents_are_described():
    assert describe_start(b"") == "empty"
    assert describe_start(b"\x89PNG\r\n") == "a PNG picture"
    assert describe_start(b"hello") == "of an unknown kind, beginning with the bytes 68 65 6c 6c"
