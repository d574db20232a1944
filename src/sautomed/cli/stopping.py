"""Ctrl-C, SIGTERM and SIGHUP end a command cleanly at any moment, with a message of what can go on."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from sautomed.errors import STOP_SIGNALS

STOPPED = "Stopped. Files that were written are complete."
# Ours: `timeout` and schedulers may send a signal twice, and people press Ctrl-C twice; that must not cut short the
# cleaning up.
REPEATED_S = 3.0


@contextmanager
def stops_raised(clock: Callable[[], float] = time.monotonic) -> Iterator[None]:
    """Raise KeyboardInterrupt on Ctrl-C, and Terminated on SIGTERM and SIGHUP, during the block.

    Signals that are ignored, as SIGHUP under nohup, stay so. Does nothing in another thread than the main one, which
    cannot handle signals.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    handler = _RaisingHandler(clock)
    for number in (number for number in STOP_SIGNALS if before[number] is not signal.SIG_IGN):
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)


class _RaisingHandler:
    """Raises what a signal stands for; signals that follow within `REPEATED_S` are the same request."""

    def __init__(self, clock: Callable[[], float]):
        self._clock, self._again_s = clock, -math.inf

    def __call__(self, number: int, _: FrameType | None) -> None:
        now_s = self._clock()
        if now_s < self._again_s:
            return
        self._again_s = now_s + REPEATED_S
        raise STOP_SIGNALS[number]


@contextmanager
def stop_explained(explain: Callable[[], str]) -> Iterator[None]:
    """Give a stop during the block the message that `explain` returns then."""
    try:
        yield
    except KeyboardInterrupt as stop:
        raise type(stop)(explain()) from stop
