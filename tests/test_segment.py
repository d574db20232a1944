"""Scans in, label maps on the scans' own grids out: where they go, how they lie, and what happens to a bad scan."""

import shutil
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from nibabel.orientations import axcodes2ornt, inv_ornt_aff, io_orientation, ornt_transform

import sautomed
from sautomed import errors
from sautomed.inference import SegmentedSlice
from sautomed.model.bundle import Bundle
from sautomed.segment import (
    Job,
    Model,
    case_name,
    model_folder,
    plan_jobs,
    preview_path,
    run_jobs,
    segment_file,
    with_walk,
)

LABELS = {1: "bright", 5: "dark"}


@pytest.fixture(scope="module")
def model(small_model, small_settings):
    """Random weights find something everywhere, which is all that is needed here."""
    data = small_settings.data.model_copy(update={"plane": "axial", "modality": "other"})
    settings = small_settings.model_copy(update={"data": data})
    return Model(Bundle(small_model, settings, LABELS, "MR"), torch.device("cpu"))


def blocks(seed=0, shape=(40, 32, 6)):
    rng = np.random.default_rng(seed)
    image = 100 + 10 * rng.standard_normal(shape)
    image[5:20, 8:20] += 80
    return image.astype(np.float32)


def write(path, array=None, affine=None, **header):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nibabel.Nifti1Image(
        blocks() if array is None else array, np.diag([2.0, 2.0, 5.0, 1.0]) if affine is None else affine
    )
    for name, value in header.items():
        image.header[name] = value
    nibabel.save(image, path)
    return path


# --- which scan goes where ---


@pytest.fixture
def scans(tmp_path):
    folder = tmp_path / "scans"
    folder.mkdir()
    for name in ("b_0000.nii.gz", "a.nii", "notes.txt", ".hidden.nii.gz"):
        (folder / name).write_bytes(b"")
    return folder


def test_a_folders_scans_go_to_a_folder_without_nnunets_suffix(scans, tmp_path):
    out = tmp_path / "out"
    jobs = plan_jobs(scans, out, overwrite=False)
    assert jobs == [Job(scans / "a.nii", out / "a.nii.gz"), Job(scans / "b_0000.nii.gz", out / "b.nii.gz")]


@pytest.mark.parametrize(
    ("output", "target"),
    [("x.nii.gz", "x.nii.gz"), ("x.nii", "x.nii"), ("folder", "folder/b.nii.gz")],
)
def test_a_file_goes_to_a_file_or_into_a_folder(scans, tmp_path, output, target):
    [job] = plan_jobs(scans / "b_0000.nii.gz", tmp_path / output, overwrite=False)
    assert job.target == tmp_path / target


def test_outputs_that_are_there_are_refused_before_any_work(scans, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "b.nii.gz").write_bytes(b"")
    with pytest.raises(errors.TargetExists, match=r"b\.nii\.gz: 1 of 4 .*--overwrite") as caught:
        plan_jobs(scans, tmp_path / "out", overwrite=False)
    assert caught.value.exit_code == 2
    assert len(plan_jobs(scans, tmp_path / "out", overwrite=True)) == 2


@pytest.mark.parametrize("overwrite", [False, True])
def test_labels_never_replace_the_scan(tmp_path, overwrite):
    scan = write(tmp_path / "a.nii.gz")
    for output in (tmp_path, scan, tmp_path / "." / "a.nii.gz"):
        with pytest.raises(errors.TargetExists, match="is the scan itself"):
            plan_jobs(scan, output, overwrite)
    with pytest.raises(errors.TargetExists, match="is the scan itself"):
        plan_jobs(tmp_path, tmp_path, overwrite)


def test_two_scans_of_one_name_are_refused(scans, tmp_path):
    (scans / "a_0000.nii.gz").write_bytes(b"")
    with pytest.raises(errors.UnpairedFiles, match=r"a\.nii and a_0000\.nii\.gz"):
        plan_jobs(scans, tmp_path / "out", overwrite=True)


def test_nothing_to_segment(tmp_path):
    with pytest.raises(errors.MissingFile, match=r"nowhere.*does not exist"):
        plan_jobs(tmp_path / "nowhere", tmp_path / "out", overwrite=False)
    with pytest.raises(errors.NoCases, match="holds no scan"):
        plan_jobs(tmp_path, tmp_path / "out", overwrite=False)


