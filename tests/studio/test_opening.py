"""A scan and a model become a session, unless the scan would fill the memory."""

import gzip
import os
import zipfile

import nibabel
import numpy as np
import pytest

from sautomed.errors import MemoryShortage, TruncatedFile, UnsafeArchive
from sautomed.inference.model import load
from sautomed.studio.opening import session_opener


@pytest.fixture(scope="module")
def open_session(trained_run):
    return session_opener(load(trained_run, "cpu"))


def nothing(done, total):
    pass


def test_a_scan_is_segmented_slice_by_slice_and_can_be_edited(open_session, dataset_folder, tmp_path):
    seen = []
    scan = dataset_folder / "imagesTr" / "block_0_0000.nii.gz"
    session = open_session(scan, tmp_path / "edits", lambda done, total: seen.append((done, total)))
    assert seen == [(done, 6) for done in range(1, 7)]
    session.absent(2, "bright")
    assert not (session.label_slice(2) == 1).any()
    session.close()
    again = open_session(scan, tmp_path / "edits", nothing)
    assert again.can_undo
    again.close()


@pytest.fixture
def huge_header():
    header = nibabel.Nifti1Header()
    header.set_data_dtype(np.float32)
    header.set_data_shape((8000, 8000, 4000))
    header.set_sform(np.eye(4), 1)
    header.set_xyzt_units("mm")
    header["magic"], header["vox_offset"] = b"n+1", 352
    return header.binaryblock + bytes(4)


def test_a_terabyte_that_a_small_file_promises_is_refused(open_session, huge_header, tmp_path):
    (tmp_path / "scan.nii.gz").write_bytes(gzip.compress(huge_header))
    with pytest.raises(TruncatedFile, match="promises 1024000000352 bytes"):
        open_session(tmp_path / "scan.nii.gz", tmp_path / "edits", nothing)


def test_a_terabyte_is_refused_before_it_is_read(open_session, huge_header, tmp_path):
    scan = tmp_path / "scan.nii"
    scan.write_bytes(huge_header)
    try:
        os.truncate(scan, 1_024_000_000_352)  # a hole, which takes no space
    except OSError:
        pytest.skip("this disk holds no file of a terabyte, not even an empty one")
    with pytest.raises(MemoryShortage, match="8000 x 8000 x 4000"):
        open_session(scan, tmp_path / "edits", nothing)
    assert not (tmp_path / "edits").exists()


def test_a_zip_bomb_is_refused(open_session, tmp_path):
    with zipfile.ZipFile(tmp_path / "scan.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("slice.dcm", bytes(300_000_000))
    with pytest.raises(UnsafeArchive, match="made for harm"):
        open_session(tmp_path / "scan.zip", tmp_path / "edits", nothing)
