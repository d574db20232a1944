"""A trained model that takes scans, from Python."""

import json
import logging
import shutil

import nibabel
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import sautomed
from sautomed import errors
from sautomed.inference.bundle import load_bundle
from sautomed.inference.engine import FLOAT32, Computing
from sautomed.inference.engine.bf16_check import Bf16Check
from sautomed.inference.model import model_folder as folder_of
from sautomed.inference.model import with_chunk, with_walk
from sautomed.inference.segmenting import SegmentedSlice
from sautomed.scans import ReadOptions

from .conftest import blocks, ct_blocks

LABELS = {1: "bright", 5: "dark"}


@pytest.mark.parametrize("part", ["fold_0/model", "fold_0", ""])
def test_a_model_is_loaded_from_its_folder_a_fold_or_a_run(trained_run, part):
    model = sautomed.load(trained_run / part, device="cpu")
    assert model.labels == LABELS
    assert model.folder == trained_run / "fold_0" / "model"
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
    assert folder_of(run / "fold_1") == run / "fold_1" / "model"


def test_no_model(tmp_path):
    with pytest.raises(errors.NotAModel, match="holds no model"):
        sautomed.load(tmp_path)
    with pytest.raises(errors.NotAModel, match="does not exist"):
        sautomed.load(tmp_path / "nowhere")
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(errors.NotAModel, match="holds no model"):
        sautomed.load(tmp_path / "model.safetensors")


def test_slices_can_be_taken_one_by_one_with_their_progress(model, write, tmp_path):
    volume = model.read(write(tmp_path / "a.nii.gz"))
    parts = list(model.slices(volume))
    assert all(isinstance(part, SegmentedSlice) for part in parts)
    assert [(part.done, part.total) for part in parts] == [(n, 6) for n in range(1, 7)]
    assert sorted(part.index for part in parts) == list(range(6))
    whole = model.segment(volume).array
    assert all(np.array_equal(whole[part.index], part.labels) for part in parts)


def test_the_walk_and_the_chunk_can_be_changed(model, write, tmp_path):
    volume = model.read(write(tmp_path / "a.nii.gz"))
    assert [part.index for part in with_walk(model, "end_to_end").slices(volume)] == [5, 4, 3, 2, 1, 0]
    assert with_chunk(model, 2).settings.segment.chunk == 2
    assert (model.settings.segment.walk, model.settings.segment.chunk) == ("mid_to_ends", 8)


def test_a_scan_unlike_those_of_the_training_is_segmented_with_a_warning(mr_model, write, tmp_path, caplog):
    scan = write(tmp_path / "ct.nii.gz", ct_blocks())
    labels = mr_model.segment(scan)
    (text,) = [record.message for record in caplog.records]
    assert labels.array.any()
    assert text.startswith(f"{scan}: the intensities are unlike those that the model was trained on")
    assert text.endswith("Use a model that was trained on CT.")
    assert mr_model.read(scan).warnings == (text,)
    assert with_chunk(mr_model, 2).read(scan).warnings == (text,)


def test_a_scan_like_those_of_the_training_is_segmented_without_a_word(mr_model, model, write, tmp_path, caplog):
    assert mr_model.segment(write(tmp_path / "mr.nii.gz", 7 * blocks())).array.any()
    assert model.segment(write(tmp_path / "ct.nii.gz", ct_blocks())).array.any()  # trained on unknown scans
    assert not caplog.records


def test_read_options_reach_the_reader(model, write, tmp_path):
    scan = write(tmp_path / "four.nii.gz", np.random.default_rng(0).normal(size=(9, 8, 7, 2)).astype(np.float32))
    with pytest.raises(errors.NotThreeD):
        model.read(scan)
    frame = model.read(scan, ReadOptions(frame=1))
    assert np.allclose(np.sort(frame.array.ravel()), np.sort(nibabel.load(scan).get_fdata()[..., 1].ravel()))


def test_the_hash_of_a_model_is_that_of_the_files_that_decide(model, model_folder, tmp_path):
    copy = shutil.copytree(model_folder, tmp_path / "copy")
    (copy / "README.md").write_text("a note")
    assert sautomed.load(copy).sha256 == model.sha256
    config = (copy / "config.json").read_text()
    (copy / "config.json").write_text(config.replace('"mid_to_ends"', '"end_to_end"'))
    assert sautomed.load(copy).sha256 != model.sha256
    assert with_walk(model, "end_to_end").sha256 == model.sha256


