"""Work in a thread whose results reach the page one by one, as server-sent events, until the page goes away."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor
from typing import Any

from sautomed.errors import SautomedError
from sautomed.inference.device import is_memory_shortage
from sautomed.inference.prompts.collect import printable
from sautomed.studio.refusals import Failed, Refused

log = logging.getLogger(__name__)

_MESSAGE_LETTERS = 500  # ours: of an unexpected error, on the page

Event = dict[str, Any]
Emit = Callable[[Event], None]
Work = Callable[[Emit, "Stop"], None]


class Stop:
    """A request to stop, which work looks at between two slices."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def __call__(self) -> None:
        self._event.set()

    @property
    def is_set(self) -> bool:
        return self._event.is_set()


async def event_stream(work: Work, worker: Executor, stop: Stop) -> AsyncIterator[bytes]:
    """Yield the events of some work as they come; the last one is what went wrong, if anything did.

    A page that reads slowly does not slow down the work, and one that goes away stops it.

    Args:
        work: Gets a function that takes its events, and ends by itself once `stop` is set.
    """
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[Event | None] = asyncio.Queue()

    def emit(event: Event | None) -> None:
        loop.call_soon_threadsafe(queue.put_nowait, event)

    def run() -> None:
        try:
            work(emit, stop)
        except Exception as error:  # noqa: BLE001  (whatever it is, the page says so, and not that nobody answers)
            emit(fault_event(as_known(error)))
        finally:
            emit(None)

    future = loop.run_in_executor(worker, run)
    try:
        while (event := await queue.get()) is not None:
            yield b"data: " + json.dumps(event, allow_nan=False).encode() + b"\n\n"
        await future
    finally:
        stop()


def fault_event(error: SautomedError | Refused) -> Event:
    """Return an error as the page shows it."""
    return {"kind": "fault", "id": error.id, "message": printable(str(error))}


def as_known(error: Exception) -> SautomedError | Refused:
    """Return an error that has words for the page: itself, or one for what nobody expected, which is logged as well."""
    if isinstance(error, (SautomedError, Refused)):
        return error
    if is_memory_shortage(error):
        return Failed("Memory ran out. Close other programs, and try again.")
    log.error("this is a bug in sautomed; please report it with these lines", exc_info=error)
    what = f"{type(error).__name__}: {error}"[:_MESSAGE_LETTERS]
    return Failed(f"This is a bug in sautomed. Please report it with the lines that the command has printed. {what}")
