import shutil
import stat
import zipfile

import numpy as np
import pytest

from sautomed.errors import NotAScan, TruncatedFile, UnsafeArchive
from sautomed.scans.dicom import archive as archive_module
from sautomed.scans.dicom.read import read_stored
from sautomed.scans.stored import ReadOptions

from .build import make_series, zip_of

PLAIN = ReadOptions()


def test_a_zip_gives_what_its_folder_gives(tmp_path):
    written = make_series(tmp_path / "s" / "inner")
    packed = zip_of(tmp_path / "s", tmp_path / "scan of a patient")
    stored = read_stored(packed, PLAIN)
    np.testing.assert_array_equal(stored.voxels, written.voxels)
    source = stored.geometry.native.source
    assert source.members == tuple(f"inner/{file.name}" for file in written.files)
    assert len(list(source.headers())) == 4
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["s", "scan of a patient"]  # nothing was unpacked


def add(path, name, content=b"x", **attributes):
    """Add a member to a zip."""
    with zipfile.ZipFile(path, "a") as archive:
        info = zipfile.ZipInfo("placeholder")
        for attribute, value in attributes.items():
            setattr(info, attribute, value)
        info.filename = name
        archive.writestr(info, content)


@pytest.mark.parametrize(
    "name", ["../evil.dcm", "a/../../evil.dcm", "/etc/evil", "C:\\evil", "\\\\host\\evil", "..\\evil"]
)
def test_a_member_that_leaves_the_archive_is_refused(tmp_path, name):
    packed = zip_of(make_series(tmp_path / "s").path, tmp_path / "a.zip")
    add(packed, name)
    with pytest.raises(UnsafeArchive, match="leaves the archive; nothing was unpacked"):
        read_stored(packed, PLAIN)


def test_a_link_is_refused(tmp_path):
    packed = zip_of(make_series(tmp_path / "s").path, tmp_path / "a.zip")
    add(packed, "link.dcm", b"/etc/passwd", external_attr=(stat.S_IFLNK | 0o777) << 16)
    with pytest.raises(UnsafeArchive, match="is a link"):
        read_stored(packed, PLAIN)


def test_an_encrypted_member_is_refused(tmp_path):
    packed = zip_of(make_series(tmp_path / "s").path, tmp_path / "a.zip")
    content = bytearray(packed.read_bytes())
    entry = content.index(b"PK\x01\x02")
    content[entry + 8] |= 1
    packed.write_bytes(content)
    with pytest.raises(UnsafeArchive, match="is encrypted"):
        read_stored(packed, PLAIN)


def test_an_uncommon_method_is_refused(tmp_path):
    packed = tmp_path / "a.zip"
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("a.dcm", bytes(1000))
    with pytest.raises(UnsafeArchive, match="not deflate"):
        read_stored(packed, PLAIN)


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    packed = tmp_path / "a.zip"
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(3):
            archive.writestr(f"{number}.dcm", bytes(1 << 20))
    monkeypatch.setattr(archive_module, "RATIO_CHECKED_FROM_BYTES", 1 << 20)
    with pytest.raises(UnsafeArchive, match="made for harm"):
        read_stored(packed, PLAIN)
    monkeypatch.setattr(archive_module, "TOTAL_LIMIT_BYTES", 2 << 20)
    with pytest.raises(UnsafeArchive, match="more than the"):
        read_stored(packed, PLAIN)
    monkeypatch.setattr(archive_module, "MEMBERS_LIMIT", 2)
    with pytest.raises(UnsafeArchive, match="holds 3 members"):
        read_stored(packed, PLAIN)


def test_a_member_that_is_larger_than_declared_is_refused(tmp_path):
    packed = zip_of(make_series(tmp_path / "s", (3, 200, 200)).path, tmp_path / "a.zip")
    content = bytearray(packed.read_bytes())
    at = -1
    while (at := content.find(b"PK\x01\x02", at + 1)) >= 0:
        content[at + 24 : at + 28] = (300).to_bytes(4, "little")  # the size when unpacked
    packed.write_bytes(content)
    with pytest.raises(TruncatedFile, match=r"cannot be unpacked|promises"):
        read_stored(packed, PLAIN)


@pytest.mark.parametrize("kept", [0.2, 0.6, 0.99])
def test_a_zip_cut_short_is_refused(tmp_path, kept):
    packed = zip_of(make_series(tmp_path / "s").path, tmp_path / "a.zip")
    content = packed.read_bytes()
    packed.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(TruncatedFile, match="damaged zip archive"):
        read_stored(packed, PLAIN)


def test_a_damaged_member_is_named(tmp_path):
    packed = zip_of(make_series(tmp_path / "s", (3, 100, 100)).path, tmp_path / "a.zip")
    content = bytearray(packed.read_bytes())
    content[5000:5050] = bytes(50)
    packed.write_bytes(content)
    with pytest.raises(TruncatedFile, match=r"\.dcm', which cannot be unpacked"):
        read_stored(packed, PLAIN)


def test_an_archive_without_dicom_is_refused_and_archives_within_it_are_not_opened(tmp_path):
    inner = zip_of(make_series(tmp_path / "s").path, tmp_path / "inner.zip")
    (tmp_path / "outer").mkdir()
    shutil.move(inner, tmp_path / "outer" / "inner.zip")
    with pytest.raises(NotAScan, match="no DICOM file: none of its 1 files"):
        read_stored(zip_of(tmp_path / "outer", tmp_path / "a.zip"), PLAIN)
