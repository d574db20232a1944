"""Writing files so that a reader sees the whole file or none, and reading JSON with named faults.

Knows nothing of what the files mean.
"""

from __future__ import annotations

import errno
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from sautomed.errors import BadDatasetJson, MissingFile, SautomedError, UnwritableTarget

# Faults of the place, not of the program that writes.
_PLACE_FAULTS = {
    getattr(errno, name)
    for name in (
        "EACCES",
        "EPERM",
        "EROFS",
        "ENOSPC",
        "EDQUOT",
        "EISDIR",
        "ENOTDIR",
        "EEXIST",
        "ENAMETOOLONG",
        "EFBIG",
        "EIO",
    )
    if hasattr(errno, name)  # Windows lacks some
}


@contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; on success it becomes `path`, on failure it vanishes.

    The temporary name ends as `path` does, for libraries that choose the format by the name. Parent folders are made.
    The bytes reach the disk before the rename, so that a crash leaves the old file or the new one.

    Args:
        path: The file to write; an existing file is replaced.
    Yields:
        An existing empty file in the same folder, to be written or replaced.
    Raises:
        UnwritableTarget: The folder or the file cannot be written, or the disk is full.
    """
    target = Path(path)
    temporary = target.with_name(f".{secrets.token_hex(4)}.{target.name}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary.open("xb").close()
        yield temporary
        _flush(temporary)
        temporary.replace(target)
        _flush_folder(target.parent)
    except OSError as error:
        if error.errno in _PLACE_FAULTS and _concerns(error, target, temporary):
            raise UnwritableTarget(
                f"cannot be written: {error.strerror}.",
                where=target,
                cure="Choose another place with -o, or free space and permissions there.",
            ) from error
        raise
    finally:
        if temporary.parent.is_dir():
            temporary.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Write UTF-8 text atomically, with the newlines as given; raises UnwritableTarget."""
    with atomic_write(path) as temporary:
        temporary.write_bytes(text.encode("utf-8"))


def write_json(path: str | Path, value: Any) -> None:
    """Write `value` atomically as indented JSON.

    Raises:
        ValueError: A number is not finite, which JSON cannot say; put None instead.
        UnwritableTarget: As `atomic_write`.
    """
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: str | Path, fault: type[SautomedError] = BadDatasetJson) -> Any:
    """Read a JSON file.

    Raises:
        MissingFile: There is no such file.
        fault: It is not JSON; the message names line and column.
    """
    path = Path(path)
    require_file(path)
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except json.JSONDecodeError as error:
        raise fault(
            f"is not valid JSON: {error.msg} in line {error.lineno}, column {error.colno}.",
            where=path,
            cure="Correct the file at that place.",
        ) from error
    except UnicodeDecodeError as error:
        raise fault("is not UTF-8 text.", where=path, cure="Save it as UTF-8.") from error


def require_file(path: Path) -> None:
    """Raise MissingFile, with the nearest name in the folder, unless `path` is a file."""
    if path.is_file():
        return
    if path.is_dir():
        raise MissingFile("is a folder, but a file is needed here.", where=path, cure="Name one file in it.")
    if not path.parent.is_dir():
        raise MissingFile(
            f"does not exist, nor does the folder {path.parent}.",
            where=path,
            cure="Check the path, also for typing errors.",
        )
    near = get_close_matches(path.name, [entry.name for entry in path.parent.iterdir()], n=1)
    cure = f"Did you mean {near[0]}?" if near else "Check the path, also for typing errors."
    raise MissingFile("does not exist.", where=path, cure=cure)


def _concerns(error: OSError, target: Path, temporary: Path) -> bool:
    """Whether the fault lies with the target; a body may also fail on files of its own, which keep their own error."""
    if error.filename is None:
        return True
    named = Path(os.fsdecode(error.filename))
    return named in (target, temporary) or named == target.parent or named in target.parents


def _flush(path: Path) -> None:
    # Opened for writing because some systems refuse to sync a descriptor that can only read.
    with path.open("rb+") as stream:
        os.fsync(stream.fileno())


def _flush_folder(folder: Path) -> None:
    """Make the rename itself durable, where the system lets a folder be opened."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:  # Windows opens no folders
        return
    try:
        os.fsync(descriptor)
    except OSError:  # some network drives do not sync folders
        pass
    finally:
        os.close(descriptor)
