"""Read DICOM files from zip archives: every member is checked before any is opened, and nothing is unpacked to disk."""

from __future__ import annotations

import io
import re
import stat
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from sautomed.errors import TruncatedFile, UnsafeArchive
from sautomed.scans.dicom.damage import LIBRARY_ERRORS, reason, translate_errors

MEMBERS_LIMIT = 100_000  # ours: more than the whole record of a patient
MEMBER_LIMIT_BYTES = 2 << 30  # ours: an enhanced CT of 4000 slices
TOTAL_LIMIT_BYTES = 32 << 30
RATIO_LIMIT = 200  # ours: scans shrink 2 to 10 times; checked only above the next limit
RATIO_CHECKED_FROM_BYTES = 256 << 20
_DRIVE = re.compile(r"^[A-Za-z]:")
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # others may need gigabytes to start
_UNPACK = "Unpack it with a tool you trust, check its files, and give the folder."


class Archive:
    """A zip archive that passed the checks.

    Args:
        path: The archive.
    Raises:
        UnsafeArchive: A member leaves the archive, is a link or encrypted, or the members unpack to too much.
        TruncatedFile: The archive is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with translate_errors(path, path.name, "cannot be opened"), self._zip_file() as archive:
            found = [info for info in archive.infolist() if not info.is_dir()]
        self._check_sizes(found)
        for info in found:
            self._check_member(info)
        self._members = {info.filename: info for info in found}
        if len(self._members) < len(found):
            raise self._unsafe("holds two members of the same name")

    @property
    def members(self) -> tuple[str, ...]:
        """Names of its files."""
        return tuple(self._members)

    def size_of(self, member: str) -> int:
        """Return the size of a member in bytes, unpacked."""
        return self._members[member].file_size

    @contextmanager
    def opened(self) -> Iterator[OpenArchive]:
        """Open the archive once for many members."""
        with self._zip_file() as archive:
            yield OpenArchive(self, archive)

    @contextmanager
    def _zip_file(self) -> Iterator[zipfile.ZipFile]:
        try:
            with zipfile.ZipFile(self.path) as archive:
                yield archive
        except zipfile.BadZipFile as error:
            raise TruncatedFile(
                f"is a damaged zip archive ({reason(error)}).",
                where=self.path,
                cure="Copy or download it again: the transfer probably stopped early.",
            ) from error

    def _check_sizes(self, found: list[zipfile.ZipInfo]) -> None:
        if len(found) > MEMBERS_LIMIT:
            raise self._unsafe(f"holds {len(found)} members, more than the {MEMBERS_LIMIT} that are read")
        total = sum(info.file_size for info in found)
        packed = sum(info.compress_size for info in found)
        if total > TOTAL_LIMIT_BYTES:
            raise self._unsafe(f"would unpack to {total / 1e9:.1f} GB, more than the {TOTAL_LIMIT_BYTES / 1e9:.0f} GB")
        if total > RATIO_CHECKED_FROM_BYTES and total > RATIO_LIMIT * packed:
            raise self._unsafe(f"would unpack {packed} bytes to {total}, as only archives made for harm do")

    def _check_member(self, info: zipfile.ZipInfo) -> None:
        name = info.filename
        parts = re.split(r"[\\/]", name)
        if ".." in parts or name.startswith(("/", "\\")) or _DRIVE.match(name):
            raise self._unsafe(f"holds the member {name!a}, whose path leaves the archive")
        if stat.S_ISLNK(info.external_attr >> 16):
            raise self._unsafe(f"holds the member {name!a}, which is a link")
        if info.flag_bits & 0x1:
            raise self._unsafe(f"holds the member {name!a}, which is encrypted")
        if info.compress_type not in _METHODS:
            raise self._unsafe(f"holds the member {name!a}, compressed by a method that is not supported (not deflate)")
        if info.file_size > MEMBER_LIMIT_BYTES:
            raise self._unsafe(f"holds the member {name!a}, which would unpack to {info.file_size / 1e9:.1f} GB")
        if info.file_size > RATIO_CHECKED_FROM_BYTES and info.file_size > RATIO_LIMIT * info.compress_size:
            raise self._unsafe(f"holds the member {name!a}, which unpacks as only members made for harm do")

    def _unsafe(self, fault: str) -> UnsafeArchive:
        return UnsafeArchive(f"{fault}; nothing was unpacked.", where=self.path, cure=_UNPACK)


class OpenArchive:
    """An open archive whose members are read into memory."""

    def __init__(self, archive: Archive, opened: zipfile.ZipFile) -> None:
        self._archive = archive
        self._opened = opened

    def start_of(self, member: str, count: int) -> bytes:
        """Return the first bytes of a member."""
        return self._read(member, count)

    @contextmanager
    def open(self, member: str) -> Iterator[BinaryIO]:
        """Read a member into memory, which verifies its checksum."""
        yield io.BytesIO(self._read(member, self._archive.size_of(member) + 1))

    def _read(self, member: str, count: int) -> bytes:
        try:
            with self._opened.open(member) as stream:
                return stream.read(count)
        except (*LIBRARY_ERRORS, OSError) as error:
            raise TruncatedFile(
                f"holds the member {member!a}, which cannot be unpacked ({reason(error)}).",
                where=self._archive.path,
                cure="Copy or download it again: the transfer probably stopped early.",
            ) from error
