"""All DICOM slices in a folder, a zip or a file, whatever the files are called."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from sautomed.errors import NotAScan
from sautomed.scans.contents import is_dicom
from sautomed.scans.dicom.header import Slice, read_slices
from sautomed.scans.dicom.place import Place, Reader, is_zip, place_of

_START_BYTES = 256
_SCAN_ENDINGS = (".dcm", ".ima", ".dicom")
_DIGEST_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class Found:
    """What a place holds.

    Args:
        place: Where the files are.
        slices: Of all series, in the order of the files.
        warnings: What was left out and may be missed.
    """

    place: Place
    slices: list[Slice]
    warnings: tuple[str, ...]


def find(path: Path) -> Found:
    """Read the header of every DICOM file in a place; other files, hidden ones and DICOMDIR are passed over.

    Raises:
        NotAScan: There is no DICOM file.
        DamagedDicom: A DICOM file has a header that cannot be read.
        MissingFile, UnsafeArchive, TruncatedFile, DataError: As `place_of`.
    """
    place = place_of(path)
    slices: list[Slice] = []
    misnamed = []
    with place.reading() as reader:
        for member in place.members:
            start = reader.start_of(member, _START_BYTES)
            if is_dicom(start) and not is_zip(start):  # archives within archives are not opened
                sure = start[128:132] == b"DICM"
                with reader.open(member) as stream:
                    slices += read_slices(stream, path, member, place.size_of(member), sure)
            elif member.lower().endswith(_SCAN_ENDINGS):
                misnamed.append(member)
        slices, copies = _without_copies(slices, reader)
    if not slices:
        raise NotAScan(
            f"holds no DICOM file: none of its {len(place.members)} files begins as one.",
            where=path,
            cure="Give the folder or the zip with the files of a series, or a NIfTI, NRRD or MHA file.",
        )
    notes = []
    if misnamed:
        notes.append(f"{path}: files named as DICOM that are none: {len(misnamed)}, the first {misnamed[0]}.")
    if copies:
        notes.append(f"{path}: exact copies of other files, left out: {len(copies)}, the first {copies[0]}.")
    return Found(place, slices, tuple(notes))


def _without_copies(slices: list[Slice], reader: Reader) -> tuple[list[Slice], list[str]]:
    """Leave out files that are byte for byte another one, as they arise from exporting twice."""
    members: dict[str, list[str]] = defaultdict(list)
    for item in slices:
        header = item.file
        if header.sop_uid and header.member not in members[header.sop_uid]:
            members[header.sop_uid].append(header.member)
    copies = []
    for alike in members.values():
        seen = set()
        for member in alike if len(alike) > 1 else ():
            digest = _digest(member, reader)
            if digest in seen:
                copies.append(member)
            seen.add(digest)
    dropped = set(copies)
    return [item for item in slices if item.file.member not in dropped], copies


def _digest(member: str, reader: Reader) -> bytes:
    digest = hashlib.sha256()
    with reader.open(member) as stream:
        while chunk := stream.read(_DIGEST_CHUNK_BYTES):
            digest.update(chunk)
    return digest.digest()
