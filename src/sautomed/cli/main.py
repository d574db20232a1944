"""The one way in: faults become messages and exit codes, and Ctrl-C a clean end."""

from __future__ import annotations

import errno
import functools
import io
import logging
import os
import sys
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer

from sautomed.cli.app import app, err, print_fault
from sautomed.errors import EXIT_INTERNAL, EXIT_INTERRUPTED, EXIT_MEMORY, SautomedError, UsageError


def run(arguments: list[str] | None = None) -> int:
    """The command line as a function: what it would exit with."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # names that the terminal's encoding lacks are told as escapes
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        code = int(app(arguments, standalone_mode=False) or 0)
    except SautomedError as error:
        print_fault(error)
        return error.exit_code
    except typer.Exit as stop:
        code = int(stop.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        code = EXIT_INTERRUPTED
    except Exception as error:  # noqa: BLE001  (the last door: whatever comes here is our bug and is said to be one)
        if _ran_out_of_memory(error):
            err.print("[bold red]Error[/] out of memory. Close other programs, or use a smaller train.batch.")
            return EXIT_MEMORY
        if hasattr(error, "format_message") and hasattr(error, "exit_code"):  # click's usage errors
            error.show()  # type: ignore[attr-defined]
            return int(error.exit_code)
        traceback.print_exc()
        err.print("This is a bug in sautomed; please report it with the lines above.")
        return EXIT_INTERNAL
    if code == EXIT_INTERRUPTED:  # typer turns Ctrl-C into an exit
        told = "Stopped. Files that were written are whole; training and segmenting go on with --resume."
        err.print(told, soft_wrap=True)
    return code


def with_usable_paths(verb: Callable[..., None]) -> Callable[..., None]:
    """The verb, which refuses paths that no system could open before it asks anything of them."""

    @functools.wraps(verb)
    def checked(**options: Any) -> None:
        for path in (value for value in options.values() if isinstance(value, Path)):
            _require_usable(path)
        verb(**options)

    return checked


def _require_usable(path: Path) -> None:
    try:
        path.stat()
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.ENAMETOOLONG):
            return  # there is nothing, or it may not be seen: whoever reads or writes it tells
        raise UsageError(
            f"is no path that can be used: {error.strerror}.", where=path, cure="Correct the path, or give another."
        ) from error


def main() -> None:
    """Entry point of the `sautomed` command."""
    warnings.simplefilter("ignore")  # of libraries; our own are logged
    logging.basicConfig(format="Warning: %(message)s", level=logging.WARNING)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    logging.getLogger("transformers").setLevel(logging.ERROR)
    sys.exit(run())


def _ran_out_of_memory(error: Exception) -> bool:
    if isinstance(error, MemoryError):
        return True
    if "torch" not in sys.modules:  # then it was not PyTorch that ran out, and it need not be imported to ask
        return False
    from sautomed.inference.segmenting import is_memory_shortage

    return is_memory_shortage(error)