@pytest.mark.parametrize(("name", "case"), [("a.nii.gz", "a"), ("a_0000.nii", "a"), ("a_0001.nii.gz", "a_0001")])
def test_the_name_of_a_case(name, case):
    assert case_name(Path("x") / name) == case


# --- the scan's own grid ---


def test_labels_have_the_scans_shape_affine_and_header(model, tmp_path):
    tilted = np.array([[0.0, -1.9, 0.6, 20], [2.1, 0, 0, -7], [0, 0.3, 4.9, 100], [0, 0, 0, 1]])
    scan = write(tmp_path / "scan.nii.gz", affine=tilted, descrip=b"scanner 7", sform_code=2, qform_code=0)
    segment_file(model, Job(scan, tmp_path / "labels.nii.gz"), preview=False)
    before, after = nibabel.load(scan), nibabel.load(tmp_path / "labels.nii.gz")
    assert after.shape == before.shape
    assert np.array_equal(after.affine, before.affine)
    assert (after.get_sform(coded=True)[1], after.get_qform(coded=True)[1]) == (2, 0)
    assert after.header["descrip"] == before.header["descrip"]
    assert after.get_data_dtype() == np.uint8
    assert set(np.unique(after.dataobj)) <= {0, 1, 5}
    assert np.any(after.dataobj)


def stored_as(image, codes):
    """The same patient, stored in another axis order and direction."""
    turn = ornt_transform(io_orientation(image.affine), axcodes2ornt(codes))
    turned = image.as_reoriented(turn)
    assert np.allclose(turned.affine, image.affine @ inv_ornt_aff(turn, image.shape))
    return turned


@pytest.mark.parametrize("codes", ["LAS", "LPS", "RAI", "PIR", "SLA", "AIL"])
def test_however_a_scan_is_stored_the_same_labels_lie_at_the_same_place(model, tmp_path, codes):
    scan = write(tmp_path / "ras.nii.gz")
    turned = stored_as(nibabel.load(scan), codes)
    nibabel.save(turned, tmp_path / "turned.nii.gz")
    for name in ("ras", "turned"):
        segment_file(model, Job(tmp_path / f"{name}.nii.gz", tmp_path / f"{name}_labels.nii.gz"), preview=False)
    plain, found = (nibabel.load(tmp_path / f"{name}_labels.nii.gz") for name in ("ras", "turned"))
    assert nibabel.aff2axcodes(found.affine) == tuple(codes)
    assert found.shape == turned.shape
    assert np.array_equal(found.affine, turned.affine)
    back = stored_as(found, "RAS")
    assert np.allclose(back.affine, plain.affine)
    assert np.array_equal(np.asarray(back.dataobj), np.asarray(plain.dataobj))
    assert len(np.unique(plain.dataobj)) > 1


@pytest.mark.parametrize("depth", [1, 2])
def test_one_and_two_slices_work(model, tmp_path, depth):
    scan = write(tmp_path / "thin.nii.gz", blocks(shape=(40, 32, depth)))
    labels = segment_file(model, Job(scan, tmp_path / "out.nii.gz"))
    assert nibabel.load(tmp_path / "out.nii.gz").shape == (40, 32, depth)
    assert labels.array.any()
    assert (tmp_path / "out.png").stat().st_size


# --- many scans ---


def test_a_folder_continues_past_a_bad_scan_and_says_why(model, tmp_path):
    for name in ("a", "c"):
        write(tmp_path / "in" / f"{name}.nii.gz")
    (tmp_path / "in" / "b.nii.gz").write_text("no scan")
    jobs, seen = plan_jobs(tmp_path / "in", tmp_path / "out", overwrite=False), []
    failures = run_jobs(model, jobs, on_slice=lambda job, done, total: seen.append((job.scan.name, done, total)))
    assert [failure.scan.name for failure in failures] == ["b.nii.gz"]
    assert isinstance(failures[0].error, errors.NotAScan)
    written = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert written == ["a.nii.gz", "a.png", "c.nii.gz", "c.png"]
    assert seen == [(f"{name}.nii.gz", done, 6) for name in "ac" for done in range(1, 7)]


