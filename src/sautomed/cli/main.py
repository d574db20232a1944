"""The entry point: errors become messages and exit codes, and Ctrl-C and SIGTERM a clean end."""

from __future__ import annotations

import functools
import gc
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
from rich.markup import escape

from sautomed.cli.app import app, err, print_fault
from sautomed.cli.places import require_usable
from sautomed.cli.stopping import STOPPED, stops_raised
from sautomed.cli.streams import without_reader_errors
from sautomed.cli.verbosity import reset_verbosity
from sautomed.errors import (
    EXIT_INTERNAL,
    EXIT_INTERRUPTED,
    EXIT_MEMORY,
    EXIT_OK,
    EXIT_TERMINATED,
    SautomedError,
    Terminated,
)


def run(arguments: list[str] | None = None) -> int:
    """Run one command line and return its exit code; `arguments` are those of the process by default."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # characters that the terminal lacks become escapes
            stream.reconfigure(errors="backslashreplace")
    reset_verbosity()
    with stops_raised():
        try:
            return _run(sys.argv[1:] if arguments is None else arguments)
        except KeyboardInterrupt as stop:
            err.print(escape(str(stop) or STOPPED), soft_wrap=True, highlight=False)
            return EXIT_TERMINATED if isinstance(stop, Terminated) else EXIT_INTERRUPTED


def _run(arguments: list[str]) -> int:
    command = typer.main.get_command(app)
    try:
        # Not by calling it: typer makes a bare exit code of Ctrl-C.
        with command.make_context("sautomed", arguments) as context:
            command.invoke(context)
        return EXIT_OK
    except SautomedError as error:
        print_fault(error)
        return error.exit_code
    except typer.Exit as stop:
        return int(stop.exit_code)
    except Exception as error:  # noqa: BLE001  (what no verb expects is our bug, and is reported as one)
        if _ran_out_of_memory(error):
            err.print("[bold red]Error[/] out of memory. Close other programs, or use a smaller train.batch.")
            return EXIT_MEMORY
        if hasattr(error, "format_message") and hasattr(error, "exit_code"):  # click's usage errors
            error.show()  # type: ignore[attr-defined]
            return int(error.exit_code)
        traceback.print_exc()
        err.print("This is a bug in sautomed; please report it with the lines above.")
        return EXIT_INTERNAL


def refuse_unusable_paths(command: Callable[..., None]) -> Callable[..., None]:
    """Make a command refuse paths that no system could open, before it uses any of them."""

    @functools.wraps(command)
    def checked(**options: Any) -> None:
        for path in (value for value in options.values() if isinstance(value, Path)):
            require_usable(path)
        command(**options)

    return checked


def main() -> None:
    """Run the `sautomed` command and exit."""
    # Python looks for garbage among modules again and again while they are loaded, and once more at the end. That took
    # two seconds of each command that needs torch.
    gc.set_threshold(10_000, 10, 10)
    sys.stdout, sys.stderr = without_reader_errors(sys.stdout), without_reader_errors(sys.stderr)
    warnings.simplefilter("ignore")  # those of libraries; our own are logged
    handler = logging.StreamHandler()
    handler.setFormatter(_LogFormatter())
    logging.basicConfig(handlers=[handler], level=logging.WARNING)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # its warnings of DDP are for authors of a loop
    logging.getLogger("transformers").setLevel(logging.ERROR)
    code = run()
    gc.freeze()
    sys.exit(code)


class _LogFormatter(logging.Formatter):
    """Formatter that marks warnings as such; other lines are plain."""

    def format(self, record: logging.LogRecord) -> str:
        message = super().format(record)
        return f"Warning: {message}" if record.levelno >= logging.WARNING else message


def _ran_out_of_memory(error: Exception) -> bool:
    if isinstance(error, MemoryError):
        return True
    if "torch" not in sys.modules:  # then PyTorch did not raise it, and importing it takes seconds
        return False
    from sautomed.inference.device import is_memory_shortage

    return is_memory_shortage(error)
