"""Base class of all errors, and the exit codes of their families.

A message reads "<where>: <fault> <cure>": the file or case, what is wrong and why it matters, and what to do about it.
Ids never change their meaning; exit codes belong to families, so that a script can distinguish bad data from a bad
model. Knows nothing of the rest of the package.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

EXIT_OK = 0
EXIT_INTERNAL = 1  # a bug in sautomed: anything that is not a SautomedError
EXIT_USAGE = 2  # the command line, a setting or a target folder
EXIT_DATA = 3  # a scan, a label map or a dataset
EXIT_MODEL = 4  # weights, a model folder or a checkpoint
EXIT_MEMORY = 5  # the machine or the accelerator ran out of memory
EXIT_SOME_CASES = 6  # all cases of a folder were tried, but some failed
EXIT_INTERRUPTED = 130  # Ctrl-C
EXIT_TERMINATED = 143  # SIGTERM, or SIGHUP


_LONG_WORD = re.compile(r"(\S{200})\S{200,}")  # a damaged file may hold a name of a million letters


class Terminated(KeyboardInterrupt):
    """SIGTERM, which schedulers send before they kill, or SIGHUP of a terminal that was closed."""


# Signals that ask a command to stop, and what each raises; Windows has no SIGHUP.
STOP_SIGNALS: Mapping[int, type[KeyboardInterrupt]] = MappingProxyType(
    {
        signal.SIGINT: KeyboardInterrupt,
        signal.SIGTERM: Terminated,
        **({signal.SIGHUP: Terminated} if hasattr(signal, "SIGHUP") else {}),
    }
)


class SautomedError(Exception):
    """Base of all errors that sautomed raises on purpose.

    Args:
        fault: What is wrong and why it matters, as whole sentences. Control characters, which file contents may
            bring in, are replaced, and very long words are cut.
        where: The file, case or setting concerned; empty if there is none.
        cure: What the user can do, as a whole sentence.
    """

    id: ClassVar[str] = "SAM-E0100"
    exit_code: ClassVar[int] = EXIT_INTERNAL

    def __init__(self, fault: str, *, where: str | Path = "", cure: str) -> None:
        self.fault = _LONG_WORD.sub(r"\1...", _printable(fault))
        self.where = str(where)
        self.cure = _printable(cure)
        prefix = f"{_printable(self.where)}: " if self.where else ""
        super().__init__(f"{prefix}{self.fault} {self.cure}".rstrip())

    def reworded(self, change: Callable[[str], str]) -> SautomedError:
        """Return the same error with a change of its texts, such as another name for a temporary file."""
        return _rebuild(type(self), change(self.fault), change(self.where), change(self.cure))

    def __reduce__(self) -> tuple[Any, ...]:
        # Pickle rebuilds an exception from positional arguments only; the keyword-only ones would be lost.
        return _rebuild, (type(self), self.fault, self.where, self.cure)


def _printable(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() or letter == "\n" else "?" for letter in text)


def _rebuild(error: type[SautomedError], fault: str, where: str, cure: str) -> SautomedError:
    return error(fault, where=where, cure=cure)
