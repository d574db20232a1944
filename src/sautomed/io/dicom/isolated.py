"""JPEG that only GDCM decodes, in a process of its own: a damaged image is a fault of its file and not our end."""

from __future__ import annotations

import struct
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from threading import Timer
from typing import IO

import numpy as np
from numpy.typing import NDArray

from sautomed.io.dicom.codestream import Declared

_WORKER = Path(__file__).with_name("gdcm_worker.py")
_ASK, _ANSWER = struct.Struct("<5I"), struct.Struct("<I")
_PATIENCE_S = 60.0  # ours: a slice takes a hundredth of a second


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
        pixels = self._ask(
            _ASK.pack(header.columns, header.rows, header.bits, len(syntax), len(encoded))
            + syntax.encode("ascii")
            + encoded
        )
        if len(pixels) != expected:
            raise ValueError("the compressed image is damaged")
        return np.frombuffer(pixels, kind).reshape(header.rows, header.columns)

    def _ask(self, message: bytes) -> bytes:
        """The worker's answer; empty if it ended over the question, or took too long."""
        worker, asked, given = self._started()
        watchdog = Timer(_PATIENCE_S, worker.kill)
        watchdog.daemon = True
        watchdog.start()
        try:
            asked.write(message)
            asked.flush()
            head = given.read(_ANSWER.size)
            length = int(_ANSWER.unpack(head)[0]) if len(head) == _ANSWER.size else 0
            return given.read(length) if length else b""
        except OSError:  # a pipe to a process that is gone
            return b""
        finally:
            watchdog.cancel()
            if worker.poll() is not None:
                self._end()

    def _started(self) -> tuple[subprocess.Popen[bytes], IO[bytes], IO[bytes]]:
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
