"""A format is told by content: names may say anything."""

import io
import zipfile

import nibabel
import numpy as np
import pytest
import SimpleITK

from sautomed import errors
from sautomed.scans import read_geometry, read_scan
from sautomed.scans.contents import is_dicom, is_metaimage, is_nifti, is_nrrd
from sautomed.scans.formats import FORMATS, format_of


def scan(path):
    if ".nii" in path.name:
        nibabel.save(nibabel.Nifti1Image(np.arange(24, dtype=np.int16).reshape(2, 3, 4), np.diag([1, 1, 3, 1])), path)
    else:
        SimpleITK.WriteImage(SimpleITK.GetImageFromArray(np.arange(24, dtype=np.int16).reshape(2, 3, 4)), str(path))
    return path


@pytest.mark.parametrize(
    ("ending", "name"), [(".nii", "nifti"), (".nii.gz", "nifti"), (".nrrd", "nrrd"), (".mha", "metaimage")]
)
@pytest.mark.parametrize("other", [".nii.gz", ".nrrd", ".mha", ".dcm", ".txt", ""])
def test_a_file_is_read_whatever_its_name(tmp_path, ending, name, other):
    path = scan(tmp_path / f"a{ending}").rename(tmp_path / f"b{other}")
    assert format_of(path) is FORMATS[name]
    assert read_scan(path).array.size == 24


def test_detached_headers_are_told_too(tmp_path):
    assert format_of(scan(tmp_path / "a.nhdr")) is FORMATS["nrrd"]
    assert format_of(scan(tmp_path / "a.mhd")) is FORMATS["metaimage"]


def test_bare_voxels_name_the_header_beside_them(tmp_path):
    scan(tmp_path / "a.mhd")
    with pytest.raises(errors.NotAScan, match=r"unknown kind.*Give its header a\.mhd"):
        read_geometry(tmp_path / "a.raw")


def test_a_header_that_begins_with_comments_is_still_told():
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
def test_dicom_is_told_with_and_without_its_preamble(start):
    assert is_dicom(start.ljust(600, b"\0"))
    assert not any(other(start) for other in (is_nifti, is_nrrd, is_metaimage))


@pytest.mark.parametrize(
    "start", [b"", b"\x08\x00\x05\x00", b"\x08\x00\x05\x00\xff\xff\xff\xff" + bytes(50), bytes(600)]
)
def test_what_only_begins_alike_is_no_dicom(start):
    assert not is_dicom(start)


def test_folders_and_zips_are_dicom(tmp_path):
    assert format_of(tmp_path) is FORMATS["dicom"]
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("a.txt", "hello")
    (tmp_path / "a.nii.gz").write_bytes(packed.getvalue())
    assert format_of(tmp_path / "a.nii.gz") is FORMATS["dicom"]
    with pytest.raises(errors.NotAScan, match="holds no DICOM file"):
        read_geometry(tmp_path / "a.nii.gz")


def test_a_missing_path_is_named(tmp_path):
    with pytest.raises(errors.MissingFile, match="does not exist"):
        format_of(tmp_path / "a.mha")
