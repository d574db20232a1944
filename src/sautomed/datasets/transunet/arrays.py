"""Read named arrays from .npz and HDF5 files, recognised by content. Nothing in a file is ever executed."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from sautomed.errors import NotAScan, TruncatedFile
from sautomed.errors.text import listed
from sautomed.scans.paths import require_file
from sautomed.scans.values import require_numbers

LIMIT_BYTES = 1 << 30  # ours: 512 slices of 512 x 512 as float64
_NPY_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
_FAULTS = (
    *(OSError, EOFError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RuntimeError),
    *(zipfile.BadZipFile, zlib.error),
)


def read_array(path: Path, key: str) -> NDArray[Any]:
    """Read the array named `key`.

    Raises:
        MissingFile: There is no such file.
        NotAScan: The file is of another kind, has no such array, or a larger one than `LIMIT_BYTES`.
        TruncatedFile: The file is damaged, or the array holds Python objects.
        UnsupportedVoxels: The array holds no numbers.
    """
    from h5py import is_hdf5  # here, since every command imports this module and few read HDF5

    require_file(path)
    if zipfile.is_zipfile(path):
        array = _read_npz(path, key)
    elif is_hdf5(path):
        array = _read_hdf5(path, key)
    else:
        raise NotAScan("is neither .npz nor HDF5.", where=path, cure="Copy or download it again.")
    require_numbers(array.dtype, path)
    return array


def _read_npz(path: Path, key: str) -> NDArray[Any]:
    with _as_truncated_file(path), zipfile.ZipFile(path) as archive:
        members = {info.filename: info.file_size for info in archive.infolist()}
        _require_key(f"{key}.npy" in members, key, sorted(members), path)
        _require_small(members[f"{key}.npy"], path)
        with archive.open(f"{key}.npy") as stream:
            return _read_npy(stream, members[f"{key}.npy"])


def _read_npy(stream: IO[bytes], size: int) -> NDArray[Any]:
    """Read as numpy does, but without allocating more than the file holds. Raises ValueError."""
    version = np.lib.format.read_magic(stream)
    if version not in _NPY_HEADERS:
        raise ValueError(f"npy version {version[0]}.{version[1]}")
    shape, by_column, dtype = _NPY_HEADERS[version](stream)
    if dtype.hasobject:
        raise ValueError("it holds Python objects")
    promised = prod(shape) * dtype.itemsize
    if promised > size:
        raise ValueError(f"its header promises {promised} bytes, but it has {size}")
    content = bytearray(stream.read(promised))
    return np.frombuffer(content, dtype).reshape(shape, order="F" if by_column else "C")


def _read_hdf5(path: Path, key: str) -> NDArray[Any]:
    from h5py import Dataset, File

    with _as_truncated_file(path), File(path, "r") as file:
        found = file.get(key)
        _require_key(isinstance(found, Dataset), key, sorted(map(str, file)), path)
        _require_small(prod(found.shape) * found.dtype.itemsize, path)
        return np.asarray(found)


def _require_key(present: bool, key: str, keys: list[str], path: Path) -> None:
    if not present:
        raise NotAScan(
            f"holds no array {key!r}, but {listed(keys) or 'nothing'}.",
            where=path,
            cure="Each file needs an image and a label of one shape.",
        )


def _require_small(size: int, path: Path) -> None:
    if size > LIMIT_BYTES:
        raise NotAScan(
            f"promises an array of {size / 1e9:.1f} GB, more than the {LIMIT_BYTES / 1e9:.1f} GB that are read.",
            where=path,
            cure="Copy or download it again.",
        )


@contextmanager
def _as_truncated_file(path: Path) -> Iterator[None]:
    """Turn the exceptions that the libraries raise for a damaged file into TruncatedFile."""
    try:
        yield
    except _FAULTS as error:
        raise TruncatedFile(f"cannot be read ({error}).", where=path, cure="Copy or download it again.") from error
