"""JPEG decoded in a process of its own: a damaged image is a fault of its file, and neither our end nor a halt."""

from __future__ import annotations

import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Timer
from typing import IO

import numpy as np
from numpy.typing import NDArray

from sautomed.scans.dicom.codestream import Declared

_WORKER = Path(__file__).with_name("decoding_process.py")
_ASK, _ANSWER = struct.Struct("<5I"), struct.Struct("<I")
_STARTING_S = 60.0  # ours: of patience with a process that has yet to load its libraries
_PATIENCE_S, _PATIENCE_S_PER_PIXEL = 5.0, 2e-6  # ours: 512 x 512 pixels take a hundredth of a second


class IsolatedDecoder:
    """A worker that is started when it is first needed; use it within `with`, which ends it."""

    def __init__(self) -> None:
        self._worker: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> IsolatedDecoder:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def decode(self, encoded: bytes, syntax: str, header: Declared) -> NDArray[np.unsignedinteger]:
        """The numbers of one grey image, (rows columns), uint8 or uint16.

        Raises:
            ValueError: It cannot be decoded.
        """
        kind = np.dtype("<u1" if header.bits <= 8 else "<u2")
        expected = header.columns * header.rows * kind.itemsize
        message = _ASK.pack(header.columns, header.rows, header.bits, len(syntax), len(encoded))
        patience_s = _PATIENCE_S + _PATIENCE_S_PER_PIXEL * header.columns * header.rows
        pixels = self._ask(message + syntax.encode("ascii") + encoded, patience_s)
        if len(pixels) != expected:
            raise ValueError("the compressed image is damaged")
        return np.frombuffer(pixels, kind).reshape(header.rows, header.columns)

    def _ask(self, message: bytes, patience_s: float) -> bytes:
        """The worker's answer; empty if it ended over the question, or took too long."""
        worker, asked, given = self._started()
        pixels = b""
        with _patience(worker, patience_s), suppress(OSError):  # of a pipe to a process that is gone
            asked.write(message)
            asked.flush()
            pixels = _answer(given)
        if not pixels:
            self._end()
        return pixels

    def _started(self) -> tuple[subprocess.Popen[bytes], IO[bytes], IO[bytes]]:
        fresh = self._worker is None
        if self._worker is None:
            # -P: the folder of the script holds modules of ours, which must not hide others.
            self._worker = subprocess.Popen(
                [sys.executable, "-P", str(_WORKER)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        worker = self._worker
        if worker.stdin is None or worker.stdout is None:
            raise ValueError("the decoder could not be started")
        if fresh:
            with _patience(worker, _STARTING_S):
                _answer(worker.stdout)
        return worker, worker.stdin, worker.stdout

    def _end(self) -> None:
        worker, self._worker = self._worker, None
        if worker is None:
            return
        worker.kill()
        for pipe in (worker.stdin, worker.stdout):
            if pipe is not None:
                with suppress(OSError):  # of what was never taken out of a broken pipe
                    pipe.close()
        worker.wait()


def _answer(given: IO[bytes]) -> bytes:
    """What the worker says next; empty if it is gone."""
    head = given.read(_ANSWER.size)
    length = int(_ANSWER.unpack(head)[0]) if len(head) == _ANSWER.size else 0
    return given.read(length) if length else b""


@contextmanager
def _patience(worker: subprocess.Popen[bytes], seconds: float) -> Iterator[None]:
    """End a worker that takes longer than this in here."""
    watchdog = Timer(seconds, worker.kill)
    watchdog.daemon = True
    watchdog.start()
    try:
        yield
    finally:
        watchdog.cancel()
