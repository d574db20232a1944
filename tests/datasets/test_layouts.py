"""Laws of all layouts: scans and labels are read as they were written, and the layout of a folder is detected."""

import os
import shutil
from dataclasses import replace

import numpy as np
import pytest

from sautomed import errors
from sautomed.config import DataSettings
from sautomed.datasets import DATASETS, read_dataset
from sautomed.datasets.dataset import files_below
from sautomed.datasets.folds import make_folds
from sautomed.evaluation.evaluate import evaluate
from sautomed.training.prepare import prepare, resolve_data

from .miniatures import MINIATURES, write_miniature

every_layout = pytest.mark.parametrize("layout", DATASETS)
automatic = [name for name, layout in DATASETS.items() if not layout.by_name_only]


def test_every_layout_has_a_miniature():
    assert set(MINIATURES) == set(DATASETS), "a layout without a miniature is not tested: add a row to MINIATURES"


def patient_of(case, patients):
    return patients[case.id] if case.id in patients else patients[case.group]


@every_layout
def test_scans_and_labels_are_read_as_they_were_written(written, layout):
    folder, patients = written(layout)
    dataset = read_dataset(folder, layout)
    assert (dataset.layout, dataset.folder) == (layout, folder)
    assert {case.group or case.id for case in dataset.cases} | set(patients) == set(dataset.groups.values())
    for case in dataset.cases:
        volume, labels = dataset.load(case, "axial")
        patient = patient_of(case, patients)
        np.testing.assert_array_equal(volume.array, MINIATURES[layout].image(patient, case))
        assert np.sign(volume.affine[[0, 1, 2], [2, 1, 0]]).tolist() == [-1, -1, 1]  # columns to the left, rows back
        for value, name in dataset.labels.items():
            np.testing.assert_array_equal(labels.array == value, patient.organs[name], err_msg=name)
        assert set(labels.voxel_counts()) == {0, *dataset.labels}
        assert labels.names == dataset.labels


@every_layout
def test_headers_and_single_parts_agree_with_the_whole(written, layout):
    folder, _ = written(layout)
    dataset = read_dataset(folder, layout)
    case = dataset.cases[-1]
    volume, labels = dataset.load(case, "coronal")
    geometry = dataset.geometry(case)
    assert geometry.shape == volume.native.shape
    np.testing.assert_allclose(geometry.affine, volume.native.affine)
    np.testing.assert_array_equal(dataset.read_image(case, "coronal").array, volume.array)
    np.testing.assert_array_equal(dataset.read_label(case, "coronal").array, labels.array)
    if MINIATURES[layout].has_spacing:
        assert volume.warnings == ()
        assert sorted(geometry.spacing_mm) == pytest.approx([1.5, 1.5, 4.0])
    else:
        assert any("1 mm" in note for note in volume.warnings)


@every_layout
def test_prepared_slices_show_the_labels(written, layout, tmp_path):
    folder, patients = written(layout)
    dataset = read_dataset(folder, layout)
    data = resolve_data(dataset, DataSettings(image_size=128, plane="axial"))
    progress = []
    (first,) = prepare(dataset, dataset.cases[:1], data, tmp_path, lambda *done: progress.append(done))
    patient = patient_of(dataset.cases[0], patients)
    presence = np.stack([patient.organs[name].any((1, 2)) for _, name in sorted(dataset.labels.items())], 1)
    np.testing.assert_array_equal(first.presence, presence)
    assert progress == [(1, 1, dataset.cases[0].id)]
    stamp = (first.folder / f"{first.id}.image.npy").stat().st_mtime_ns
    prepare(dataset, dataset.cases[:1], data, tmp_path)
    assert (first.folder / f"{first.id}.image.npy").stat().st_mtime_ns == stamp


@every_layout
def test_a_file_that_changes_makes_a_case_be_prepared_anew(written, layout):
    """Every file that is read is a source, so that every change is noticed."""
    folder, _ = written(layout)
    dataset = read_dataset(folder, layout)
    for case in dataset.cases:
        sources = dataset.sources(case)
        assert sources
        assert all(path.is_file() for path in sources)
        assert len(set(sources)) == len(sources)
        for path in (case.image, case.label):
            assert any(path == source or path in source.parents for source in sources)


@pytest.mark.parametrize("layout", automatic)
def test_the_layout_is_detected(written, layout):
    folder, _ = written(layout)
    assert read_dataset(folder).layout == layout
    assert read_dataset(folder) == read_dataset(folder, layout)


@pytest.mark.parametrize(
    ("layout", "below"),
    [
        ("btcv", "RawData"),
        ("btcv", "RawData/Training"),
        ("chaos-t2spir", "Train_Sets"),
        ("chaos-t2spir", "Train_Sets/MR"),
        ("chaos-ct", "Train_Sets"),
        ("chaos-ct", "Train_Sets/CT"),
        ("segthor", "train"),
    ],
)
def test_a_folder_within_the_layout_does_as_well(written, layout, below):
    folder, patients = written(layout)
    found = read_dataset(folder / below)
    assert found.layout == layout
    assert [case.image for case in found.cases] == [case.image for case in read_dataset(folder).cases]
    assert len(found.cases) == len(patients)


