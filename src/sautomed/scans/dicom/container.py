"""Files of a DICOM scan by name: in a folder that is searched recursively, in a zip, or a single file."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol

from sautomed.scans.dicom.archive import Archive
from sautomed.scans.paths import require_file, unreadable
from sautomed.scans.payload import open_bytes

_ZIP_MAGIC = b"PK\x03\x04"
_IGNORED_NAMES = ("DICOMDIR", "__MACOSX")


class OpenContainer(Protocol):
    """A container whose files can be read."""

    def start_of(self, member: str, count: int) -> bytes:
        """Return the first bytes of a file."""

    def open(self, member: str) -> AbstractContextManager[BinaryIO]:
        """Open a file for reading and seeking."""


class Container(Protocol):
    """A folder, a zip or a single file.

    Args:
        path: The path that the user gave.
        members: Names of the files: relative to the folder, within the zip, or that of the single file.
    """

    path: Path

    @property
    def members(self) -> tuple[str, ...]: ...

    def size_of(self, member: str) -> int:
        """Return the size of a file in bytes, uncompressed."""

    def opened(self) -> AbstractContextManager[OpenContainer]:
        """Open the container once for many files."""


def container_at(path: Path) -> Container:
    """Return the folder, zip or file at a path.

    Raises:
        MissingFile, DataError: There is nothing at the path, or it cannot be read.
        UnsafeArchive, TruncatedFile: As `Archive`.
    """
    if path.is_dir():
        return Folder(path, _members_below(path))
    require_file(path)
    with open_bytes(path) as stream:
        start = stream.read(132)
    return Archive(path) if is_zip(start) else Folder(path.parent, (path.name,), path)


def is_zip(start: bytes) -> bool:
    """Whether a file starts as a zip archive, and is not DICOM with a preamble that looks like one."""
    return start.startswith(_ZIP_MAGIC) and start[128:132] != b"DICM"


class Folder:
    """Files of a folder.

    Args:
        root: The folder that `members` are relative to.
        members: Names of the files, with / between folders.
        path: The path that the user gave, if not `root`.
    """

    def __init__(self, root: Path, members: tuple[str, ...], path: Path | None = None) -> None:
        self.root = root
        self.members = members
        self.path = path or root

    def size_of(self, member: str) -> int:
        """Return the size of a file in bytes; 0 if it was deleted."""
        try:
            return (self.root / member).stat().st_size
        except OSError:
            return 0

    @contextmanager
    def opened(self) -> Iterator[Folder]:
        """Return the folder itself: nothing needs opening."""
        yield self

    def start_of(self, member: str, count: int) -> bytes:
        """Return the first bytes of a file."""
        with open_bytes(self.root / member) as stream:
            return stream.read(count)

    @contextmanager
    def open(self, member: str) -> Iterator[BinaryIO]:
        """Open a file for reading and seeking."""
        # As text, because pydicom joins the name of a file to its messages.
        with _BoundedReader(io.FileIO(str(self.root / member))) as stream:
            yield stream


class _BoundedReader(io.BufferedReader):
    """A file that never allocates more bytes than it has, whatever length a header claims."""

    def __init__(self, raw: io.FileIO) -> None:
        super().__init__(raw)
        self._end = os.fstat(raw.fileno()).st_size

    def read(self, size: int | None = -1, /) -> bytes:
        left = max(self._end - self.tell(), 0)
        return super().read(left if size is None or size < 0 else min(size, left))


def _members_below(folder: Path) -> tuple[str, ...]:
    """Return all regular files below a folder that are not hidden, sorted; links to folders are not followed."""
    members = []
    try:
        for here, folders, files in os.walk(folder, onerror=_raise):
            folders[:] = sorted(name for name in folders if _is_searched(name))
            relative = Path(here).relative_to(folder)
            regular = [name for name in sorted(files) if _is_searched(name) and (Path(here) / name).is_file()]
            members += [(relative / name).as_posix() for name in regular]
    except OSError as error:
        raise unreadable(Path(error.filename), error) from error
    return tuple(members)


def _is_searched(name: str) -> bool:
    return not name.startswith(".") and name.upper() not in _IGNORED_NAMES


def _raise(error: OSError) -> None:
    raise error
