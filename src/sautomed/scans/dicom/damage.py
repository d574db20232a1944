"""Faults of hostile or broken DICOM files, translated in one place.

pydicom, and the decoders behind it, raise almost any exception on bytes that nobody meant; here they become
DamagedDicom with the file's name.
"""

from __future__ import annotations

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
BROKEN = (
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
    zlib.error,
    zipfile.BadZipFile,
    InvalidDicomError,
    BytesLengthException,
)
RENEW = "Export or copy it from its source again."


@contextmanager
def translated(where: Path, member: str, doing: str) -> Iterator[None]:
    """Turn what a library raises in here into DamagedDicom, and keep its warnings from the terminal.

    Args:
        where: What the user gave.
        member: The file within it.
        doing: What failed, as the predicate of a sentence, such as "has a header that cannot be read".
    Raises:
        DamagedDicom: Of anything in `BROKEN`, and of the OSErrors that pydicom makes itself.
        MissingFile, DataError: The system cannot read the file.
    """
    name = "" if member == where.name else f"{member} "
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except BROKEN as error:
        raise DamagedDicom(f"{name}{doing} ({reason(error)}).", where=where, cure=RENEW) from error
    except PermissionError as error:
        raise MissingFile(
            f"{name}may not be read: permission denied.", where=where, cure="Change its permissions."
        ) from error
    except OSError as error:
        if error.errno is None:  # pydicom's own, where a sequence breaks off
            raise DamagedDicom(f"{name}{doing} ({reason(error)}).", where=where, cure=RENEW) from error
        raise DataError(
            f"{name}cannot be read: {error.strerror}.",
            where=where,
            cure="Check the disk or the network drive that it lies on, then try again.",
        ) from error


def reason(error: BaseException) -> str:
    """The first line of an exception's text, short and without control characters."""
    return printable(str(error).split("\n")[0], 120).rstrip(".") or type(error).__name__


def printable(text: str, limit: int = 64) -> str:
    """Text from a file, fit for a terminal."""
    kept = "".join(letter if letter.isprintable() else " " for letter in text).strip()
    return kept if len(kept) <= limit else f"{kept[: limit - 3]}..."
