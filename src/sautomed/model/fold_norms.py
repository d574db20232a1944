"""Batch norms folded into the convolutions before them, which makes inference through a small trunk a third quicker."""

from collections.abc import Iterator
from itertools import pairwise

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from sautomed.model.trunk_efficientnet_lite import SameConv2d
from sautomed.model.trunk_resnet import NormedConvolution

FOLDABLE = (nn.Conv2d, SameConv2d)  # others may change their weights on the way, as weight standardisation does


def fold_norms(network: nn.Module) -> None:
    """Fold every batch norm that directly follows a convolution into it; the outputs stay, up to rounding.

    Args:
        network: In evaluation mode; it cannot be trained any more.
    """
    for module in list(network.modules()):
        for before, after in list(_consecutive(module)):
            convolution, norm = module.get_submodule(before), module.get_submodule(after)
            if not isinstance(convolution, nn.Conv2d) or not isinstance(norm, nn.BatchNorm2d):
                continue
            if type(convolution) in FOLDABLE:
                setattr(module, before, fuse_conv_bn_eval(convolution, norm))
                setattr(module, after, nn.Identity())


def _consecutive(module: nn.Module) -> Iterator[tuple[str, str]]:
    """Return the names of children that surely run one after the other."""
    if isinstance(module, NormedConvolution):
        yield "convolution", "normalization"
    elif type(module).forward is nn.Sequential.forward:
        yield from pairwise(name for name, _ in module.named_children())
