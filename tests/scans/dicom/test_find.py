import os
import shutil

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import (
    ComprehensiveSRStorage,
    MediaStorageDirectoryStorage,
    RawDataStorage,
    SegmentationStorage,
    generate_uid,
)

from sautomed.errors import DamagedDicom, DuplicateSlices, MissingFile, NotAScan, NotAVolume
from sautomed.scans.dicom.read import read_geometry, read_stored
from sautomed.scans.stored import ReadOptions

from .build import make_series, save, slice_of

PLAIN = ReadOptions()


def test_a_folder_is_searched_recursively_and_other_files_are_skipped(tmp_path):
    written = make_series(tmp_path / "scan" / "deep" / "er")
    shutil.move(written.files[0], tmp_path / "scan" / "no ending")
    (tmp_path / "scan" / "notes.txt").write_text("of no interest")
    (tmp_path / "scan" / "empty").touch()
    (tmp_path / "scan" / ".hidden.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"\xff" * 40)
    (tmp_path / "scan" / "DICOMDIR").write_bytes(b"\0" * 128 + b"DICM" + b"\xff" * 40)
    os.mkfifo(tmp_path / "scan" / "pipe")
    (tmp_path / "scan" / "round").symlink_to(tmp_path / "scan", target_is_directory=True)
    stored = read_stored(tmp_path / "scan", PLAIN)
    np.testing.assert_array_equal(stored.voxels, written.voxels)
    assert stored.geometry.warnings == ()
    assert stored.geometry.native.source.members[0] == "no ending"
    assert stored.geometry.native.source.members[1] == f"deep/er/{written.files[1].name}"


def test_files_without_preamble_are_read(tmp_path):
    written = make_series(tmp_path / "s")
    for file in written.files:
        file.write_bytes(file.read_bytes()[132:])
    np.testing.assert_array_equal(read_stored(written.path, PLAIN).voxels, written.voxels)


@pytest.mark.parametrize("implicit", [True, False])
def test_files_without_any_meta_information_are_read(tmp_path, implicit):
    written = make_series(tmp_path / "s")
    for file in written.files:
        dataset = pydicom.dcmread(file)
        del dataset.file_meta
        dataset.save_as(file, implicit_vr=implicit, little_endian=True)
    np.testing.assert_array_equal(read_stored(written.path, PLAIN).voxels, written.voxels)


def test_a_file_that_is_only_named_dicom_gives_a_warning(tmp_path):
    written = make_series(tmp_path / "s")
    (tmp_path / "s" / "lost.dcm").touch()
    (warning,) = read_geometry(written.path, PLAIN).warnings
    assert "files named as DICOM that are none: 1, the first lost.dcm" in warning


def test_exact_copies_are_read_once(tmp_path):
    written = make_series(tmp_path / "s")
    for file in written.files:
        shutil.copy(file, file.with_name(f"copy of {file.name}"))
    stored = read_stored(written.path, PLAIN)
    np.testing.assert_array_equal(stored.voxels, written.voxels)
    assert "exact copies of other files, left out: 4" in stored.geometry.warnings[0]


def test_other_pixels_with_the_same_uid_are_no_copies(tmp_path):
    written = make_series(tmp_path / "s")
    dataset = pydicom.dcmread(written.files[0])
    dataset.PixelData = bytes(len(dataset.PixelData))
    dataset.save_as(tmp_path / "s" / "other")
    with pytest.raises(DuplicateSlices):
        read_geometry(written.path, PLAIN)


def test_a_folder_without_dicom_is_refused_with_what_to_give(tmp_path):
    (tmp_path / "scan.nii.gz").write_bytes(b"x" * 500)
    with pytest.raises(NotAScan, match=r"no DICOM file: none of its 1 files.*Give the folder or the zip"):
        read_geometry(tmp_path, PLAIN)


def test_a_path_to_nothing_is_named(tmp_path):
    with pytest.raises(MissingFile):
        read_geometry(tmp_path / "nothing", PLAIN)


@pytest.mark.parametrize("kept", [0.2, 0.45, 0.6, 0.7])
def test_a_header_cut_short_is_a_fault_of_its_file(tmp_path, kept):
    written = make_series(tmp_path / "s")
    content = written.files[2].read_bytes()
    written.files[2].write_bytes(content[: int(kept * len(content))])
    with pytest.raises(DamagedDicom, match=written.files[2].name):
        read_geometry(written.path, PLAIN)


def without_image(modality, sop_class):
    dataset = Dataset()
    dataset.file_meta = slice_of(np.zeros((2, 2), np.uint16)).file_meta
    dataset.SOPClassUID, dataset.SOPInstanceUID = sop_class, generate_uid()
    dataset.SeriesInstanceUID, dataset.Modality = generate_uid(), modality
    return dataset


def test_a_table_of_contents_is_skipped_whatever_its_name(tmp_path):
    written = make_series(tmp_path / "s")
    table = Dataset()
    table.file_meta = slice_of(np.zeros((2, 2), np.uint16)).file_meta
    table.file_meta.MediaStorageSOPClassUID = MediaStorageDirectoryStorage
    table.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    table.FileSetID = "DISC"
    table.save_as(tmp_path / "s" / "index.dcm", enforce_file_format=True)
    np.testing.assert_array_equal(read_stored(written.path, PLAIN).voxels, written.voxels)


@pytest.mark.parametrize(("modality", "sop_class"), [("SR", ComprehensiveSRStorage), ("MR", RawDataStorage)])
def test_reports_and_raw_data_beside_a_scan_are_skipped(tmp_path, modality, sop_class):
    written = make_series(tmp_path / "s")
    save(without_image(modality, sop_class), tmp_path / "s" / "another")
    np.testing.assert_array_equal(read_stored(written.path, PLAIN).voxels, written.voxels)


@pytest.mark.parametrize(
    ("modality", "sop_class", "words"),
    [
        ("SR", ComprehensiveSRStorage, "holds no image: it is a structured report"),
        ("SEG", SegmentationStorage, "is a segmentation .*not a scan"),
        ("RTSTRUCT", "1.2.840.10008.5.1.4.1.1.481.3", "it is a structure set"),
        ("", "1.2.840.10008.5.1.4.1.1.104.1", "it is Encapsulated PDF Storage"),
    ],
)
def test_a_file_without_a_scan_is_refused_by_its_kind(tmp_path, modality, sop_class, words):
    with pytest.raises(NotAVolume, match=words):
        read_geometry(save(without_image(modality, sop_class), tmp_path / "a"), PLAIN)
