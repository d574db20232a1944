"""Containers of weights: what is refused, and the hub."""

from __future__ import annotations

import argparse
import gzip
import json
import zipfile

import numpy as np
import pytest
import torch
from huggingface_hub.errors import LocalEntryNotFoundError
from safetensors.torch import save_file

from sautomed.errors import EXIT_MODEL, DamagedWeights, UnsafeWeights, WeightsNotFound, WrongWeights
from sautomed.model.sam import files as weights_files
from sautomed.model.sam.files import find_weights, read_tensors

from .official_layout import official_state, write_official

TENSORS = {"some.weight": torch.ones(3)}


@pytest.fixture
def official(tmp_path):
    """Write the tiny official state, changed or not, into this test's folder; returns its path."""

    def write(change=None, name="sam_tiny.pth", **options):
        return write_official(tmp_path / name, change, **options)

    return write


@pytest.fixture
def hub(monkeypatch):
    """A hub that holds some files and a cache that holds others; records what was asked for."""

    def install(cached=(), online=()):
        asked = []

        def download(repo, name, local_files_only=False):
            asked.append((name, local_files_only))
            for folder in cached if local_files_only else online:
                if (folder / name).is_file():
                    return str(folder / name)
            raise LocalEntryNotFoundError("no connection")

        monkeypatch.setattr(weights_files, "hf_hub_download", download)
        return asked

    return install


@pytest.fixture
def folder(tmp_path):
    """A transformers folder, as far as containers go."""
    save_file(TENSORS, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "sam"}))
    return tmp_path


# --- The hub ---


def test_a_hub_id_that_is_in_the_cache_needs_no_network(hub, folder):
    asked = hub(cached=[folder])
    assert find_weights("facebook/sam-vit-base") == folder
    assert all(local for _, local in asked)


def test_a_hub_id_is_downloaded_with_its_config(hub, folder):
    asked = hub(online=[folder])
    assert find_weights("facebook/sam-vit-base") == folder
    assert ("config.json", False) in asked


def test_a_hub_with_pytorch_weights_only(hub, tmp_path):
    torch.save(TENSORS, tmp_path / "pytorch_model.bin")
    hub(cached=[tmp_path])
    assert find_weights("facebook/sam-vit-base") == tmp_path
    assert read_tensors(tmp_path).keys() == TENSORS.keys()


def test_an_unreachable_hub_names_the_cure(hub):
    hub()
    with pytest.raises(WeightsNotFound, match=r"facebook/sam-vit-base: .*another machine") as raised:
        find_weights("facebook/sam-vit-base")
    assert raised.value.exit_code == EXIT_MODEL


@pytest.mark.parametrize("source", ["weights/sam_vit_b_01ec64.pth", "sam_vit_b", "/no/such/folder", "a/b/c"])
def test_what_cannot_be_a_hub_id_is_not_asked_for(hub, source):
    asked = hub()
    with pytest.raises(WeightsNotFound, match="no such file or folder"):
        find_weights(source)
    assert not asked


# --- Files and folders that are no weights ---


@pytest.mark.parametrize(
    ("content", "error", "says"),
    [
        (b"", DamagedWeights, "empty"),
        (b"model: sam\nsize: b\n", WrongWeights, "text that begins 'model: sam'"),
        (b"<!DOCTYPE html><html>404</html>", WrongWeights, "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", WrongWeights, "git lfs pull"),
        (b"\x00\x01\x02\xff" * 50, WrongWeights, "binary data"),
        (b"\x80\x02\x8a\x0a", DamagedWeights, "cut short"),
    ],
)
def test_files_that_are_no_weights(tmp_path, content, error, says):
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    with pytest.raises(error, match=says):
        read_tensors(path)


def test_numpy_archive(tmp_path):
    np.savez(tmp_path / "R50+ViT-B_16.npz", **{"Transformer/encoderblock_0/x": np.zeros(3)})
    with pytest.raises(WrongWeights, match="NumPy archive"):
        read_tensors(tmp_path / "R50+ViT-B_16.npz")


@pytest.mark.parametrize("keep", [0.3, 0.9, 0.9999])
@pytest.mark.parametrize("container", ["zip", "old", "safetensors"])
def test_truncated_files(tmp_path, official, container, keep):
    path = tmp_path / "weights.pth"
    if container == "safetensors":
        save_file(official_state(), path)
    else:
        official(name="weights.pth", _use_new_zipfile_serialization=container == "zip")
    whole = path.read_bytes()
    path.write_bytes(whole[: int(keep * len(whole))])
    with pytest.raises(DamagedWeights, match=r"cut short.*again"):
        read_tensors(path)


@pytest.mark.parametrize("new_format", [True, False])
def test_a_file_with_python_objects_is_not_executed(official, new_format):
    path = official(
        lambda state: {"model": state, "args": argparse.Namespace(lr=1)}, _use_new_zipfile_serialization=new_format
    )
    with pytest.raises(UnsafeWeights, match=r"argparse\.Namespace.*state dict"):
        read_tensors(path)


def test_a_list_is_no_state_dict(official):
    with pytest.raises(WrongWeights, match="a list, not a dictionary"):
        read_tensors(official(lambda state: [1, 2]))


def test_an_ordinary_zip_archive(tmp_path):
    with zipfile.ZipFile(tmp_path / "scans.zip", "w") as archive:
        archive.writestr("readme.txt", "scans")
    with pytest.raises(WrongWeights, match="ordinary zip"):
        read_tensors(tmp_path / "scans.zip")


def test_a_compiled_program(tmp_path):
    torch.jit.script(torch.nn.Linear(2, 2)).save(tmp_path / "sam.pt")
    with pytest.raises(WrongWeights, match="TorchScript"):
        read_tensors(tmp_path / "sam.pt")


def test_a_dataset_of_gzip_files_is_not_taken_for_weights(tmp_path):
    (tmp_path / "scan.nii.gz").write_bytes(gzip.compress(b"scan"))
    with pytest.raises(WrongWeights, match="gzip"):
        read_tensors(tmp_path / "scan.nii.gz")


@pytest.mark.parametrize(
    ("config", "says"), [({"model_type": "sam2"}, "'sam2'"), ({"format": 1}, "names no model type")]
)
def test_a_folder_of_another_model(tmp_path, config, says):
    save_file(TENSORS, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(WrongWeights, match=says):
        read_tensors(tmp_path)


def test_a_folder_without_weights(tmp_path, official):
    official(name="sam_vit_b_01ec64.pth")
    with pytest.raises(WeightsNotFound, match=r"there is sam_vit_b_01ec64\.pth.*path of one weights file"):
        read_tensors(tmp_path)


def test_a_damaged_config(tmp_path):
    save_file(TENSORS, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(DamagedWeights, match=r"config\.json: .*JSON"):
        read_tensors(tmp_path)