@pytest.fixture
def replaced(model_folder, tmp_path, monkeypatch):
    """A copy of a model, and a function that lets the first so many loads find other weights than when they began."""
    copy = shutil.copytree(model_folder, tmp_path / "copy")

    def replace_during(loads, fault=None):
        left = iter(range(loads))

        def load_and_replace(folder, weights):
            bundle = load_bundle(folder, weights)
            if next(left, None) is None:
                return bundle
            state = load_file(folder / "model.safetensors")
            save_file({name: tensor + 1 for name, tensor in state.items()}, folder / "model.safetensors")
            if fault is not None:
                raise fault
            return bundle

        monkeypatch.setattr("sautomed.inference.model.load_bundle", load_and_replace)
        return copy

    return replace_during


@pytest.mark.parametrize("fault", [None, errors.WrongWeights("does not fit.", cure="Copy it again.")], ids=str)
def test_a_model_that_is_replaced_while_it_is_read_is_read_again(replaced, fault):
    folder = replaced(loads=1, fault=fault)
    loaded, later = sautomed.load(folder), sautomed.load(folder)
    assert loaded.sha256 == later.sha256
    weights, expected = loaded.network.state_dict(), later.network.state_dict()
    assert all(torch.equal(weights[name], tensor) for name, tensor in expected.items())


def test_the_hash_of_a_model_stays_that_of_the_weights_that_were_read(replaced):
    folder = replaced(loads=0)
    loaded, before = sautomed.load(folder), sautomed.load(folder).sha256
    (folder / "config.json").write_text((folder / "config.json").read_text() + "\n")
    assert loaded.sha256 == with_chunk(loaded, 1).sha256 == before != sautomed.load(folder).sha256


def test_a_fault_of_a_model_that_nobody_replaces_is_that_of_the_model(replaced):
    folder = replaced(loads=0)
    (folder / "model.safetensors").write_bytes(b"none")
    with pytest.raises(errors.WrongWeights):
        sautomed.load(folder)


# --- engine and precision ---


@pytest.fixture
def checked(model_folder, tmp_path):
    """A model folder whose validation cases came out the same in bf16."""
    copy = shutil.copytree(model_folder, tmp_path / "checked")
    check = Bf16Check(dsc={"bright": 0.9, "dark": None}, mean_dsc=0.9, difference=-0.001, passed=True)
    (copy / "metrics.json").write_text(json.dumps({"bf16": check.model_dump()}))
    return copy


def test_a_checked_model_is_computed_in_bf16_where_the_processor_does_and_says_so(
    checked, model, write, tmp_path, bf16_processor, caplog
):
    caplog.set_level(logging.INFO)
    loaded = sautomed.load(checked, device="cpu")
    assert loaded.computing == with_chunk(loaded, 2).computing == Computing("torch", "bf16")
    assert "computed by PyTorch in bf16" in caplog.text
    volume = model.read(write(tmp_path / "a.nii.gz"))
    exact, found = ({part.index: part for part in each.slices(volume)} for each in (model, loaded))
    assert any((exact[t].presence != found[t].presence).any() for t in exact)
    assert np.mean([(exact[t].labels == found[t].labels).mean() for t in exact]) > 0.9


def test_the_check_is_of_pytorch_and_does_not_vouch_for_openvino(checked, bf16_processor, tmp_path, monkeypatch):
    pytest.importorskip("openvino")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert sautomed.load(checked, device="cpu", engine="openvino").computing == Computing("openvino", "32")


def test_it_is_computed_in_float32_elsewhere_or_if_asked_to_be(checked, monkeypatch):
    assert sautomed.load(checked, device="cpu").computing == FLOAT32
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True}, raising=False)
    assert sautomed.load(checked, device="cpu", precision="32").computing == FLOAT32


def test_a_model_that_was_not_checked_is_computed_in_float32(model_folder, bf16_processor):
    assert sautomed.load(model_folder, device="cpu").computing == FLOAT32
    assert sautomed.load(model_folder, device="cpu", precision="bf16").computing == Computing("torch", "bf16")
