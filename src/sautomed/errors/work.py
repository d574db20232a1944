"""Errors of memory, batches and written files: 05xx to 07xx."""

# ruff: noqa: N818  (the names say what is wrong; a suffix "Error" would add nothing)

from pathlib import Path

from sautomed.errors.base import EXIT_MEMORY, EXIT_SOME_CASES, SautomedError


class MemoryShortage(SautomedError):
    """The machine or the accelerator has too little memory."""

    id = "SAM-E0501"
    exit_code = EXIT_MEMORY


class SomeCasesFailed(SautomedError):
    """All cases of a folder were tried, but some failed; `result` holds the results of the others."""

    id = "SAM-E0601"
    exit_code = EXIT_SOME_CASES

    def __init__(self, fault: str, *, where: str | Path = "", cure: str, result: object = None) -> None:
        super().__init__(fault, where=where, cure=cure)
        self.result = result


class WorkerLost(SautomedError):
    """The processes that worked on a case or a run on other machines died, several in a row."""

    id = "SAM-E0602"
    exit_code = EXIT_SOME_CASES


class OutputMismatch(SautomedError):
    """A file that was just written reads back differently; it was deleted."""

    id = "SAM-E0701"
