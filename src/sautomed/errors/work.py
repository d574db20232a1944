"""Resources, batches and what was written: 05xx to 07xx."""

# ruff: noqa: N818  (a fault's name says the fault; "Error" at its end would say nothing more)

from pathlib import Path

from sautomed.errors.base import EXIT_MEMORY, EXIT_SOME_CASES, SautomedError


class MemoryShortage(SautomedError):
    """The machine or the accelerator has too little memory for the request."""

    id = "SAM-E0501"
    exit_code = EXIT_MEMORY


class SomeCasesFailed(SautomedError):
    """A folder was worked through to its end, but some cases failed; `result` holds what the others gave."""

    id = "SAM-E0601"
    exit_code = EXIT_SOME_CASES

    def __init__(self, fault: str, *, where: str | Path = "", cure: str, result: object = None) -> None:
        super().__init__(fault, where=where, cure=cure)
        self.result = result


class OutputMismatch(SautomedError):
    """A file that was just written says something else when it is read back; it was taken away again."""

    id = "SAM-E0701"
