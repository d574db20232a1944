"""Turn the exceptions that libraries raise on broken or hostile files into DamagedDicom.

pydicom and the decoders that it calls raise almost any exception on invalid bytes.
"""

from __future__ import annotations

import sqlite3
import struct
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydicom.errors import BytesLengthException, InvalidDicomError

from sautomed.errors import DamagedDicom, DataError, MissingFile

# LookupError covers KeyError and IndexError, RuntimeError covers RecursionError and NotImplementedError.
LIBRARY_ERRORS = (
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    RuntimeError,
    EOFError,
    MemoryError,
    BufferError,
    struct.error,
    sqlite3.Error,  # highdicom keeps the frames of a segmentation in a database
    zlib.error,
    zipfile.BadZipFile,
    InvalidDicomError,
    BytesLengthException,
)
EXPORT_AGAIN = "Export or copy it from its source again."


@contextmanager
def translate_errors(where: Path, member: str, fault: str) -> Iterator[None]:
    """Turn exceptions of a library into DamagedDicom, and silence its warnings.

    Args:
        where: The path that the user gave.
        member: Name of the file in it.
        fault: What failed, as the predicate of a sentence, such as "has a header that cannot be read".
    Raises:
        DamagedDicom: For any of `LIBRARY_ERRORS`, and for OSErrors that pydicom creates itself.
        MissingFile, DataError: The operating system cannot read the file.
    """
    name = "" if member == where.name else f"{member} "
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except LIBRARY_ERRORS as error:
        raise DamagedDicom(f"{name}{fault} ({reason(error)}).", where=where, cure=EXPORT_AGAIN) from error
    except PermissionError as error:
        raise MissingFile(
            f"{name}may not be read: permission denied.", where=where, cure="Change its permissions."
        ) from error
    except OSError as error:
        if error.errno is None:  # raised by pydicom itself, where a sequence is cut off
            raise DamagedDicom(f"{name}{fault} ({reason(error)}).", where=where, cure=EXPORT_AGAIN) from error
        raise DataError(
            f"{name}cannot be read: {error.strerror}.",
            where=where,
            cure="Check the disk or the network drive that it is on, then try again.",
        ) from error


def reason(error: BaseException) -> str:
    """Return the first line of an exception's text, shortened and without control characters."""
    return printable(str(error).split("\n")[0], 120).rstrip(".") or type(error).__name__


def printable(text: str, limit: int = 64) -> str:
    """Return text from a file without control characters, shortened to `limit` letters."""
    kept = "".join(letter if letter.isprintable() else " " for letter in text).strip()
    return kept if len(kept) <= limit else f"{kept[: limit - 3]}..."