CPU_FULL = RuntimeError("[enforce fail at alloc_cpu.cpp:127] . DefaultCPUAllocator: can't allocate memory")


@pytest.mark.parametrize("fault", [MemoryError(), torch.OutOfMemoryError("CUDA out of memory"), CPU_FULL])
def test_a_scan_too_large_for_the_memory_is_named(model, tmp_path, monkeypatch, fault):
    def full(*_):
        raise fault

    monkeypatch.setattr(model.network, "encode", full)
    scan = write(tmp_path / "large.nii.gz")
    [failure] = run_jobs(model, [Job(scan, tmp_path / "out.nii.gz")])
    assert isinstance(failure.error, errors.MemoryShortage)
    assert "large.nii.gz" in str(failure.error)
    assert failure.error.exit_code == 5


def test_any_other_fault_is_not_taken_for_a_want_of_memory(model, tmp_path, monkeypatch):
    def broken(*_):
        raise RuntimeError("shapes do not fit")

    monkeypatch.setattr(model.network, "encode", broken)
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        run_jobs(model, [Job(write(tmp_path / "a.nii.gz"), tmp_path / "out.nii.gz")])


# --- preview ---


@pytest.mark.parametrize("preview", [True, False])
def test_a_picture_lies_beside_the_labels_unless_told_not_to(model, tmp_path, preview):
    segment_file(model, Job(write(tmp_path / "a.nii.gz"), tmp_path / "out" / "a.nii.gz"), preview)
    picture = tmp_path / "out" / "a.png"
    assert picture.exists() == preview
    assert not preview or picture.read_bytes().startswith(b"\x89PNG")
    assert preview_path(Path("x/y.nii")) == Path("x/y.png")


# --- the model, from Python ---


@pytest.mark.parametrize("part", ["fold_0/model", "fold_0", ""])
def test_a_model_is_loaded_from_its_folder_a_fold_or_a_run(trained_run, part):
    model = sautomed.load(trained_run / part, device="cpu")
    assert model.labels == LABELS
    assert model.settings.data.plane == "axial"
    assert not model.network.training


def test_a_scan_is_segmented_and_saved_as_in_the_readme(trained_run, dataset_folder, tmp_path):
    scan = dataset_folder / "imagesTr" / "block_1_0000.nii.gz"
    labels = sautomed.load(str(trained_run), device="cpu").segment(str(scan))
    labels.save(tmp_path / "organs.nii.gz")
    assert nibabel.load(tmp_path / "organs.nii.gz").shape == nibabel.load(scan).shape
    assert labels.names == LABELS


def test_a_run_of_several_folds_is_ambiguous(trained_run, tmp_path):
    run = shutil.copytree(trained_run, tmp_path / "run", ignore=shutil.ignore_patterns("prepared"))
    shutil.copytree(run / "fold_0", run / "fold_1")
    with pytest.raises(errors.NotAModel, match=r"several models: fold_0/model, fold_1/model") as caught:
        sautomed.load(run)
    assert caught.value.exit_code == 4
    assert model_folder(run / "fold_1") == run / "fold_1" / "model"


def test_no_model(tmp_path):
    with pytest.raises(errors.NotAModel, match="holds no model"):
        sautomed.load(tmp_path)
    with pytest.raises(errors.NotAModel, match="does not exist"):
        sautomed.load(tmp_path / "nowhere")


def test_a_file_is_no_model(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(errors.NotAModel, match="holds no model"):
        sautomed.load(tmp_path / "model.safetensors")


def test_slices_can_be_taken_one_by_one_with_their_progress(model, tmp_path):
    volume = model.read(write(tmp_path / "a.nii.gz"))
    parts = list(model.slices(volume))
    assert all(isinstance(part, SegmentedSlice) for part in parts)
    assert [(part.done, part.total) for part in parts] == [(n, 6) for n in range(1, 7)]
    assert sorted(part.index for part in parts) == list(range(6))
    whole = model.segment(volume).array
    assert all(np.array_equal(whole[part.index], part.labels) for part in parts)


def test_the_walk_can_be_changed(model, tmp_path):
    volume = model.read(write(tmp_path / "a.nii.gz"))
    assert [part.index for part in with_walk(model, "end_to_end").slices(volume)] == [5, 4, 3, 2, 1, 0]
    assert model.settings.segment.walk == "mid_to_ends"
