"""Connections are bounded in number and in time, so that idle and slow ones keep nobody out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from uvicorn.protocols.http.h11_impl import H11Protocol

MAX_CONNECTIONS = 64  # ours: a browser opens six
REQUEST_S = 10.0  # ours: in which the head of a request must have arrived
STALLED_S = 30.0  # ours: in which a client must read on


class BoundedProtocol(H11Protocol):
    """HTTP/1.1 over a connection that is cut if it has no request in time or does not read its answer.

    If there are too many, the one that has been without a request the longest makes room for the new one; if all have
    a request, the new one is cut.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._idle_since = self.loop.time()
        self._deadline = _Timer(self.loop, REQUEST_S, transport.abort)
        self._stalled = _Timer(self.loop, STALLED_S, transport.abort)
        self._deadline.start()
        if len(self.connections) > MAX_CONNECTIONS:
            self._make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        self._deadline.cancel()
        self._stalled.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if not self._has_request():
            self._deadline.start()
        super().data_received(data)
        if self._has_request():
            self._deadline.cancel()

    def on_response_complete(self) -> None:
        self._idle_since = self.loop.time()
        super().on_response_complete()

    def pause_writing(self) -> None:
        self._stalled.start()
        super().pause_writing()

    def resume_writing(self) -> None:
        self._stalled.cancel()
        super().resume_writing()

    def _has_request(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _make_room(self) -> None:
        others = [c for c in self.connections if isinstance(c, BoundedProtocol) and c is not self]
        idle = [c for c in others if not c._has_request() and not c.transport.is_closing()]
        victim = min(idle, key=lambda c: c._idle_since, default=self)
        victim.transport.abort()
        self.connections.discard(victim)  # its `connection_lost` comes later; more may arrive before


class _Timer:
    """Calls something after a while, unless it is cancelled; starting it again changes nothing."""

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float, action: Callable[[], None]):
        self._loop, self._seconds, self._action = loop, seconds, action
        self._handle: asyncio.TimerHandle | None = None

    def start(self) -> None:
        if self._handle is None:
            self._handle = self._loop.call_later(self._seconds, self._action)

    def cancel(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
        self._handle = None
