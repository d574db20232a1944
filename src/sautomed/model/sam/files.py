"""Tensors from any container of SAM weights: PyTorch files, safetensors, transformers folders, the hub.

A container is recognised by its content, not by its name, and nothing in it is ever executed.
Knows nothing of the meaning of the tensors.
"""

from __future__ import annotations

import hashlib
import json
import pickle
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import torch
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    HFValidationError,
    HTTPError,  # httpx's or httpx2's, whichever the installed hub library uses
    OfflineModeIsEnabled,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
)
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from sautomed.errors import DamagedWeights, UnsafeWeights, WeightsNotFound, WrongWeights

# Names of the weights in a transformers folder, the preferred first. An index names the shards of a large model.
FOLDER_FILES = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
_FILE_ENDINGS = {".pth", ".pt", ".bin", ".ckpt", ".safetensors", ".npz", ".h5", ".onnx"}
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_TELLTALES = (
    (b"\x89HDF", "an HDF5 file (Keras writes such)"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"version https://git-lfs", "a Git LFS pointer, which only names the real file (`git lfs pull` fetches it)"),
    (b"<", "a web page, which is what a failed download leaves behind"),
)
_DOWNLOAD_CURE = (
    "Download it on another machine and give the path of the file, or take the official sam_vit_b_01ec64.pth."
)


def find_weights(source: str | Path) -> Path:
    """Find the file or folder that `source` names; a hub id is downloaded, or found in the hub's cache.

    Raises:
        WeightsNotFound: There is no such path, and it is no hub id that can be reached from here.
    """
    path = Path(source).expanduser()
    if path.exists():
        return path
    name = str(source)
    if path.is_absolute() or path.suffix.lower() in _FILE_ENDINGS or not _HUB_ID.fullmatch(name):
        raise WeightsNotFound(
            "there is no such file or folder.",
            where=name,
            cure="Give a weights file, a transformers folder, or a hub id like facebook/sam-vit-base.",
        )
    return _fetch(name)


def read_tensors(path: Path) -> dict[str, Any]:
    """Read the named entries of a weights file or transformers folder; PyTorch's are memory-mapped where possible.

    Returns:
        What the container maps its names to: tensors, and for a PyTorch file whatever else was saved.
    Raises:
        WrongWeights: It is no container of PyTorch tensors; the message says what it seems to be.
        DamagedWeights: It is cut short or its structure is broken.
        UnsafeWeights: It holds objects that would run code.
        WeightsNotFound: A folder holds no weights, or lacks a shard.
    """
    return _read_folder(path) if path.is_dir() else _read_file(path)


