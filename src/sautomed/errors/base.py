"""What every fault is made of, and the exit codes of their families.

A message reads "<where>: <fault> <cure>": what is wrong, in which file or case, why it matters, and what to do about
it. Ids never change their meaning; exit codes belong to families, so that a script can tell bad data from a bad model.
Knows nothing of the rest of the package.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, ClassVar

EXIT_OK = 0
EXIT_INTERNAL = 1  # a bug in sautomed: anything that is not a SautomedError
EXIT_USAGE = 2  # the command line, a setting or a target folder
EXIT_DATA = 3  # a scan, a label map or a dataset
EXIT_MODEL = 4  # weights, a model folder or a checkpoint
EXIT_MEMORY = 5  # the machine or the accelerator ran out of memory
EXIT_SOME_CASES = 6  # a folder was worked through, but not every case succeeded
EXIT_INTERRUPTED = 130  # Ctrl-C


_ENDLESS = re.compile(r"(\S{200})\S{200,}")  # a damaged file may hold a name of a million letters


class SautomedError(Exception):
    """The root of all faults that sautomed names.

    Args:
        fault: What is wrong and why it matters, as whole sentences. Signs in it that would steer a terminal, which
            files can hold, are replaced, and words without end are cut.
        where: The file, case or setting concerned; empty if there is none.
        cure: What the user can do, as a whole sentence.
    """

    id: ClassVar[str] = "SAM-E0100"
    exit_code: ClassVar[int] = EXIT_INTERNAL

    def __init__(self, fault: str, *, where: str | Path = "", cure: str) -> None:
        self.fault = _ENDLESS.sub(r"\1...", _shown(fault))
        self.where = str(where)
        self.cure = _shown(cure)
        place = f"{_shown(self.where)}: " if self.where else ""
        super().__init__(f"{place}{self.fault} {self.cure}".rstrip())

    def __reduce__(self) -> tuple[Any, ...]:
        # An exception that crosses a process is rebuilt from positional arguments; keyword-only ones would be lost.
        return _rebuild, (type(self), self.fault, self.where, self.cure)


def _shown(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() or sign == "\n" else "?" for sign in text)


def _rebuild(kind: type[SautomedError], fault: str, where: str, cure: str) -> SautomedError:
    return kind(fault, where=where, cure=cure)
