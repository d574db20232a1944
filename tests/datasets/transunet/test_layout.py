"""Preprocessed BTCV: slices are stacked to volumes, and labels are checked against the usual sizes of organs."""

import io
import zipfile

import h5py
import numpy as np
import pytest

from sautomed import errors
from sautomed.config import DataSettings
from sautomed.datasets import read_dataset
from sautomed.training.prepare import resolve_data

from ..miniatures import write_miniature


@pytest.fixture
def folder(tmp_path):
    """Case 0005 slice by slice, case 0008 as a volume."""
    write_miniature("transunet", tmp_path, ["5", "8"])
    return tmp_path


def slice_of(folder, number):
    return folder / "train_npz" / f"case0005_slice{number:03d}.npz"


def load_all(folder, layout):
    dataset = read_dataset(folder, layout)
    return [dataset.load(case) for case in dataset.cases]


def refused(kind, words, folder, layout="transunet"):
    with pytest.raises(kind, match=words) as caught:
        load_all(folder, layout)
    assert caught.value.exit_code == 3
    assert caught.value.cure
    return caught.value


def test_cases_of_both_kinds_are_one_dataset(folder):
    dataset = read_dataset(folder)
    assert [case.id for case in dataset.cases] == ["case0005", "case0008"]
    assert [len(dataset.sources(case)) for case in dataset.cases] == [12, 1]
    assert dataset.labels[1] == "aorta"
    assert dataset.labels[8] == "stomach"


def test_scaled_intensities_get_no_window_in_hu(folder):
    assert resolve_data(read_dataset(folder), DataSettings(image_size=128)).modality == "other"


def test_1_mm_is_assumed_with_a_warning(folder):
    dataset = read_dataset(folder)
    geometry = dataset.geometry(dataset.cases[0])
    assert geometry.spacing_mm == (1, 1, 1)
    assert "no spacing and no orientation; 1 mm" in geometry.warnings[0]


@pytest.mark.parametrize(("written", "read"), [("transunet", "transunet-samed"), ("transunet-samed", "transunet")])
def test_labels_in_the_other_order_are_found_by_the_sizes_of_the_organs(tmp_path, written, read):
    write_miniature(written, tmp_path, ["1"])
    fault = refused(errors.UnknownLabels, "labels in another order", tmp_path, read)
    assert f"--layout {written}" in fault.cure
    assert "5 liver" in fault.fault


def test_swapped_kidneys_give_a_warning(folder):
    path = folder / "test_vol_h5" / "case0008.npy.h5"
    with h5py.File(path, "r+") as file:
        labels = file["label"][:]
        file["label"][:] = np.select([labels == 3, labels == 4], [4, 3], labels)
    dataset = read_dataset(folder)
    assert any("left and right may be swapped" in note for note in dataset.load(dataset.cases[1])[0].warnings)


def test_rotated_slices_are_kept_with_a_warning(folder):
    path = folder / "test_vol_h5" / "case0008.npy.h5"
    with h5py.File(path) as file:
        arrays = {key: file[key][:].transpose(0, 2, 1) for key in ("image", "label")}
    with h5py.File(path, "w") as file:
        for key, array in arrays.items():
            file[key] = array
    dataset = read_dataset(folder)
    volume, labels = dataset.load(dataset.cases[1])
    np.testing.assert_array_equal(labels.array, arrays["label"])
    assert any("rotated or mirrored" in note for note in volume.warnings)


def test_a_missing_slice_is_named(folder):
    slice_of(folder, 4).unlink()
    refused(errors.UnpairedFiles, "lacks 1 slices of case0005: 4", folder)


def test_a_case_in_both_parts_is_refused(folder):
    (folder / "test_vol_h5" / "case0008.npy.h5").rename(folder / "test_vol_h5" / "case0005.npy.h5")
    refused(errors.UnpairedFiles, "case0005 in train_npz and in test_vol_h5", folder)


@pytest.mark.parametrize(
    ("arrays", "kind", "words"),
    [
        ({"image": np.zeros((64, 80))}, errors.NotAScan, "no array 'label', but image.npy"),
        ({"image": np.zeros((3, 3)), "label": np.zeros((64, 80))}, errors.GridMismatch, "slices of different sizes"),
        ({"image": np.full((64, 80), "a"), "label": np.zeros((64, 80))}, errors.UnsupportedVoxels, "one number"),
        ({"image": np.ones((64, 80)), "label": np.full((64, 80), 0.5)}, errors.NotIntegerLabels, "whole numbers"),
        ({"image": np.ones((64, 80)), "label": np.full((64, 80), 9)}, errors.UnknownLabels, r"9 \(5120 voxels\)"),
    ],
)
def test_bad_slices_are_refused(folder, arrays, kind, words):
    np.savez(slice_of(folder, 4), **arrays)
    refused(kind, words, folder)


def test_no_object_is_unpickled(folder):
    class Harm:
        def __reduce__(self):
            return pytest.fail, ("code was run",)

    np.savez(slice_of(folder, 4), image=np.array([Harm()], dtype=object), label=np.zeros((64, 80)))
    refused(errors.TruncatedFile, "cannot be read.*Python objects", folder)


def test_damaged_and_other_files_are_refused(folder):
    path = slice_of(folder, 4)
    path.write_bytes(path.read_bytes()[:2000])
    refused(errors.NotAScan, "neither .npz nor HDF5", folder)
    volume = folder / "test_vol_h5" / "case0008.npy.h5"
    volume.write_bytes(volume.read_bytes()[:3000])
    dataset = read_dataset(folder)
    with pytest.raises(errors.TruncatedFile, match="cannot be read"):
        dataset.load(dataset.cases[1])


def test_a_small_archive_that_promises_a_huge_array_takes_no_memory(folder):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (100_000, 100_000)})
    with zipfile.ZipFile(slice_of(folder, 4), "w") as archive:
        archive.writestr("image.npy", header.getvalue())
        archive.writestr("label.npy", header.getvalue())
    refused(errors.TruncatedFile, "cannot be read.*promises 80000000000 bytes", folder)