def test_a_folder_in_no_layout_lists_what_was_looked_for(tmp_path):
    (tmp_path / "stuff").mkdir()
    (tmp_path / "notes.txt").touch()
    with pytest.raises(errors.UnknownLayout, match="is in no known dataset layout") as caught:
        read_dataset(tmp_path)
    for words in ("RawData/Training/img", "dataset.json", "T2SPIR", "Patient_NN", "train_npz", "notes.txt", "stuff/"):
        assert words in caught.value.fault
    assert caught.value.exit_code == 3


@pytest.mark.parametrize("below", ["Train_Sets/MR/1", ".."])
def test_a_folder_beside_the_right_one_names_the_nearest(written, below):
    folder, _ = written("chaos-t2spir")
    with pytest.raises(errors.UnknownLayout, match=r"Nearest: .* is in the layout chaos-t2spir"):
        read_dataset(folder / below)


def test_a_folder_in_several_layouts_asks_for_one(tmp_path):
    write_miniature("chaos-t2spir", tmp_path, ["1"])
    write_miniature("chaos-ct", tmp_path, ["1"])
    with pytest.raises(errors.UnknownLayout, match=r"several dataset layouts: chaos-t2spir, chaos-ct.*--layout"):
        read_dataset(tmp_path)
    assert read_dataset(tmp_path, "chaos-ct").layout == "chaos-ct"


def test_an_unknown_layout_is_refused_with_the_nearest_name(tmp_path):
    with pytest.raises(errors.UnknownSetting, match="Did you mean chaos-t2spir") as caught:
        read_dataset(tmp_path, "chaos_t2spir")
    assert caught.value.exit_code == 2


@every_layout
def test_an_empty_folder_has_no_cases_in_any_layout(tmp_path, layout):
    with pytest.raises((errors.NoCases, errors.MissingFile)) as caught:
        read_dataset(tmp_path, layout)
    assert caught.value.cure


@every_layout
def test_scans_of_one_patient_are_never_split(written, layout):
    folder, _ = written(layout)
    dataset = read_dataset(folder, layout)
    folds = make_folds([case.id for case in dataset.cases], groups=dataset.groups)
    assert len(folds) == 2
    for fold in folds:
        assert not {dataset.groups[case] for case in fold.train} & {dataset.groups[case] for case in fold.val}


@every_layout
def test_predictions_are_scored_against_a_dataset_in_its_layout(written, layout, tmp_path):
    folder, _ = written(layout)
    dataset = read_dataset(folder, layout)
    case = dataset.cases[-1]
    dataset.load(case)[1].save(tmp_path / "predictions" / f"{case.id}.nii.gz")
    summary = evaluate(tmp_path / "predictions", folder, tmp_path / "scores", layout=layout)
    assert summary.names == dataset.labels
    assert list(summary.files) == [case.id]
    assert summary.overall["dsc"].mean == 1
    assert len(summary.unpredicted) == len(dataset.cases) - 1


def test_organs_that_a_dataset_lacks_are_not_scored(written, tmp_path):
    folder, _ = written("btcv")
    dataset = read_dataset(folder)
    labels = dataset.load(dataset.cases[0])[1]
    replace(labels, names=labels.names | {1: "appendix"}).save(tmp_path / "predictions" / "0001.nii.gz")
    with pytest.raises(errors.SomeCasesFailed, match=r"names labels that are none of .*: appendix \(value 1\)"):
        evaluate(tmp_path / "predictions", folder, tmp_path / "scores")


def test_files_of_file_managers_are_ignored(tmp_path):
    """macOS writes ._NAME beside every file of a network drive, and .DS_Store into every folder."""
    for layout in automatic:
        folder = tmp_path / layout
        write_miniature(layout, folder, ["1"])
        for path in [path for path in folder.rglob("*") if path.is_file()]:
            (path.parent / f"._{path.name}").write_bytes(b"\0\5\x16\7junk")
            (path.parent / ".DS_Store").touch()
        dataset = read_dataset(folder)
        assert len(dataset.cases) == 1
        dataset.load(dataset.cases[0])
        shutil.rmtree(folder)


def test_the_voxels_beside_a_header_are_a_source_too(tmp_path):
    for name in ("a.mhd", "a.raw", "ab.raw", "b.mhd"):
        (tmp_path / name).touch()
    assert [path.name for path in files_below(tmp_path / "a.mhd")] == ["a.mhd", "a.raw"]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_read_is_named(tmp_path):
    tmp_path.chmod(0)
    with pytest.raises(errors.MissingFile, match="may not be read"):
        read_dataset(tmp_path)
    tmp_path.chmod(0o700)
