"""Standard output and error that lose what nobody can read any more, so that the work goes on.

The reader of a pipe may have ended (`| head`), and a terminal may have been closed.
"""

from __future__ import annotations

import errno
import io
import os
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class _LossyFile(io.FileIO):
    """Open file whose writing succeeds without a reader, too."""

    def __init__(self, descriptor: int):
        super().__init__(descriptor, "w", closefd=False)
        # A closed terminal answers as a broken disk does, and what is lost on a disk must be reported.
        self._no_reader = (errno.EPIPE, errno.EIO) if self.isatty() else (errno.EPIPE,)

    def write(self, data: ReadableBuffer, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            if error.errno not in self._no_reader:
                raise
            return memoryview(data).nbytes


def without_reader_errors(stream: TextIO) -> TextIO:
    """Return a stream to the same file that raises no error if nobody reads it; unknown kinds of streams stay."""
    if os.name != "posix" or not isinstance(stream, io.TextIOWrapper):
        return stream
    file = io.BufferedWriter(_LossyFile(stream.fileno()))
    return io.TextIOWrapper(
        file, stream.encoding, stream.errors, line_buffering=stream.line_buffering, write_through=stream.write_through
    )
