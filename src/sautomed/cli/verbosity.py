"""How much the commands print: the options -v and -q, before and after the name of a command.

The level of our logger holds the choice: DEBUG with -v, WARNING with -q, else INFO.
"""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Callable
from typing import Annotated, Any

import typer

from sautomed.errors import UsageError

Verbose = Annotated[bool, typer.Option("-v", "--verbose", help="Print more, and progress more often.")]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Print only the result, warnings and errors.")]

_log = logging.getLogger("sautomed")


def choose_verbosity(verbose: Verbose = False, quiet: Quiet = False) -> None:
    """Take over -v and -q; without either, the earlier choice stays."""
    if verbose and quiet:
        raise UsageError("-v and -q contradict each other.", where="-v -q", cure="Give one of them.")
    if verbose or quiet:
        _log.setLevel(logging.DEBUG if verbose else logging.WARNING)


def with_verbosity(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options -v and -q to a command."""

    @functools.wraps(command)
    def chosen(verbose: bool = False, quiet: bool = False, **options: Any) -> None:
        choose_verbosity(verbose, quiet)
        command(**options)

    own = inspect.signature(command, eval_str=True)
    added = inspect.signature(choose_verbosity, eval_str=True).parameters.values()
    chosen.__signature__ = own.replace(parameters=[*own.parameters.values(), *added])  # type: ignore[attr-defined]
    return chosen


def reset_verbosity() -> None:
    """Print as without -v and -q."""
    _log.setLevel(logging.INFO)


def is_verbose() -> bool:
    return _log.isEnabledFor(logging.DEBUG)


def is_quiet() -> bool:
    return not _log.isEnabledFor(logging.INFO)
