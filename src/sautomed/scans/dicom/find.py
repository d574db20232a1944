"""Find all DICOM slices in a folder, a zip or a file, whatever the files are called."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from sautomed.errors import NotAScan
from sautomed.scans.contents import is_dicom
from sautomed.scans.dicom.container import Container, OpenContainer, container_at, is_zip
from sautomed.scans.dicom.header import Slice, read_slices

_START_BYTES = 256
_SCAN_ENDINGS = (".dcm", ".ima", ".dicom")
_DIGEST_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class FoundSlices:
    """DICOM slices in a folder, zip or file.

    Args:
        container: Where the files are.
        slices: Of all series, in the order of the files.
        warnings: Files that were left out although a user may expect them.
    """

    container: Container
    slices: list[Slice]
    warnings: tuple[str, ...]


def find(path: Path) -> FoundSlices:
    """Read the header of every DICOM file; skip other files, hidden ones, DICOMDIR and zips within a zip.

    Raises:
        NotAScan: There is no DICOM file.
        DamagedDicom: A DICOM file has a header that cannot be read.
        MissingFile, UnsafeArchive, TruncatedFile, DataError: As `container_at`.
    """
    container = container_at(path)
    slices: list[Slice] = []
    misnamed = []
    with container.opened() as files:
        for member in container.members:
            start = files.start_of(member, _START_BYTES)
            if is_dicom(start) and not is_zip(start):
                has_magic = start[128:132] == b"DICM"
                with files.open(member) as stream:
                    slices += read_slices(stream, path, member, container.size_of(member), has_magic)
            elif member.lower().endswith(_SCAN_ENDINGS):
                misnamed.append(member)
        slices, copies = _without_copies(slices, files)
    if not slices:
        raise NotAScan(
            f"holds no DICOM file: none of its {len(container.members)} files begins as one.",
            where=path,
            cure="Give the folder or the zip with the files of a series, or a NIfTI, NRRD or MHA file.",
        )
    warnings = []
    if misnamed:
        warnings.append(f"{path}: files named as DICOM that are none: {len(misnamed)}, the first {misnamed[0]}.")
    if copies:
        warnings.append(f"{path}: exact copies of other files, left out: {len(copies)}, the first {copies[0]}.")
    return FoundSlices(container, slices, tuple(warnings))


def _without_copies(slices: list[Slice], files: OpenContainer) -> tuple[list[Slice], list[str]]:
    """Drop files that equal another one byte for byte, as after exporting twice; also return their names."""
    members: dict[str, list[str]] = defaultdict(list)
    for item in slices:
        member, uid = item.file.member, item.file.identity.sop_instance
        if uid and member not in members[uid]:
            members[uid].append(member)
    copies = []
    for same_uid in members.values():
        seen = set()
        for member in same_uid if len(same_uid) > 1 else ():
            digest = _digest(member, files)
            if digest in seen:
                copies.append(member)
            seen.add(digest)
    dropped = set(copies)
    return [item for item in slices if item.file.member not in dropped], copies


def _digest(member: str, files: OpenContainer) -> bytes:
    digest = hashlib.sha256()
    with files.open(member) as stream:
        while chunk := stream.read(_DIGEST_CHUNK_BYTES):
            digest.update(chunk)
    return digest.digest()
