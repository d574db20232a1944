"""The log of a session: lines of JSON that are only ever added, each on the disk before its edit is acknowledged.

A process that is killed leaves at most a torn last line, which belongs to no acknowledged edit and is dropped.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from hashlib import sha256
from io import FileIO
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout
from pydantic import BaseModel, TypeAdapter, ValidationError

from sautomed.editing.history import History
from sautomed.editing.lines import READABLE, VERSION, ComputedBy, Header, Line
from sautomed.errors import DamagedLog, LogMismatch, TargetInUse, UnwritableTarget, UsageError
from sautomed.errors.text import listed
from sautomed.inference.model import Model
from sautomed.inference.prompts.collect import printable
from sautomed.scans.files import flush_folder, require_writable
from sautomed.scans.volume import Volume

NAME = "edits.jsonl"


class _Version(BaseModel):
    version: int


_LINES: TypeAdapter[Line] = TypeAdapter(Line)


class EditLog:
    """The log in a folder, held for this process until `close`.

    Args:
        folder: Is made if it does not exist.
        header: Of this session; a log that is there must have the same, but for engine and precision.
    Attributes:
        lines: That are there.
        computing: Of the result which the last of them was made on.
    Raises:
        TargetInUse: Another session holds the log.
        LogMismatch: The log is of another scan, model or walk, or of another version.
        DamagedLog: A line before the last one cannot be read.
        UnwritableTarget: The folder cannot be written to.
    """

    def __init__(self, folder: Path, header: Header):
        self.path, self._header, self.computing = folder / NAME, header, header.computing
        require_writable(folder, NAME)
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(folder / f"{NAME}.lock")
        self._stream: FileIO | None = None
        try:
            self._lock.acquire(timeout=0)
        except Timeout as error:
            raise TargetInUse(
                "is being edited in another session.", where=self.path, cure="Close it there, or give another folder."
            ) from error
        try:
            self.lines = self._open()
        except BaseException:
            self.close()
            raise

    def append(self, line: Line) -> None:
        """Add a line, behind one that names engine and precision if they have changed; it is on the disk on return.

        Raises:
            UnwritableTarget: It could not be written; the log is as it was.
        """
        now = self._header.computing
        changed = [] if now == self.computing else [ComputedBy(engine=now.engine, precision=now.precision)]
        self._write(*changed, line)
        self.computing = now

    def warning(self) -> str | None:
        """Return what to say of edits that were made on a result of another engine or precision; None if none were."""
        then, now = self.computing, self._header.computing
        if not self.lines or then == now:
            return None
        return (
            f"{self.path}: the edits were made on a result by {then}, and now {now} computes it, so single pixels may "
            f"differ from what was shown then. Open it with {then.options} to see the same masks."
        )

    def close(self) -> None:
        """Let other sessions have the log."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None
        self._lock.release()

    def _open(self) -> tuple[Line, ...]:
        """Open the file, begin or check it, and return its lines without a torn last one."""
        self._stream = self.path.open("ab+", buffering=0)
        self._stream.seek(0)
        rows = self._stream.read().split(b"\n")[:-1]  # behind the last line end there is nothing, or a torn line
        if not rows:
            self._stream.truncate(0)
            self._write(self._header)
            flush_folder(self.path.parent)
            return ()
        found = self._checked_header(rows[0])
        lines = tuple(self._parsed(number, row) for number, row in enumerate(rows[1:], start=2))
        self._stream.truncate(sum(len(row) + 1 for row in rows))
        self.computing = [found, *(line for line in lines if isinstance(line, ComputedBy))][-1].computing
        return lines

    def _checked_header(self, row: bytes) -> Header:
        """Return the header of the file; raise an error unless it is of what this session edits."""
        try:
            version = _Version.model_validate_json(row).version
            found = Header.model_validate_json(row) if version in READABLE else None
        except ValidationError as error:
            raise DamagedLog(
                "has a first line that cannot be read, so nobody knows what was edited.",
                where=self.path,
                cure="Give another folder, or delete the file to begin anew.",
            ) from error
        if found is None:
            raise LogMismatch(
                f"has format {version}, but this version of sautomed reads up to format {VERSION}.",
                where=self.path,
                cure="Use the sautomed version that wrote it, or give another folder.",
            )
        parts = ("scan", "model", "walk", "organs")
        other = [part for part in parts if getattr(found, part) != getattr(self._header, part)]
        if other:
            raise LogMismatch(
                f"holds edits of {found.name} with another {listed(other)}; they would not fit {self._header.name}.",
                where=self.path,
                cure="Give another folder, or the scan and the model of the log.",
            )
        return found

    def _parsed(self, number: int, row: bytes) -> Line:
        try:
            return _LINES.validate_json(row)
        except ValidationError as error:
            raise self.damaged(number) from error

    def damaged(self, number: int) -> DamagedLog:
        """Return the error of a line, counted from 1, that cannot be read or followed."""
        return DamagedLog(
            f"has a line that cannot be read or followed: line {number}.",
            where=self.path,
            cure=f"Delete line {number} and all after it to go on from the edits before, or give another folder.",
        )

    def _write(self, *lines: Line | Header) -> None:
        if self._stream is None:
            raise ValueError("the session is closed")
        text = "".join(f"{line.model_dump_json()}\n" for line in lines)
        end, left = self._stream.seek(0, os.SEEK_END), memoryview(text.encode())
        try:
            while left:
                left = left[self._stream.write(left) :]
            os.fsync(self._stream.fileno())
        except OSError as error:
            self._stream.truncate(end)
            raise UnwritableTarget(
                f"cannot be written: {error.strerror}. The edit was not made.",
                where=self.path,
                cure="Free space there and edit again, or give another folder.",
            ) from error


def replay(log: EditLog, organs: Sequence[str], shape: tuple[int, int, int]) -> History:
    """Return the history of edits that a log holds.

    Args:
        organs: In the order of their label values.
        shape: Slices, rows and columns of the scan.
    Raises:
        DamagedLog: A line speaks of what is not there.
    """
    history = History()
    for number, line in enumerate(log.lines, start=2):
        try:
            line.check(shape)
            history = line.after(history, organs)
        except (ValueError, KeyError) as error:
            raise log.damaged(number) from error
    return history


def header_of(model: Model, volume: Volume) -> Header:
    """Return the first line of a log of this scan and model.

    Raises:
        UsageError: The model never lay in a folder, so it has no hash.
    """
    if model.sha256 is None:
        raise UsageError(
            "this model never lay in a folder, so a log cannot say which model its edits are of.",
            where="model",
            cure="Load it from its folder with sautomed.load, or edit without a folder for the log.",
        )
    return Header(
        scan=scan_hash(volume),
        model=model.sha256,
        engine=model.computing.engine,
        precision=model.computing.precision,
        walk=model.settings.segment.walk,
        organs=tuple(model.labels[value] for value in sorted(model.labels)),
        name="a scan" if volume.path is None else printable(volume.path.name),
    )


def scan_hash(volume: Volume) -> str:
    """Return the SHA-256 of a scan's voxels and of their place in the patient, whatever file they lie in."""
    digest = sha256(repr(volume.array.shape).encode())
    digest.update(np.ascontiguousarray(volume.affine).tobytes())
    for plane in volume.array:
        digest.update(np.ascontiguousarray(plane).tobytes())
    return digest.hexdigest()
