"""R50+ViT-B_16.npz, the ImageNet weights of TransUNet's encoder as Google's JAX code wrote them.

JAX stores a convolution as (height, width, in, out), a dense layer as (in, out), and the attention's projections with
the heads as a separate axis. The classifier in the file is not read. Knows the network only by its parameters' names.
"""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from scipy import ndimage
from torch import Tensor, nn

from sautomed.baselines.pretrained import Shape, check_entries, find_weights_file, refuse_faults
from sautomed.config.baselines import TransUNetSettings
from sautomed.errors import DamagedWeights, UnsafeWeights, WrongWeights

_CURE = "Give R50+ViT-B_16.npz of Google's vision transformers (ImageNet-21k), or leave model.weights out."
_CLASSIFIER = ("cls", "head/", "pre_logits/")
_OUR_POSITIONS, _POSITIONS = "transformer.positions", "Transformer/posembed_input/pos_embedding"
_PUBLIC_GRID = 14  # tokens along a side in the public file


@dataclass(frozen=True)
class Entry:
    """The arrays of the file that become one parameter of the network.

    Attributes:
        names: One array, or several that are concatenated along the first axis.
        shape: Of each array in the file.
        to_torch: Changes an array from the file's layout to PyTorch's.
    """

    names: tuple[str, ...]
    shape: Shape
    to_torch: Callable[[np.ndarray], np.ndarray] = np.asarray


def load_imagenet(network: nn.Module, settings: TransUNetSettings, weights: str) -> None:
    """Copy the file's numbers into a TransUNet's modules `resnet` and `transformer`; the others stay as they are.

    Args:
        settings: Of the network.
        weights: The file.
    Raises:
        WeightsNotFound: There is no such file.
        WrongWeights: It is something else, or entries are missing, unexpected or misshapen; all are listed.
        DamagedWeights: It is cut short or broken.
        UnsafeWeights: It holds objects that would run code.
    """
    path = find_weights_file(weights, _CURE)
    own = network.state_dict()
    entries = dict(_entries({name: tuple(tensor.shape) for name, tensor in own.items()}, settings))
    shapes = {name: entry.shape for entry in entries.values() for name in entry.names}
    arrays = _check_arrays(_read(path, {*shapes, _POSITIONS}), shapes, path)
    with torch.no_grad():
        for parameter, entry in entries.items():
            parts = [entry.to_torch(arrays[name]) for name in entry.names]
            own[parameter].copy_(torch.from_numpy(np.concatenate(parts)))
        positions = own[_OUR_POSITIONS]
        positions.copy_(_resize_positions(arrays[_POSITIONS], math.isqrt(positions.shape[1])))


def _check_arrays(arrays: dict[str, np.ndarray], shapes: dict[str, Shape], path: Path) -> dict[str, np.ndarray]:
    """Return the arrays that the network needs, in the wanted shapes; the file has group norms as (1, 1, 1, c)."""
    wanted = {**shapes, _POSITIONS: _position_shape(arrays.get(_POSITIONS), shapes["Transformer/encoder_norm/scale"])}
    found = {name: _without_leading_ones(array.shape, len(wanted.get(name, ()))) for name, array in arrays.items()}
    check_entries(found, wanted, path, _CURE)
    is_float = {name: np.issubdtype(array.dtype, np.floating) for name, array in arrays.items()}
    faults = {
        "not floating point": [name for name in arrays if not is_float[name]],
        "not finite": [name for name, array in arrays.items() if is_float[name] and not np.isfinite(array).all()],
    }
    refuse_faults(faults, path, _CURE)
    return {name: arrays[name].reshape(shape) for name, shape in wanted.items()}


def _position_shape(table: np.ndarray | None, width: Shape) -> Shape:
    """Return the shape of a class token and a square grid: the largest that the table can hold, or the public one."""
    grid = _PUBLIC_GRID
    if table is not None and table.ndim == 3 and table.shape[1] > 1:
        grid = math.isqrt(table.shape[1] - 1)
    return (1, grid * grid + 1, *width)


def _without_leading_ones(shape: Shape, axes: int) -> Shape:
    while len(shape) > axes and shape[0] == 1:
        shape = shape[1:]
    return shape


def _resize_positions(table: Float[np.ndarray, "1 tokens d"], grid: int) -> Float[Tensor, "1 tokens2 d"]:
    """Interpolate positions linearly to another grid, as in the public code; the class token's is left out."""
    places = table[0, 1:].astype(np.float32)
    old = math.isqrt(len(places))
    if old != grid:
        square = places.reshape(old, old, -1)
        places = ndimage.zoom(square, (grid / old, grid / old, 1), order=1).reshape(grid * grid, -1)
    return torch.from_numpy(places)[None]


def _entries(shapes: Mapping[str, Shape], settings: TransUNetSettings) -> Iterator[tuple[str, Entry]]:
    """Yield the entry of each parameter of the encoder but the positions.

    Args:
        shapes: Of the network's parameters.
    """
    yield from _conv_and_norm(shapes, "resnet.conv", "conv_root", "resnet.norm", "gn_root")
    for stage, units in enumerate(settings.units):
        for unit in range(units):
            yield from _bottleneck(shapes, f"resnet.stages.{stage}.{unit}", f"block{stage + 1}/unit{unit + 1}")
    yield "transformer.embed.weight", _conv("embedding", shapes["transformer.embed.weight"])
    yield "transformer.embed.bias", Entry(("embedding/bias",), shapes["transformer.embed.bias"])
    yield from _norm(shapes, "transformer.norm", "Transformer/encoder_norm")
    for layer in range(settings.layers):
        ours, theirs = f"transformer.layers.{layer}", f"Transformer/encoderblock_{layer}"
        yield from _layer(shapes, ours, theirs, settings.heads)


