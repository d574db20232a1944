"""Check that a path is a file, read its JSON, compute its hash; each error names the file.

Knows nothing of what the files mean.
"""

from __future__ import annotations

import errno
import hashlib
import json
import stat
from collections.abc import Iterable
from contextlib import suppress
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from sautomed.errors import BadDatasetJson, DataError, MissingFile, SautomedError

# What the system says of a path where nothing can be: a link in a circle, or a name that no file there can have, too.
_NOTHING_THERE = (errno.ENOENT, errno.ENOTDIR, errno.EBADF, errno.ELOOP, errno.ENAMETOOLONG, errno.EINVAL)


def sha256_of(paths: Iterable[Path]) -> str:
    """Return the SHA-256 of one file's bytes; of several files, that of their sorted hashes, whatever their names.

    Raises:
        MissingFile: A file cannot be read.
    """
    hashes = [_sha256_of_file(path) for path in paths]
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("\n".join(sorted(hashes)).encode()).hexdigest()


def _sha256_of_file(path: Path) -> str:
    require_file(path)
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise MissingFile(
            f"cannot be read: {error.strerror}.", where=path, cure="Check the path and its permissions."
        ) from error


def read_json(path: str | Path, fault: type[SautomedError] = BadDatasetJson) -> Any:
    """Read a JSON file.

    Args:
        fault: Class of the error for a file that is not JSON.
    Raises:
        MissingFile: There is no such file, or it may not be read.
        DataError: The system cannot read it, as its disk fails.
        fault: It is not JSON; the message names line and column.
    """
    path = Path(path)
    content = read_bytes(path)
    try:
        return json.loads(content.decode("utf-8-sig"))
    except json.JSONDecodeError as error:
        raise fault(
            f"is not valid JSON: {error.msg} in line {error.lineno}, column {error.colno}.",
            where=path,
            cure="Correct the file at that place.",
        ) from error
    except UnicodeDecodeError as error:
        raise fault("is not UTF-8 text.", where=path, cure="Save it as UTF-8.") from error
    except (RecursionError, ValueError) as error:  # brackets within brackets, or a number of thousands of digits
        raise fault("is no JSON that can be read: it is nested too deep or has too long a number.", where=path,
                    cure="Write the file again with less depth or a shorter number.") from error  # fmt: skip


def read_bytes(path: Path) -> bytes:
    """Return the content of a file.

    Raises:
        MissingFile: There is no such file, or it may not be read.
        DataError: The system cannot read it, as its disk fails.
    """
    require_file(path)
    try:
        return path.read_bytes()
    except OSError as error:
        raise unreadable(path, error) from error


def require_file(path: Path) -> None:
    """Raise MissingFile unless `path` is a file; otherwise as `mode_of`."""
    mode = mode_of(path)
    if stat.S_ISREG(mode):
        return
    if stat.S_ISDIR(mode):
        raise MissingFile("is a folder, but a file is needed here.", where=path, cure="Name one file in it.")
    if mode:
        raise MissingFile("is a device or a pipe, but a file is needed here.", where=path, cure="Name a file.")
    refuse_missing(path)


def refuse_missing(path: Path) -> None:
    """Raise MissingFile, with the nearest name in the folder, if there is nothing at `path`; otherwise as `mode_of`."""
    if mode_of(path):
        return
    try:
        link = path.readlink()
    except (OSError, ValueError):  # it is none
        link = None
    if link is not None:
        raise MissingFile(
            f"is a link to {link}, which is not there.",
            where=path,
            cure="Fetch the file that it links to (as with git annex get), or remove the link.",
        )
    if not is_folder(path.parent):
        raise MissingFile(
            f"does not exist, nor does the folder {path.parent}.",
            where=path,
            cure="Check the path, also for typing errors.",
        )
    raise MissingFile("does not exist.", where=path, cure=cure_of_missing(path))


def is_folder(path: Path) -> bool:
    """Return whether there is a folder at a path; raises as `mode_of`."""
    return stat.S_ISDIR(mode_of(path))


def mode_of(path: Path) -> int:
    """Return the mode of what is at a path, by which `stat` tells files from folders; 0 if nothing is there.

    Raises:
        MissingFile: A folder above it may not be entered.
        DataError: The system cannot say, as its disk fails.
    """
    try:
        return path.stat().st_mode
    except ValueError:  # a null byte, which no name has
        return 0
    except PermissionError as error:
        folder = _closed_folder_above(path)
        raise MissingFile(
            f"may not be read: the folder {folder} may not be entered.",
            where=path,
            cure=f"Change the permissions of {folder}.",
        ) from error
    except OSError as error:
        if error.errno in _NOTHING_THERE:
            return 0
        raise unreadable(path, error) from error


def _closed_folder_above(path: Path) -> Path:
    """Return the folder that may not be entered, of a path that may not be looked at: the last that can be seen."""
    for folder in resolved_path(path).parents:
        with suppress(OSError):
            folder.stat()
            return folder
    return path.parent


def unreadable(path: Path, error: OSError) -> DataError:
    """Return the error of a file or folder that the system does not let be read."""
    if isinstance(error, PermissionError):
        return MissingFile("may not be read: permission denied.", where=path, cure="Change its permissions.")
    return DataError(
        f"cannot be read: {error.strerror or error}.",
        where=path,
        cure="Check the disk or the network drive that it is on, then try again.",
    )


def cure_of_missing(path: Path, other_names: Iterable[str] = ()) -> str:
    """Return the nearest name in the folder of a path that does not exist, or among other names."""
    try:
        names = [entry.name for entry in path.parent.iterdir()]
    except OSError:  # missing too, or not permitted
        names = []
    near = get_close_matches(path.name, [*names, *other_names], n=1)
    return f"Did you mean {near[0]}?" if near else "Check the path, also for typing errors."


def require_folder(path: Path) -> None:
    """Raise MissingFile unless `path` is a folder; otherwise as `mode_of`."""
    refuse_missing(path)
    if not is_folder(path):
        raise MissingFile(
            "is a file, but a folder is needed here.",
            where=path,
            cure=f"Give the folder that it is in, {path.parent}; or if it is an archive, the folder it unpacks to.",
        )


def resolved_path(path: Path) -> Path:
    """Return a path with all links resolved; for links that run in a circle, the absolute path itself."""
    try:
        return path.resolve()
    except (OSError, RuntimeError):  # which of them depends on the version of Python
        return path.absolute()


def is_broken_link(path: Path) -> bool:
    """Return whether a path is a link to a missing file, such as a git-annex file whose content was not fetched."""
    return path.is_symlink() and not path.exists()
