"""Writing files so that a reader sees the whole file or none, reading JSON with named faults, and hashes of files.

Knows nothing of what the files mean.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import platform
import re
import secrets
import time
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import psutil

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
# A temporary file is called .PLACE-PROCESS-CHANCE.NAME, so that the next run can tell whether its writer still lives.
_TEMPORARY = re.compile(r"\.(?P<place>[0-9a-f]{4})-(?P<process>[0-9a-f]+)-[0-9a-f]{8}\.(?P<name>.+)")
_FOREIGN_LIFE_S = 24 * 3600.0  # ours: a file is written in minutes; the writers of another machine cannot be asked
_PROBE = "probe"
_being_written: set[Path] = set()


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
    temporary = _temporary_for(target)
    _being_written.add(temporary)
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
        _being_written.discard(temporary)
        if temporary.parent.is_dir():
            temporary.unlink(missing_ok=True)


def sweep_leftovers(folder: Path, names: Collection[str]) -> list[Path]:
    """Take away what `atomic_write` left when its process was killed.

    Only temporary files of the given final names go, and only if their writer is dead: a process of this machine that
    no longer runs, or a file of another machine that nobody has written to for a day.

    Args:
        folder: Searched, without the folders in it; it may be missing.
        names: Names of files that the caller is about to write itself.
    Returns:
        What was taken away.
    """
    if not folder.is_dir():
        return []
    swept = []
    for path in sorted(folder.glob(".*")):
        found = _TEMPORARY.fullmatch(path.name)
        if (
            found
            and found["name"] in {*names, _PROBE}
            and not _has_living_writer(path, found["place"], int(found["process"], 16))
        ):
            path.unlink(missing_ok=True)
            swept.append(path)
    return swept


def require_writable(folder: Path) -> None:
    """Find out whether files can be written below `folder`, which need not exist yet, and leave no trace.

    Raises:
        UnwritableTarget: A file is in the way, or the system refuses to write.
    """
    standing = nearest_folder(folder)
    if not standing.is_dir():
        raise UnwritableTarget(
            "is a file, but a folder is needed there.", where=standing, cure="Choose another place with -o."
        )
    probe = _temporary_for(standing / _PROBE)
    try:
        probe.write_bytes(b"?")
        _flush(probe)
    except OSError as error:
        raise UnwritableTarget(
            f"cannot be written to: {error.strerror}.",
            where=standing,
            cure="Choose another place with -o, or free space and permissions there.",
        ) from error
    finally:
        with suppress(OSError):
            probe.unlink(missing_ok=True)


def nearest_folder(path: Path) -> Path:
    """`path` itself if it exists, else the nearest of its parents that does."""
    return next((place for place in (path, *path.absolute().parents) if place.exists()), path)


def sha256_of(paths: Iterable[Path]) -> str:
    """The SHA-256 of one file's bytes; of several files, that of their sorted hashes, whatever they are called.

    Raises:
        MissingFile: A file cannot be read.
    """
    hashes = [_sha256_of_file(path) for path in paths]
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("\n".join(sorted(hashes)).encode()).hexdigest()


def _sha256_of_file(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise MissingFile(
            f"cannot be read: {error.strerror}.", where=path, cure="Check the path and its permissions."
        ) from error


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


def _temporary_for(target: Path) -> Path:
    return target.with_name(f".{_place()}-{os.getpid():x}-{secrets.token_hex(4)}.{target.name}")


def _place() -> str:
    """What process numbers are valid in: this machine, and on Linux this container."""
    try:
        container = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        container = ""
    return hashlib.sha256(f"{platform.node()} {container}".encode()).hexdigest()[:4]


def _has_living_writer(path: Path, place: str, process: int) -> bool:
    if path in _being_written:
        return True
    if place == _place() and (process == os.getpid() or not psutil.pid_exists(process)):
        return False
    try:  # of another machine, or a number that another process may have been given since
        return time.time() - path.stat().st_mtime < _FOREIGN_LIFE_S
    except FileNotFoundError:  # it became what it was to become
        return True


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