def _bottleneck(shapes: Mapping[str, Shape], ours: str, theirs: str) -> Iterator[tuple[str, Entry]]:
    pairs = [(f"conv{number}", f"conv{number}", f"gn{number}", f"gn{number}") for number in (1, 2, 3)]
    if f"{ours}.shortcut.0.weight" in shapes:
        pairs.append(("shortcut.0", "conv_proj", "shortcut.1", "gn_proj"))
    for conv, their_conv, norm, their_norm in pairs:
        names = f"{ours}.{conv}", f"{theirs}/{their_conv}", f"{ours}.{norm}", f"{theirs}/{their_norm}"
        yield from _conv_and_norm(shapes, *names)


def _layer(shapes: Mapping[str, Shape], ours: str, theirs: str, heads: int) -> Iterator[tuple[str, Entry]]:
    dim = shapes[f"{ours}.norm1.weight"][0]
    channels_per_head, attention = dim // heads, f"{theirs}/MultiHeadDotProductAttention_1"
    projections = tuple(f"{attention}/{part}" for part in ("query", "key", "value"))
    yield from _norm(shapes, f"{ours}.norm1", f"{theirs}/LayerNorm_0")
    yield from _norm(shapes, f"{ours}.norm2", f"{theirs}/LayerNorm_2")
    yield (
        f"{ours}.self_attn.in_proj_weight",
        Entry(
            tuple(f"{p}/kernel" for p in projections),
            (dim, heads, channels_per_head),
            lambda kernel: kernel.reshape(dim, dim).T,
        ),
    )
    yield (
        f"{ours}.self_attn.in_proj_bias",
        Entry(tuple(f"{p}/bias" for p in projections), (heads, channels_per_head), np.ravel),
    )
    yield (
        f"{ours}.self_attn.out_proj.weight",
        Entry((f"{attention}/out/kernel",), (heads, channels_per_head, dim), lambda kernel: kernel.reshape(dim, dim).T),
    )
    yield f"{ours}.self_attn.out_proj.bias", Entry((f"{attention}/out/bias",), (dim,))
    for number in (1, 2):
        name = f"{theirs}/MlpBlock_3/Dense_{number - 1}"
        out, into = shapes[f"{ours}.linear{number}.weight"]
        yield f"{ours}.linear{number}.weight", Entry((f"{name}/kernel",), (into, out), np.transpose)
        yield f"{ours}.linear{number}.bias", Entry((f"{name}/bias",), (out,))


def _conv_and_norm(
    shapes: Mapping[str, Shape], conv: str, their_conv: str, norm: str, their_norm: str
) -> Iterator[tuple[str, Entry]]:
    yield f"{conv}.weight", _conv(their_conv, shapes[f"{conv}.weight"])
    yield from _norm(shapes, norm, their_norm)


def _conv(theirs: str, shape: Shape) -> Entry:
    out, into, height, width = shape
    return Entry((f"{theirs}/kernel",), (height, width, into, out), lambda kernel: kernel.transpose(3, 2, 0, 1))


def _norm(shapes: Mapping[str, Shape], ours: str, theirs: str) -> Iterator[tuple[str, Entry]]:
    yield f"{ours}.weight", Entry((f"{theirs}/scale",), shapes[f"{ours}.weight"])
    yield f"{ours}.bias", Entry((f"{theirs}/bias",), shapes[f"{ours}.bias"])


def _read(path: Path, wanted: set[str]) -> dict[str, np.ndarray]:
    """Read the wanted arrays of an .npz file; each unexpected one is empty, so that only its name is reported."""
    try:
        archive = np.load(path, allow_pickle=False)
    except (zipfile.BadZipFile, EOFError) as error:
        raise _damaged("the file", path) from error
    except (ValueError, OSError) as error:  # NumPy takes unknown content for a pickle and refuses it
        raise _not_npz(path) from error
    if not isinstance(archive, np.lib.npyio.NpzFile):
        raise _not_npz(path)
    arrays = {}
    with archive:
        for name in archive.files:
            if name in wanted:
                arrays[name] = _read_array(archive, name, path)
            elif not name.startswith(_CLASSIFIER):
                arrays[name] = np.zeros(0)
    return arrays


def _read_array(archive: np.lib.npyio.NpzFile, name: str, path: Path) -> np.ndarray:
    try:
        return np.asarray(archive[name])
    except ValueError as error:
        if "allow_pickle" in str(error):
            raise UnsafeWeights(
                f"{name} holds Python objects, and reading them could run any code.", where=path, cure=_CURE
            ) from error
        raise _damaged(name, path) from error
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, KeyError) as error:
        raise _damaged(name, path) from error


def _damaged(name: str, path: Path) -> DamagedWeights:
    return DamagedWeights(f"{name} cannot be read.", where=path, cure="Download or copy the file again.")


def _not_npz(path: Path) -> WrongWeights:
    return WrongWeights("this is no NumPy archive (.npz).", where=path, cure=_CURE)
