"""A stand-in for the package of ImageNet weights: a file of the same names and shapes with random numbers."""

from types import SimpleNamespace

import torch

from sautomed.model import imagenet_weights
from sautomed.model.imagenet_weights import published_names
from sautomed.model.sam.files import hash_of_numbers
from sautomed.model.trunk_efficientnet_lite import EfficientNetLite0Trunk


def state_of_file():
    """Make a state dict under the published names, with the classifier that a trunk leaves out."""
    torch.manual_seed(0)
    state = {
        f"{name}.{key}": tensor
        for name, module in published_names(EfficientNetLite0Trunk(8))
        for key, tensor in module.state_dict().items()
    }
    head, norm, linear = (
        torch.nn.Conv2d(320, 1280, 1, bias=False),
        torch.nn.BatchNorm2d(1280),
        torch.nn.Linear(1280, 1000),
    )
    for name, module in (("_conv_head", head), ("_bn1", norm), ("_fc", linear)):
        state |= {f"{name}.{key}": tensor for key, tensor in module.state_dict().items()}
    # Between 0.5 and 1.5, since variances must be positive.
    return {name: torch.rand_like(t) + 0.5 if t.is_floating_point() else t + 7 for name, t in state.items()}


def install(monkeypatch, folder):
    """Put the stand-in in the package's place and return its file; its numbers count as the published ones."""
    file = folder / imagenet_weights.FILE
    file.parent.mkdir(parents=True)
    state = state_of_file()
    torch.save(state, file)
    monkeypatch.setattr(imagenet_weights, "SHA256", hash_of_numbers(state))
    installed = {imagenet_weights.PACKAGE: SimpleNamespace(locate_file=folder.joinpath)}
    monkeypatch.setattr(imagenet_weights, "distribution", installed.__getitem__)
    return file
