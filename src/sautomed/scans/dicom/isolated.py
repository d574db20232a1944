"""Decode JPEG in a separate process, so that a damaged image can neither crash nor block this one."""

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

from sautomed.scans.dicom.codestream import CodestreamHeader

_WORKER_SCRIPT = Path(__file__).with_name("decoding_process.py")
_REQUEST, _RESPONSE = struct.Struct("<5I"), struct.Struct("<I")
_START_LIMIT_S = 60.0  # ours: the process loads its libraries first
_TIME_LIMIT_S, _TIME_LIMIT_S_PER_PIXEL = 5.0, 2e-6  # ours: 512 x 512 pixels take about 0.01 s


class IsolatedDecoder:
    """A worker process that starts with the first image; a context manager, which ends it."""

    def __init__(self) -> None:
        self._worker: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> IsolatedDecoder:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def decode(self, encoded: bytes, syntax: str, header: CodestreamHeader) -> NDArray[np.unsignedinteger]:
        """Decode one grey image.

        Args:
            encoded: The compressed image.
            syntax: UID of its transfer syntax.
            header: From `read_codestream_header`.
        Returns:
            (rows columns), uint8 or uint16.
        Raises:
            ValueError: It cannot be decoded.
        """
        kind = np.dtype("<u1" if header.bits <= 8 else "<u2")
        expected = header.columns * header.rows * kind.itemsize
        request = _REQUEST.pack(header.columns, header.rows, header.bits, len(syntax), len(encoded))
        limit_s = _TIME_LIMIT_S + _TIME_LIMIT_S_PER_PIXEL * header.columns * header.rows
        pixels = self._exchange(request + syntax.encode("ascii") + encoded, limit_s)
        if len(pixels) != expected:
            raise ValueError("the compressed image is damaged")
        return np.frombuffer(pixels, kind).reshape(header.rows, header.columns)

    def _exchange(self, request: bytes, limit_s: float) -> bytes:
        """Send a request and return the response; empty if the worker crashed or took too long."""
        worker, requests, responses = self._started()
        pixels = b""
        with _time_limit(worker, limit_s), suppress(OSError):  # OSError: the worker crashed, so the pipe is broken
            requests.write(request)
            requests.flush()
            pixels = _read_response(responses)
        if not pixels:
            self._end()
        return pixels

    def _started(self) -> tuple[subprocess.Popen[bytes], IO[bytes], IO[bytes]]:
        """Return the worker with its pipes for requests and responses; start it if there is none."""
        is_new = self._worker is None
        if self._worker is None:
            # -P keeps the modules beside the script from shadowing others of the same name.
            self._worker = subprocess.Popen(
                [sys.executable, "-P", str(_WORKER_SCRIPT)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # a signal to our group must not look like an image that crashes it
            )
        worker = self._worker
        if worker.stdin is None or worker.stdout is None:
            raise ValueError("the decoder could not be started")
        if is_new:
            with _time_limit(worker, _START_LIMIT_S):
                _read_response(worker.stdout)
        return worker, worker.stdin, worker.stdout

    def _end(self) -> None:
        worker, self._worker = self._worker, None
        if worker is None:
            return
        worker.kill()
        for pipe in (worker.stdin, worker.stdout):
            if pipe is not None:
                with suppress(OSError):  # closing flushes, and the pipe may be broken
                    pipe.close()
        worker.wait()


def _read_response(responses: IO[bytes]) -> bytes:
    """Return the next response of the worker; empty if it has ended."""
    head = responses.read(_RESPONSE.size)
    length = int(_RESPONSE.unpack(head)[0]) if len(head) == _RESPONSE.size else 0
    return responses.read(length) if length else b""


@contextmanager
def _time_limit(worker: subprocess.Popen[bytes], seconds: float) -> Iterator[None]:
    """Kill the worker if the body takes longer."""
    watchdog = Timer(seconds, worker.kill)
    watchdog.daemon = True
    watchdog.start()
    try:
        yield
    finally:
        watchdog.cancel()
