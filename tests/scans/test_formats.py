"""Formats are recognised by content and written by the ending of the name, for every entry of the two tables."""

import io
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import SimpleITK

from sautomed import errors
from sautomed.scans import read_geometry, read_scan
from sautomed.scans.formats import (
    FILE_ENDINGS,
    FORMATS,
    IMAGE_ENDINGS,
    LABEL_ENDINGS,
    WRITERS,
    ending_of,
    format_of,
    image_writer,
    label_writer,
)
from sautomed.scans.grid import NativeGrid
from sautomed.scans.write import write_image

ARRAY = np.arange(24, dtype=np.int16).reshape(2, 3, 4)


def scan(path):
    write_image(ARRAY, NativeGrid(ARRAY.shape, np.diag([1.0, 1, 3, 1])), path)
    return path


def simpleitk_scan(path):
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(ARRAY), str(path))
    return path


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_has_its_two_readers(name):
    reader = FORMATS[name].reader
    assert callable(reader.read_geometry)
    assert callable(reader.read_stored)


@pytest.mark.parametrize("ending", WRITERS)
def test_every_ending_has_its_writers(ending):
    assert callable(label_writer(f"a{ending}"))
    assert WRITERS[ending].image is None or callable(image_writer(f"a{ending}"))


@pytest.mark.parametrize("ending", IMAGE_ENDINGS)
@pytest.mark.parametrize("other", [*IMAGE_ENDINGS, ".dcm", ".txt", ""])
def test_a_file_is_read_whatever_its_name(tmp_path, ending, other):
    path = scan(tmp_path / f"a{ending}").rename(tmp_path / f"b{other}")
    assert ending in format_of(path).endings
    np.testing.assert_array_equal(np.sort(read_scan(path).array, axis=None), np.arange(24))


def test_detached_headers_are_recognised(tmp_path):
    assert format_of(simpleitk_scan(tmp_path / "a.nhdr")) is FORMATS["nrrd"]
    assert format_of(simpleitk_scan(tmp_path / "a.mhd")) is FORMATS["metaimage"]


def test_the_message_about_bare_voxels_names_their_header(tmp_path):
    simpleitk_scan(tmp_path / "a.mhd")
    with pytest.raises(errors.NotAScan, match=r"unknown kind.*Give its header a\.mhd"):
        read_geometry(tmp_path / "a.raw")


def test_the_message_about_other_files_names_every_format(tmp_path):
    (tmp_path / "a.nii").write_bytes(b"hello")
    with pytest.raises(errors.NotAScan) as caught:
        format_of(tmp_path / "a.nii")
    assert all(entry.name in str(caught.value) for entry in FORMATS.values())


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


def test_the_longest_ending_counts_whatever_its_case():
    assert ending_of("A.SEG.NRRD", LABEL_ENDINGS, "label maps") == ".seg.nrrd"
    assert next(ending for ending in FILE_ENDINGS if "a.seg.nrrd".endswith(ending)) == ".seg.nrrd"


def test_labels_and_scans_with_another_ending_are_refused():
    with pytest.raises(errors.UnknownFormat, match=r"must end in \.nii\.gz, .*\.nrrd.* or \.rtstruct\.dcm") as caught:
        label_writer("a.png")
    assert (caught.value.id, caught.value.exit_code) == ("SAM-E0204", 2)
    with pytest.raises(errors.UnknownFormat, match="scans are written"):
        image_writer("a.seg.dcm")


def loaded_modules(code):
    lines = f"import sys; {code}; print(*sys.modules)"
    return set(subprocess.run([sys.executable, "-c", lines], capture_output=True, text=True, check=True).stdout.split())


def test_only_the_modules_of_the_format_in_use_are_imported(tmp_path):
    assert not {"nibabel", "scipy", "pydicom"} & loaded_modules("import sautomed.scans.files, sautomed.scans.paths")
    path = scan(tmp_path / "a.nii")
    loaded = loaded_modules(f"from sautomed.scans import read_labels; read_labels({str(path)!r}).save({str(path)!r})")
    assert "nibabel" in loaded
    assert not {"highdicom", "sautomed.scans.dicom"} & loaded  # nibabel itself imports pydicom