def hash_of_numbers(state: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of tensors by name: the same for the same numbers, in any container."""
    digest = hashlib.sha256()
    for key in sorted(state):
        tensor = state[key].detach().to("cpu", torch.float32).contiguous()
        digest.update(f"{key} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.numpy().data)
    return digest.hexdigest()


def _read_file(path: Path) -> dict[str, Any]:
    with path.open("rb") as stream:
        head = stream.read(512)
    if not head:
        raise DamagedWeights("the file is empty.", where=path, cure="Download or copy it again.")
    if head.startswith(b"PK"):
        return _read_zip(path)
    if head[0] == 0x80 and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return _load_torch(path, mapped=False)
    if len(head) > 8 and head[8:9] == b"{":
        return _load_safetensors(path)
    raise WrongWeights(
        f"these are no PyTorch weights; the content looks like {_looks_like(head)}.",
        where=path,
        cure="Give a SAM checkpoint such as sam_vit_b_01ec64.pth, or a .safetensors file of one.",
    )


def _read_zip(path: Path) -> dict[str, Any]:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except zipfile.BadZipFile as error:
        raise DamagedWeights(
            "the file is cut short: its table of contents, at the end, is missing.",
            where=path,
            cure="Download or copy it again.",
        ) from error
    program = any("/code/" in name for name in names)
    if not program and any(name.endswith("data.pkl") for name in names):
        return _load_torch(path, mapped=True)
    if program:
        kind = "a TorchScript program"
    elif names and all(name.endswith(".npy") for name in names):
        kind = f"a NumPy archive (first entry {names[0]!r}; TransUNet's R50+ViT-B_16.npz is of this kind)"
    else:
        kind = "an ordinary zip archive"
    raise WrongWeights(
        f"this is {kind}, not a SAM checkpoint.", where=path, cure="Give a SAM checkpoint such as sam_vit_b_01ec64.pth."
    )


def _load_torch(path: Path, mapped: bool) -> dict[str, Any]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except pickle.UnpicklingError as error:
        _refuse_pickle(path, error)
    except (RuntimeError, EOFError, ValueError, KeyError, IndexError, AttributeError, TypeError) as error:
        raise DamagedWeights(
            "PyTorch cannot read this file; it is cut short or damaged.", where=path, cure="Download or copy it again."
        ) from error
    if not isinstance(content, dict):
        raise WrongWeights(
            f"the file holds a {type(content).__name__}, not a dictionary of tensors.",
            where=path,
            cure="Give a file made with torch.save(model.state_dict(), path).",
        )
    return content


def _refuse_pickle(path: Path, error: pickle.UnpicklingError) -> NoReturn:
    named = re.search(r"(?:GLOBAL|class|function|name)\s+`?([A-Za-z_][\w]*(?:\.\w+)+)", str(error))
    if not named:
        raise DamagedWeights(
            "PyTorch cannot read this file; it is cut short, damaged or no weights file.",
            where=path,
            cure="Download or copy it again.",
        ) from error
    raise UnsafeWeights(
        f"besides tensors the file holds a Python object ({named[1]}), and reading it could run any code.",
        where=path,
        cure="If you trust it, load it with torch.load(..., weights_only=False) and save only its state "
        "dict, such as torch.save(content['model'], 'weights.pth').",
    ) from error


def _load_safetensors(path: Path) -> dict[str, Any]:
    try:
        return dict(load_file(path))
    except SafetensorError as error:
        raise DamagedWeights(
            f"the safetensors file is cut short or damaged ({error}).", where=path, cure="Download or copy it again."
        ) from error


def _looks_like(head: bytes) -> str:
    for start, kind in _TELLTALES:
        if head.startswith(start):
            return kind
    try:
        line = head.decode().splitlines()[0]
    except UnicodeDecodeError:  # a character may straddle the end of what was read, but then too text is unlikely
        return "binary data of a kind that sautomed does not know"
    return f"text that begins {line[:40]!r}"


def _read_folder(folder: Path) -> dict[str, Any]:
    _check_model_type(folder / "config.json")
    for name in FOLDER_FILES:
        if not (folder / name).is_file():
            continue
        return _read_shards(folder / name) if name.endswith(".json") else _read_file(folder / name)
    present = ", ".join(sorted(entry.name for entry in folder.iterdir())[:8]) or "nothing"
    raise WeightsNotFound(
        f"the folder holds none of {', '.join(FOLDER_FILES)}; there is {present}.",
        where=folder,
        cure="Give the folder that holds model.safetensors, or the path of one weights file.",
    )


def _check_model_type(config: Path) -> None:
    if not config.is_file():
        return
    content = _read_json(config)
    kind = content.get("model_type")
    if kind != "sam":
        says = f"of the type {kind!r}" if kind else "that names no model type"
        raise WrongWeights(
            f"the folder's config.json is one {says}, not 'sam'.",
            where=config.parent,
            cure="Give SAM's weights, e.g. facebook/sam-vit-base; SAM 2 and 3 are other networks.",
        )


def _read_shards(index: Path) -> dict[str, Any]:
    shards = _read_json(index).get("weight_map")
    if not isinstance(shards, dict):
        raise DamagedWeights("the index of shards has no weight_map.", where=index, cure="Download the folder again.")
    tensors: dict[str, Any] = {}
    for name in sorted({str(shard) for shard in shards.values()}):
        shard = index.parent / Path(name).name  # an index names files beside it, nothing elsewhere
        if not shard.is_file():
            raise WeightsNotFound(
                f"the shard {name}, which the index names, is not there.",
                where=index.parent,
                cure="Download the folder again, all of it.",
            )
        tensors.update(_read_file(shard))
    return tensors


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # bad JSON and bad UTF-8 alike
        raise DamagedWeights(
            f"the file is no valid JSON ({error}).", where=path, cure="Download the folder again."
        ) from error
    if not isinstance(content, dict):
        raise DamagedWeights("the file holds no JSON object.", where=path, cure="Download the folder again.")
    return content


def _fetch(hub_id: str) -> Path:
    """Return the folder in the hub's cache with the weights of `hub_id`, downloaded if missing.

    Raises:
        WeightsNotFound: The hub cannot be reached, or has no such weights.
    """
    for cached_only in (True, False):  # what is in the cache needs no network, and must not wait for one
        for name in FOLDER_FILES[::2]:  # the sharded forms exist only for models far larger than SAM
            weights = _download(hub_id, name, cached_only)
            if weights:
                _download(hub_id, "config.json", cached_only)  # which shows another kind of model at once
                return weights.parent
    raise WeightsNotFound(
        f"the hub's model holds neither {FOLDER_FILES[0]} nor {FOLDER_FILES[2]}.", where=hub_id, cure=_DOWNLOAD_CURE
    )


def _download(hub_id: str, name: str, cached_only: bool) -> Path | None:
    """Fetch one file of a hub's model; None if the hub (the cache, if `cached_only`) does not have it."""
    try:
        return Path(hf_hub_download(hub_id, name, local_files_only=cached_only))
    except RemoteEntryNotFoundError:
        return None
    except RepositoryNotFoundError as error:
        raise WeightsNotFound(
            "this is no file or folder here, and the hub has no public model of that name.",
            where=hub_id,
            cure=_DOWNLOAD_CURE,
        ) from error
    except (EntryNotFoundError, OfflineModeIsEnabled, HFValidationError, HTTPError, OSError) as error:
        if cached_only:
            return None
        raise WeightsNotFound(
            "this is no file or folder here and not in the hub's cache, and the hub cannot be reached.",
            where=hub_id,
            cure=_DOWNLOAD_CURE,
        ) from error
