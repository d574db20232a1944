"""Write files atomically: a reader sees the whole file or none.

Knows nothing of what the files mean.
"""

from __future__ import annotations

import csv
import errno
import hashlib
import io
import json
import os
import platform
import re
import secrets
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from sautomed.errors import UnwritableTarget

# Errors of the target's disk or folder, not of the program that writes.
_TARGET_ERRORS = {
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
        "ELOOP",
        "EFBIG",
        "EIO",
    )
    if hasattr(errno, name)  # Windows lacks some
}
_FULL_DISK_ERRORS = {getattr(errno, name) for name in ("ENOSPC", "EDQUOT", "EFBIG") if hasattr(errno, name)}
# A temporary file is called .MACHINE-PROCESS-RANDOM.NAME, so that the next run can tell whether its writer still runs.
_TEMPORARY = re.compile(r"\.(?P<machine>[0-9a-f]{4})-(?P<process>[0-9a-f]+)-[0-9a-f]{8}\.(?P<name>.+)")
_FOREIGN_LIFETIME_S = 24 * 3600.0  # ours: writing takes minutes; processes of another machine cannot be checked
_PROBE = "probe"
_being_written: set[Path] = set()


@contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` on success, delete it on failure.

    The temporary name ends as `path` does, for libraries that choose the format by the name. Parent folders are made.
    The bytes reach the disk before the rename, so that a crash leaves the old file or the new one.

    Args:
        path: The file to write; an existing file is replaced.
    Yields:
        An existing empty file in the same folder, to be written or replaced.
    Raises:
        UnwritableTarget: The folder or the file cannot be written, the disk is full, or `path` is no regular file.
    """
    target = Path(path)
    temporary = _temporary_for(target)
    _being_written.add(temporary)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _refuse_devices(target)
        temporary.open("xb").close()
        yield temporary
        _flush(temporary)
        temporary.replace(target)
        flush_folder(target.parent)
    except OSError as error:
        if error.errno in _TARGET_ERRORS and _concerns(error, target, temporary):
            raise UnwritableTarget(
                f"cannot be written: {error.strerror}.",
                where=target,
                cure="Choose another place with -o, or free space and permissions there.",
            ) from error
        raise
    finally:
        _being_written.discard(temporary)
        with suppress(OSError):  # never made, or renamed; an error is raised already
            temporary.unlink()


@contextmanager
def probe_in(folder: Path) -> Iterator[Path]:
    """Keep a file in a folder during the block, by which another machine tells whether it sees the same folder.

    Raises:
        UnwritableTarget: As `require_writable`.
    """
    require_writable(folder)
    folder.mkdir(parents=True, exist_ok=True)
    probe = _temporary_for(folder / _PROBE)
    _being_written.add(probe)
    try:
        probe.touch()
        yield probe
    finally:
        _being_written.discard(probe)
        probe.unlink(missing_ok=True)


@contextmanager
def full_disk_reported(folder: Path) -> Iterator[None]:
    """Raise UnwritableTarget for `folder` where a library that writes files there itself meets a full disk."""
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL_DISK_ERRORS:
            raise
        raise UnwritableTarget(
            f"cannot be written to: {error.strerror}.",
            where=folder,
            cure="Free space there, or choose another place with -o. Files that were complete are kept.",
        ) from error


def sweep_leftovers(folder: Path, names: Collection[str] | None = None) -> list[Path]:
    """Delete the temporary files that `atomic_write` left behind when its process was killed.

    Deletes only temporary files of these final names, and only if their writer is dead: a process of this machine that
    no longer runs, or a process of another machine whose file is unchanged for a day.

    Args:
        folder: Searched without its subfolders; it may be missing.
        names: Names of files that the caller is about to write itself; None: any, in a folder that no other command
            writes to.
    Returns:
        The deleted files.
    """
    if not folder.is_dir():
        return []
    swept = []
    for path in sorted(folder.glob(".*")):
        found = _TEMPORARY.fullmatch(path.name)
        if (
            found
            and (names is None or found["name"] in names or found["name"].rstrip("_") == _PROBE)
            and not _has_living_writer(path, found["machine"], int(found["process"], 16))
        ):
            path.unlink(missing_ok=True)
            swept.append(path)
    return swept


def require_writable(folder: Path, name: str = _PROBE) -> None:
    """Check that files can be written below `folder`, which need not exist yet; leaves no file.

    Args:
        name: The longest name that a file there will have.
    Raises:
        UnwritableTarget: A file is in the way, or the system refuses to write.
    """
    existing = nearest_folder(folder)
    if not existing.is_dir():
        raise UnwritableTarget(
            "is a file, but a folder is needed there.", where=existing, cure="Choose another place with -o."
        )
    probe = _temporary_for(existing / _PROBE.ljust(len(os.fsencode(name)), "_"))
    try:
        probe.write_bytes(b"?")
        _flush(probe)
    except OSError as error:
        raise UnwritableTarget(
            f"cannot be written to: {error.strerror}.",
            where=existing / name if error.errno == errno.ENAMETOOLONG else existing,
            cure="Choose another place or a shorter name with -o, or free space and permissions there.",
        ) from error
    finally:
        with suppress(OSError):
            probe.unlink(missing_ok=True)


def require_writable_file(path: Path) -> None:
    """Check that one file can be written or replaced.

    Raises:
        UnwritableTarget: As `require_writable`, or `path` is a folder, a device or a pipe.
    """
    if path.is_dir():
        raise UnwritableTarget(
            "is a folder, but a file must be written there.", where=path, cure="Remove it, or give another -o."
        )
    _refuse_devices(path)
    require_writable(path.parent, path.name)


def nearest_folder(path: Path) -> Path:
    """Return `path` itself if it exists, else its nearest parent that exists."""
    return next((place for place in (path, *path.absolute().parents) if place.exists()), path)


def write_text(path: str | Path, text: str) -> None:
    """Write UTF-8 text atomically, with the newlines as given; raises UnwritableTarget.

    Bytes of a file name that are not UTF-8 are written as an escape, which JSON reads back.
    """
    with atomic_write(path) as temporary:
        temporary.write_bytes(text.encode("utf-8", "backslashreplace"))


def csv_text(rows: Iterable[Sequence[object]]) -> str:
    """Return rows as CSV text with Unix line ends.

    Carriage returns become line feeds: Python's writer leaves a lone one unquoted, where readers end the line.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for row in rows:
        writer.writerow([_unix_lines(field) if isinstance(field, str) else field for field in row])
    return text.getvalue()


def write_json(path: str | Path, value: Any) -> None:
    """Write `value` atomically as indented JSON.

    Raises:
        ValueError: A number is not finite, which JSON lacks; put None instead.
        UnwritableTarget: As `atomic_write`.
    """
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def _unix_lines(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _temporary_for(target: Path) -> Path:
    return target.with_name(f".{_machine()}-{os.getpid():x}-{secrets.token_hex(4)}.{target.name}")


def _machine() -> str:
    """Return a hash of what process numbers belong to: this machine, and on Linux this container."""
    try:
        container = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        container = ""
    return hashlib.sha256(f"{platform.node()} {container}".encode()).hexdigest()[:4]


def _has_living_writer(path: Path, machine: str, process: int) -> bool:
    if path in _being_written:
        return True
    if machine == _machine() and (process == os.getpid() or not psutil.pid_exists(process)):
        return False
    try:  # on another machine, or the number may have been given to another process since
        return time.time() - path.stat().st_mtime < _FOREIGN_LIFETIME_S
    except FileNotFoundError:  # renamed to its final name just now
        return True


def _refuse_devices(target: Path) -> None:
    """Raise UnwritableTarget for a device or a pipe: other programs rely on it, and a file would replace it."""
    if target.exists() and not (target.is_file() or target.is_dir()):
        raise UnwritableTarget(
            "is a device or a pipe, which no file may replace.", where=target, cure="Choose another place with -o."
        )


def _concerns(error: OSError, target: Path, temporary: Path) -> bool:
    """Return whether an error is about the target; errors of other files in the caller's block stay as they are."""
    if error.filename is None:
        return True
    named = Path(os.fsdecode(error.filename))
    return named in (target, temporary) or named == target.parent or named in target.parents


def _flush(path: Path) -> None:
    # Opened for writing because some systems refuse to sync a descriptor that can only read.
    with path.open("rb+") as stream:
        os.fsync(stream.fileno())


def flush_folder(folder: Path) -> None:
    """Make new names in a folder durable, where the system lets a folder be opened."""
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
