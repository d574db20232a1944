"""Where DICOM files are: a folder that is searched through, a zip, or a single file."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol

from sautomed.errors import MissingFile
from sautomed.scans.dicom.archive import Archive
from sautomed.scans.paths import require_file
from sautomed.scans.payload import open_bytes

_ZIP_MAGIC = b"PK\x03\x04"
_IGNORED_NAMES = ("DICOMDIR", "__MACOSX")


class Reader(Protocol):
    """An open place."""

    def start_of(self, member: str, count: int) -> bytes:
        """The first bytes of a file."""

    def open(self, member: str) -> AbstractContextManager[BinaryIO]:
        """A file, to be read and sought."""


class Place(Protocol):
    """Files by name.

    Args:
        path: What the user gave.
        members: The names of the files: relative to a folder, within an archive, or that of the one file.
    """

    path: Path

    @property
    def members(self) -> tuple[str, ...]: ...

    def size_of(self, member: str) -> int:
        """Bytes of a file."""

    def reading(self) -> AbstractContextManager[Reader]:
        """Open the place once for many files."""


def place_of(path: Path) -> Place:
    """The place that a path means.

    Raises:
        MissingFile: There is nothing there, or it may not be read.
        UnsafeArchive, TruncatedFile: As `Archive`.
    """
    if path.is_dir():
        return Folder(path, _members_below(path))
    require_file(path)
    with open_bytes(path) as stream:
        start = stream.read(132)
    return Archive(path) if is_zip(start) else Folder(path.parent, (path.name,), path)


def is_zip(start: bytes) -> bool:
    """Whether a file begins as a zip archive, and not as DICOM with such a preamble."""
    return start.startswith(_ZIP_MAGIC) and start[128:132] != b"DICM"


class Folder:
    """Files of a folder.

    Args:
        root: What the members are relative to.
        members: Their names, with / between folders.
        path: What the user gave, if not `root`.
    """

    def __init__(self, root: Path, members: tuple[str, ...], path: Path | None = None) -> None:
        self.root = root
        self.members = members
        self.path = path or root

    def size_of(self, member: str) -> int:
        """Bytes of a file; 0 if it is gone."""
        try:
            return (self.root / member).stat().st_size
        except OSError:
            return 0

    @contextmanager
    def reading(self) -> Iterator[Folder]:
        """Nothing needs opening."""
        yield self

    def start_of(self, member: str, count: int) -> bytes:
        """The first bytes of a file."""
        with open_bytes(self.root / member) as stream:
            return stream.read(count)

    @contextmanager
    def open(self, member: str) -> Iterator[BinaryIO]:
        """A file, to be read and sought."""
        # As text, because pydicom joins the name of a file to its messages.
        with _Bounded(io.FileIO(str(self.root / member))) as stream:
            yield stream


class _Bounded(io.BufferedReader):
    """A file that takes no memory for more bytes than it has, whatever length a header claims."""

    def __init__(self, raw: io.FileIO) -> None:
        super().__init__(raw)
        self._end = os.fstat(raw.fileno()).st_size

    def read(self, size: int | None = -1, /) -> bytes:
        left = max(self._end - self.tell(), 0)
        return super().read(left if size is None or size < 0 else min(size, left))


def _members_below(folder: Path) -> tuple[str, ...]:
    """All regular files below a folder that are not hidden, in a stable order; links to folders are not followed."""
    found = []
    try:
        for here, folders, files in os.walk(folder, onerror=_raise):
            folders[:] = sorted(name for name in folders if _wanted(name))
            near = Path(here).relative_to(folder)
            regular = [name for name in sorted(files) if _wanted(name) and (Path(here) / name).is_file()]
            found += [(near / name).as_posix() for name in regular]
    except OSError as error:
        raise MissingFile(
            f"holds the folder {error.filename}, which may not be read: {error.strerror}.",
            where=folder,
            cure="Change its permissions.",
        ) from error
    return tuple(found)


def _wanted(name: str) -> bool:
    return not name.startswith(".") and name.upper() not in _IGNORED_NAMES


def _raise(error: OSError) -> None:
    raise error
