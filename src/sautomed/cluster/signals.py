"""Ctrl-C and SIGTERM stay what they are to a command while it uses Ray."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from sautomed.errors import STOP_SIGNALS


@contextmanager
def handlers_kept() -> Iterator[None]:
    """Keep the handlers of these signals over a block in which Ray starts: it puts one of its own for SIGTERM."""
    if threading.current_thread() is not threading.main_thread():  # others have none, and Ray then sets none
        yield
        return
    before = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def kinds_kept() -> Iterator[None]:
    """Raise what a handler raised in the block: Ray makes a KeyboardInterrupt of every stop while it waits."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    raised: list[KeyboardInterrupt] = []

    def noting(handler: Callable[[int, FrameType | None], object]) -> Callable[[int, FrameType | None], object]:
        def handle(number: int, frame: FrameType | None) -> None:
            try:
                handler(number, frame)
            except KeyboardInterrupt as stop:
                raised.append(stop)
                raise

        return handle

    with handlers_kept():
        for number in STOP_SIGNALS:
            handler = signal.getsignal(number)
            if callable(handler):
                signal.signal(number, noting(handler))
        try:
            yield
        except KeyboardInterrupt as stop:
            if raised and type(stop) is not type(raised[0]):
                raise raised[0] from stop
            raise
